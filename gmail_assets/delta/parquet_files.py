"""How Parquet files of the lake are written: by delta-rs (`WRITER_PROPERTIES`), and by `NewFile`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import WriterProperties

__all__ = ["WRITER_PROPERTIES", "NewFile", "batch_rows", "is_slice"]

_COMPRESSION_LEVEL = 2
"""ZSTD: 12 % smaller than level 1 for 3 % more CPU of a first load; level 3: 19 % for 8 %; level 9: 25 % for 40 %."""

WRITER_PROPERTIES = WriterProperties(
    compression="ZSTD",
    compression_level=_COMPRESSION_LEVEL,
    # Otherwise the file's footer contains the whole smallest and largest value of a column: with a text of more
    # than 100 MB, pyarrow can't read the file any more, and with any large text each opening of the file reads it.
    statistics_truncate_length=64,
)
_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 4_000
_PAGE_BYTES = 8 * 2**20
"""Larger than a column of most files, so that it is compressed as a whole."""
_LONGEST_STATISTIC = 256
"""Characters; the log has no range of a column with longer values."""


def is_slice(texts: pa.StringArray) -> bool:
    """Whether an array of texts refers to less than its buffers hold."""
    offsets = texts.buffers()[1]
    return bool(texts.offset) or offsets is None or offsets.size != 4 * (len(texts) + 1)


def batch_rows(metadata: pq.FileMetaData) -> int:
    """Number of a file's rows to read at once, about 16 MB uncompressed."""
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return max(1, min(_BATCH_ROWS, int(metadata.num_rows * _BATCH_BYTES / max(size, 1))))


class NewFile:
    """A Parquet file of one row group that is written in memory.

    Args:
        schema: Its columns.
        indexed: The columns whose range and null count are in `statistics`; they are strings.

    Attributes:
        rows: Number of rows so far.
    """

    def __init__(self, schema: pa.Schema, indexed: Sequence[str]) -> None:
        self._buffer = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(
            self._buffer,
            schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            # Texts of mail are rarely equal. Dictionaries and small pages take CPU time, and make files larger.
            use_dictionary=False,
            data_page_size=_PAGE_BYTES,
            # Of nested columns they would be 3 % of a file, and readers skip files by top-level columns.
            write_statistics=[field.name for field in schema if not pa.types.is_nested(field.type)],
            store_schema=False,  # several KB in each file; the table's schema is in the log
        )
        self._least: dict[str, str | None] = dict.fromkeys(indexed)
        self._greatest: dict[str, str | None] = dict.fromkeys(indexed)
        self._nulls = dict.fromkeys(indexed, 0)
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        for batch in rows.to_batches():
            self._writer.write_batch(batch)
        self.rows += rows.num_rows
        for name in self._nulls:
            ends = pc.min_max(rows[name]).as_py()
            self._nulls[name] += rows[name].null_count
            if ends["min"] is not None:
                least, greatest = self._least[name], self._greatest[name]
                self._least[name] = ends["min"] if least is None else min(least, ends["min"])
                self._greatest[name] = ends["max"] if greatest is None else max(greatest, ends["max"])

    def finish(self) -> pa.Buffer:
        """The file's bytes; no rows can be added any more."""
        self._writer.close()
        return self._buffer.getvalue()

    def statistics(self) -> dict[str, Any]:
        """The statistics as the Delta log has them."""
        known = [
            name
            for name, least in self._least.items()
            if least is not None and max(len(least), len(self._greatest[name] or "")) <= _LONGEST_STATISTIC
        ]
        return {
            "numRecords": self.rows,
            "minValues": {name: self._least[name] for name in known},
            "maxValues": {name: self._greatest[name] for name in known},
            "nullCount": self._nulls,
        }
