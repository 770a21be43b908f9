"""One stream over many mailboxes: `ManyOffset`, its form in the checkpoint, and `ManyReader`, which plans its batches.

    {"version": 3, "mailboxes": {"ada@example.com": {...}, "bo@example.com": {...}}}
    {..., "next": "bo@example.com"}                       the batch was full before this mailbox
    {..., "refused": ["cy@example.com"]}                  mailboxes that could not be read; their offsets stay

Each mailbox has an offset of its own (`lakeflow_entry.stream.offsets`), so a mailbox can be added or removed at any
time: a new one starts with a load, and a removed one keeps its offset until it is listed again. An error of one mailbox
does not stop the others: it is logged, and the mailbox is tried again with the next batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from gmail_client.errors import ConfigurationError, GmailError
from gmail_client.printable import printable_line
from lakeflow_entry.stream.batch import Batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import DeletedRow
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.identity import StreamChangedError
from lakeflow_entry.stream.offsets import NEW, Offset
from lakeflow_entry.stream.packed_ids import MOST_CHARACTERS

__all__ = ["VERSION", "ManyOffset", "ManyReader", "of_mailbox"]

VERSION = 3
"""Version of the offsets of many mailboxes."""

_PARALLEL = 8
"""Mailboxes that are planned at the same time, and that a batch has room for while all of them have much to read."""

Contents = Batch | list[DeletedRow]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ManyOffset:
    """A position in the streams of many mailboxes.

    Attributes:
        mailboxes: The offset of each mailbox, by its name in the list.
        following: The mailbox that the next batch begins with; None for the first one.
        refused: Mailboxes that could not be read when the last batch was planned.
    """

    mailboxes: Mapping[str, Offset] = field(default_factory=dict)
    following: str | None = None
    refused: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Mapping[str, Any] | None, owner: str | None) -> ManyOffset:
        """Read an offset as Spark passes it.

        Args:
            value: The offset; that of a stream of one mailbox is accepted if it is known whose it is.
            owner: The mailbox of the connection (`user_id`), or the only one of the list; None if unknown: then the
                offset has to name it.

        Raises:
            ConfigurationError: Another program wrote it, or a stream of one mailbox that is not known.
        """
        if not value:
            return cls()
        if "mailboxes" not in value:
            single = Offset.parse(value)
            owner = owner or single.mailbox
            if owner is None:
                raise ConfigurationError(
                    "The checkpoint is that of a stream of one mailbox, and does not say which one.",
                    fix="Set user_id of the connection to that mailbox, or start with a new checkpoint.",
                )
            return cls({owner: single})
        if value.get("version") != VERSION or not isinstance(value["mailboxes"], Mapping):
            raise ConfigurationError(
                f"The stream's offset has version {value.get('version')!r:.20}; this release reads version {VERSION} "
                "of many mailboxes.",
                fix="Install the gmail-assets that wrote the checkpoint, or start with a new checkpoint.",
            )
        return cls(
            {name: Offset.parse(offset) for name, offset in value["mailboxes"].items()},
            value.get("next"),
            tuple(value.get("refused", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """The offset as Spark stores it; Spark compares it as text, so the mailboxes are sorted."""
        if not self.mailboxes and not self.refused:
            return {}
        value: dict[str, Any] = {
            "version": VERSION,
            "mailboxes": {
                name: offset.to_json() for name, offset in sorted(self.mailboxes.items()) if offset != NEW
            },
        }
        if self.following is not None:
            value["next"] = self.following
        if self.refused:
            value["refused"] = sorted(self.refused)
        return value


class ManyReader:
    """Plans the batches of many mailboxes.

    Args:
        open_reader: Opens the reader of a mailbox by its name.
        limit: Maximum rows of a batch.
        address: The real address of a mailbox, which its rows need. A mailbox without one can't be read.
    """

    def __init__(
        self,
        open_reader: Callable[[str], ChangeReader | DeleteReader],
        limit: int,
        address: Callable[[str], str] = str,
    ) -> None:
        self._open = open_reader
        self._limit = limit
        self._address = address
        self._readers: dict[str, ChangeReader | DeleteReader] = {}
        self._heads: dict[str, int] = {}
        self._fixes_heads = False
        self._delivered: dict[str, Offset] = {}
        self._ended: ManyOffset | None = None
        self._moved: dict[str, Offset] = {}
        self._logged: set[tuple[str, str]] = set()
        self._skipped: dict[str, Offset] = {}

    def fix_heads(self) -> None:
        """Let every mailbox end at its history id of the first time that it is planned from now on."""
        self._fixes_heads, self._heads = True, {}

    def plan(
        self, start: ManyOffset, names: Sequence[str], *, confirmed: bool, repeated: bool = False
    ) -> tuple[ManyOffset, dict[str, Contents]]:
        """The next batch.

        Args:
            start: Where it starts.
            names: The mailboxes.
            confirmed: This process knows that the batch that ended at `start` was delivered.
            repeated: An earlier process planned the batch: this one contains at least the same rows.

        Returns:
            Where it ends, and the contents of each mailbox that has any. An end equal to `start` means that there is
            nothing more.

        Raises:
            StreamChangedError: The offset is that of other filters.
            GmailError: No mailbox can be read; or, for a repeated batch, one can't.
        """
        listed = names
        self._delivered = {**self._delivered, **self._moved} if confirmed and self._ended == start else {}
        if repeated:  # the batch may have had mailboxes that are not listed any more
            names = sorted({*names, *start.mailboxes})
        begins = {**start.mailboxes, **self._skipped}
        ends: dict[str, Offset] = {}
        contents: dict[str, Contents] = {}
        errors: dict[str, GmailError] = {}
        following: str | None = None
        total = 0
        for name, outcome in self._planned(begins, start.following, names, repeated):
            if isinstance(outcome, GmailError):
                errors[name] = outcome
                continue
            end, found = outcome
            rows = _rows(found)
            if total and total + rows > self._limit and not repeated:
                following = name
                break
            total += rows
            ends[name] = end
            if rows:
                contents[name] = found
        self._report(errors, listed, repeated)
        self._skipped = {}
        offsets = _bounded({**begins, **ends})
        self._moved = {name: offsets[name] for name, end in ends.items() if end != begins.get(name, NEW)}
        refused = tuple(sorted(errors))
        unchanged = offsets == dict(start.mailboxes) and refused == start.refused
        self._ended = start if unchanged else ManyOffset(offsets, following, refused)
        return self._ended, contents

    def between(self, start: ManyOffset, end: ManyOffset, names: Sequence[str]) -> dict[str, Contents]:
        """The batch from `start` to `end`, which an earlier process planned.

        A mailbox that is not listed any more and that can't be read is left out; the next batch sets its offset back.

        Raises:
            GmailError: A listed mailbox can't be read: its rows would be missing.
        """
        contents: dict[str, Contents] = {}
        for name, until in sorted(end.mailboxes.items()):
            begin = start.mailboxes.get(name, NEW)
            if until == begin:
                continue
            if not begin.reload and (until.history_id or 0) < (begin.history_id or 0):
                continue  # set back; a delete flow that reads everything again can also begin earlier
            try:
                found = self._reader(name).between(begin, until)
                if _rows(found):
                    self._address(name)
            except GmailError as error:
                if name in names or isinstance(error, StreamChangedError):
                    raise of_mailbox(name, error) from None
                self._skipped[name] = begin
                _log.warning(
                    "%s is not listed any more and can't be read, so a batch that has to be repeated lacks its rows. "
                    "If you list it again, they are read then, unless the process ends before the next batch: %s",
                    printable_line(name),
                    printable_line(str(error)),
                )
                continue
            if _rows(found):
                contents[name] = found
        return contents

    def _planned(
        self, begins: Mapping[str, Offset], following: str | None, names: Sequence[str], repeated: bool
    ) -> Iterator[tuple[str, tuple[Offset, Contents] | GmailError]]:
        """The plan of each mailbox, beginning with the one that the last batch had no room for."""
        ordered = sorted(names)
        first = next((at for at, name in enumerate(ordered) if name >= (following or "")), 0)
        ordered = ordered[first:] + ordered[:first]
        limit = self._limit if repeated else max(1, self._limit // min(len(ordered) or 1, _PARALLEL))

        def plan(name: str) -> tuple[Offset, Contents] | GmailError:
            begin = begins.get(name, NEW)
            try:
                reader = self._reader(name)
                reader.limit = limit
                if self._fixes_heads and name not in self._heads:
                    self._heads[name] = reader.history.fix_head()
                confirmed = name in self._delivered and self._delivered[name] == begin
                end, found = reader.plan(begin, self._heads.get(name), confirmed=confirmed, repeated=repeated)
                if _rows(found):
                    self._address(name)
                return end, found
            except StreamChangedError:
                raise
            except GmailError as error:
                return error

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="gmail-plan") as pool:
            for at in range(0, len(ordered), _PARALLEL):
                wave = ordered[at : at + _PARALLEL]
                yield from zip(wave, list(pool.map(plan, wave)), strict=True)

    def _reader(self, name: str) -> ChangeReader | DeleteReader:
        if name not in self._readers:
            self._readers[name] = self._open(name)
        return self._readers[name]

    def _report(self, errors: Mapping[str, GmailError], names: Sequence[str], repeated: bool) -> None:
        for name, error in errors.items():
            if name in names and (repeated or len(errors) == len(names)):
                raise of_mailbox(name, error)
            key = (name, type(error).__name__)
            if key not in self._logged:
                self._logged.add(key)
                _log.warning(
                    "%s can't be read, so its rows stay as they are; the stream continues with the other mailboxes "
                    "and tries it again with each batch: %s",
                    printable_line(name),
                    printable_line(str(error)),
                )


def of_mailbox(name: str, error: GmailError) -> GmailError:
    """The error with the name of its mailbox."""
    if name in error.what:
        return error
    error.what = f"{name}: {error.what}"
    error.args = (f"{error.what}\nFix: {error.fix}" if error.fix else error.what,)
    return error


def _rows(contents: Contents) -> int:
    """About how many rows a batch of one mailbox has; messages for `messages`, else threads or deletes."""
    if isinstance(contents, Batch):
        return max(len(contents.threads), sum(map(len, contents.threads.values())))
    return len(contents)


def _bounded(offsets: Mapping[str, Offset]) -> dict[str, Offset]:
    """The offsets, without the ids of delete flows where these would take more than one mailbox's offset may take."""
    kept: dict[str, Offset] = {}
    left = MOST_CHARACTERS
    for name, offset in sorted(offsets.items(), key=lambda item: len(item[1].known or "")):
        size = len(offset.known or "")
        kept[name] = offset if size <= left else replace(offset, known=None)
        left -= size if size <= left else 0
    return kept
