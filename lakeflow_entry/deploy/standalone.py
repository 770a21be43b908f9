"""Gmail for Lakeflow in one file: `register_lakeflow_source(spark)`. `gmail-assets bundle` fills in `SOURCES`.

Declarative pipelines can't import a project's modules from a data source, so this file contains them, packed, and
imports them from memory in every process. The classes below are pickled to Spark's workers by value, together with the
packed sources: workers only need what Databricks' serverless environments have (pyspark, pyarrow, pydantic, requests,
google-auth).
"""

from __future__ import annotations

import base64
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from pyspark import cloudpickle
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    InputPartition,
    SimpleDataSourceStreamReader,
)
from pyspark.sql.types import StructType

try:
    from pyspark.sql.streaming.datasource import SupportsTriggerAvailableNow
except ImportError:  # before Spark 4.2

    class SupportsTriggerAvailableNow:  # type: ignore[no-redef]
        """Replacement for Spark versions that do not have it."""


__all__ = ["GmailDataSource", "get_register_function", "ingest", "register_lakeflow_source"]

PACKAGE = ""
SOURCES = ""


class Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the packed modules from memory."""

    def __init__(self, package: str, packed: str) -> None:
        self.package = package
        self.sources: dict[str, str] = json.loads(zlib.decompress(base64.b85decode(packed)))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module, if it is one of the packed ones."""
        if fullname not in self.sources and f"{fullname}.__init__" not in self.sources:
            return None
        return importlib.util.spec_from_loader(
            fullname, self, is_package=f"{fullname}.__init__" in self.sources
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's source."""
        name = module.__name__
        source = self.sources.get(f"{name}.__init__", self.sources.get(name, ""))
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - this is an importer


def load(module: str) -> Any:
    """One of the packed modules."""
    if not any(getattr(finder, "package", None) == PACKAGE for finder in sys.meta_path):
        sys.meta_path.insert(0, Importer(PACKAGE, SOURCES))
    return importlib.import_module(f"{PACKAGE}.{module}")


def source_of(options: Mapping[str, str]) -> Any:
    """The data source that this class delegates to."""
    return load("lakeflow_entry.datasource").GmailDataSource(options)


class GmailDataSource(DataSource):
    """Gmail as the Spark format `lakeflow_connect`."""

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "lakeflow_connect"

    def schema(self) -> StructType:
        """The table's columns."""
        schema: StructType = source_of(self.options).schema()
        return schema

    def reader(self, schema: StructType) -> DataSourceReader:
        """A batch read."""
        return Reader(dict(self.options.items()), schema)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's name
        """A stream; Spark before 4.2 calls `simpleStreamReader` instead."""
        source_of(self.options).streamReader(schema)
        return StreamReader(dict(self.options.items()), schema)

    def simpleStreamReader(self, schema: StructType) -> SimpleDataSourceStreamReader:  # noqa: N802 - Spark's name
        """A stream on Spark before 4.2."""
        return SimpleStreamReader(dict(self.options.items()), schema)


class Delegate:
    """Creates the real reader on first use; pickles as the arguments that it is created with."""

    kind = ""

    def __init__(self, options: Mapping[str, str], schema: StructType) -> None:
        self.options = options
        self.spark_schema = schema
        self.made: Any = None

    @property
    def real(self) -> Any:
        """The real reader."""
        if self.made is None:
            self.made = getattr(source_of(self.options), self.kind)(self.spark_schema)
        return self.made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "made": None}


class Reader(Delegate, DataSourceReader):
    """A batch read."""

    kind = "reader"

    def partitions(self) -> Sequence[InputPartition]:
        """One partition per mailbox."""
        found: Sequence[InputPartition] = self.real.partitions()
        return found

    def read(self, partition: InputPartition) -> Iterator[Any]:
        """Arrow batches."""
        batches: Iterator[Any] = self.real.read(partition)
        return batches


class StreamReader(Delegate, DataSourceStreamReader, SupportsTriggerAvailableNow):
    """A stream with a limit on rows per micro-batch."""

    kind = "streamReader"

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        """Fix the end of the stream."""
        self.real.prepareForTriggerAvailableNow()

    def getDefaultReadLimit(self) -> Any:  # noqa: N802 - Spark's name
        """Rows of a micro-batch."""
        return self.real.getDefaultReadLimit()

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        """The offset at which a new stream starts."""
        return {}

    def latestOffset(self, start: dict[str, Any], limit: Any) -> dict[str, Any]:  # noqa: N802 - Spark's name
        """The end offset of the next micro-batch."""
        end: dict[str, Any] = self.real.latestOffset(start, limit)
        return end

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        """The partitions of a micro-batch."""
        found: Sequence[InputPartition] = self.real.partitions(start, end)
        return found

    def read(self, partition: InputPartition) -> Iterator[Any]:
        """Arrow batches."""
        batches: Iterator[Any] = self.real.read(partition)
        return batches


class SimpleStreamReader(Delegate, SimpleDataSourceStreamReader):
    """A stream that holds each micro-batch in memory."""

    kind = "simpleStreamReader"

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802 - Spark's name
        """The offset at which a new stream starts."""
        return {}

    def read(self, start: dict[str, Any]) -> tuple[Iterator[Any], dict[str, Any]]:
        """The next micro-batch and its end offset."""
        found: tuple[Iterator[Any], dict[str, Any]] = self.real.read(start)
        return found

    def readBetweenOffsets(  # noqa: N802 - Spark's name
        self, start: dict[str, Any], end: dict[str, Any]
    ) -> Iterator[Any]:
        """The rows of a micro-batch that is repeated after a crash."""
        batches: Iterator[Any] = self.real.readBetweenOffsets(start, end)
        return batches


def register_lakeflow_source(spark: Any) -> None:
    """Register `lakeflow_connect` in a Spark session; its workers get this file's classes by value."""
    module = sys.modules.get(__name__)
    if module is not None and __name__ != "__main__":
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    spark.dataSource.register(GmailDataSource)


def get_register_function(source_name: str) -> Callable[[Any], None]:
    """The function that registers the source `gmail`."""
    if source_name != "gmail":
        raise ValueError(f'Source not found: {source_name!r}. Use source_name = "gmail".')
    return register_lakeflow_source


def ingest(spark: Any, pipeline_spec: Mapping[str, Any], **options: Any) -> Any:
    """Run a pipeline spec: on Databricks as a declarative pipeline, elsewhere until everything is synced."""
    return load("lakeflow_entry.pipelines.ingest").ingest(spark, pipeline_spec, **options)
