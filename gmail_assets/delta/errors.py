"""Errors of the lake; each has a fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gmail_client.errors import GmailError
from gmail_client.http.error_mapping import redact

if TYPE_CHECKING:
    from deltalake.exceptions import TableNotFoundError

__all__ = [
    "LakeError",
    "MailboxBusyError",
    "SchemaMismatchError",
    "WriterConflictError",
    "check_missing",
    "one_line",
    "unreadable",
    "unwritable",
]


class LakeError(GmailError):
    """The lake can't be read or written."""


class SchemaMismatchError(LakeError):
    """A table of that name exists with other columns."""


class WriterConflictError(LakeError):
    """Another run wrote the same mailbox's partition; this run's commit was refused."""

    retryable = True


class MailboxBusyError(LakeError):
    """Another run holds the lease of the mailbox's partition; this run stopped before it spent quota."""


def unreadable(location: str, error: Exception) -> LakeError:
    """The error for a table that can't be read."""
    return LakeError(
        f"The table {location!r} can't be read: {one_line(error)}",
        fix="Check GMAIL_LAKE, its read permissions, and the storage options of an object store.",
    )


def check_missing(location: str, error: TableNotFoundError) -> None:
    """Check that there is no table: deltalake reports in the same way that it knows no such object store.

    Raises:
        LakeError: It does not know the store.
    """
    if str(error).startswith("Unknown scheme"):
        raise LakeError(
            f"The table {location!r} can't be read: there is no object store {location.partition('://')[0]!r}.",
            fix="Set GMAIL_LAKE to a folder, or to an s3://, gs:// or abfss:// URI.",
        ) from error


def unwritable(location: str, error: Exception) -> LakeError:
    """The error for a table that can't be written."""
    return LakeError(
        f"The table {location!r} can't be written: {one_line(error)}",
        fix="Check GMAIL_LAKE, its write permissions and free space, and the storage options of an object store.",
    )


_CREDENTIALS = re.compile(
    r"(?i)\b((?:x-amz-)?(?:security-token|signature|credential)|authorization|awsaccesskeyid|sig|[\w-]*secret[\w-]*)"
    r"([\"']?\s*[:=>]\s*[\"']?)(?:bearer |aws4-hmac-sha256 )?[^\s<&\"',;]+"
)
_STYLE = re.compile(r"\x1b\[[0-9;]*m|<\?xml[^>]*\?>")
"""Colors, and the first line of a store's response: noise in one line."""
_USER_IN_URL = re.compile(r"//[^/\s:@]*:[^/\s@]+@")
_LONGEST = 300
_LONGEST_INPUT = 20_000


def one_line(error: Exception) -> str:
    """An error's text in one line of bounded length, without credentials.

    The answer of an object store, which is in the text, can repeat the signed request: its session token, for example.
    """
    plain = _STYLE.sub("", str(error)[:_LONGEST_INPUT])
    text = _CREDENTIALS.sub(r"\1\2[removed]", " ".join(plain.split()).replace(" ↳", ":"))
    text = _USER_IN_URL.sub("//[removed]@", text)
    return redact(text)[:_LONGEST]
