"""Errors of the lake; each says what to do."""

from __future__ import annotations

from gmail_client.errors import GmailError

__all__ = ["LakeError", "SchemaMismatchError", "WriterConflictError", "one_line", "unreadable", "unwritable"]


class LakeError(GmailError):
    """The lake can't be read or written."""


class SchemaMismatchError(LakeError):
    """A table of that name exists with other columns."""


class WriterConflictError(LakeError):
    """Another run wrote the same mailbox's partition; this run's commit was refused."""

    retryable = True


def unreadable(location: str, error: Exception) -> LakeError:
    """The error for a table that can't be read."""
    return LakeError(
        f"The table {location!r} can't be read: {one_line(error)}",
        fix="Check that GMAIL_LAKE is right and may be read, and the storage options of an object store.",
    )


def unwritable(location: str, error: Exception) -> LakeError:
    """The error for a table that can't be written."""
    return LakeError(
        f"The table {location!r} can't be written: {one_line(error)}",
        fix="Check that GMAIL_LAKE may be written and has room, and the storage options of an object store.",
    )


def one_line(error: Exception) -> str:
    """An error's text in one line of bounded length."""
    return " ".join(str(error).split())[:300]
