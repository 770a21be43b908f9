"""Data minimization: removes excluded and hashed values from messages and rows before they leave this package.

`ContentPolicy` implements the table options `excludeColumns`, `excludeFrom` and `hash`. It is applied to Gmail's
responses, in `gmail_client.fetch` and `gmail_client.snapshots`: the rest of the code never gets the removed values.

Addresses are replaced by keyed hashes (HMAC-SHA256) with a key from GMAIL_HASH_KEY: the same address has the same
pseudonym in every table and run, and it can't be computed without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import getaddresses
from functools import lru_cache
from typing import Any

from gmail_client.errors import ConfigurationError
from gmail_client.unknown_fields import COLUMN
from gmail_client.views.addresses import parse_addresses

__all__ = ["HASH_DOMAIN", "HASH_KEY", "ContentPolicy", "pseudonym", "sender_matches"]

HASH_KEY = "GMAIL_HASH_KEY"
"""Environment variable with the key of the pseudonyms."""
HASH_DOMAIN = "hashed.invalid"
"""Domain of the pseudonyms; `.invalid` never exists."""
_SHORTEST_KEY = 16

_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,256}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}")
_LISTS = frozenset(
    (
        "from",
        "to",
        "cc",
        "bcc",
        "sender",
        "reply-to",
        "resent-from",
        "resent-to",
        "resent-cc",
        "resent-sender",
    )
)
"""Headers with names and addresses: only pseudonyms are kept."""
_NOT_HASHED = frozenset(("id", "threadId", "historyId", "labelIds", "addLabelIds", "removeLabelIds"))

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """The values to remove from content.

    Attributes:
        columns: Paths of excluded columns; those below `payload` are removed at every level of its parts.
        senders: Excluded senders: addresses, or domains beginning with `@`, in lower case.
        hashed: Replace addresses in headers and in settings by pseudonyms.
        own_snippets: Do not use a thread's snippet from Gmail, because it can be that of an excluded message.
    """

    columns: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    hashed: bool = False
    own_snippets: bool = False

    @property
    def identity(self) -> str:
        """An identity of the policy; rows stored with another identity have to be fetched again.

        Raises:
            ConfigurationError: Addresses are hashed, and there is no usable key.
        """
        parts = [f"-{','.join(sorted(self.columns))}"] if self.columns else []
        parts += [f"!{','.join(sorted(self.senders))}"] if self.senders else []
        parts += [f"#{pseudonym('key', _key())}"] if self.hashed else []
        return " ".join(parts)

    @property
    def key_id(self) -> str | None:
        """An id of the key of the pseudonyms; None if nothing is hashed, or if this process has no usable key."""
        with suppress(ConfigurationError):
            return pseudonym("key", _key()) if self.hashed else None
        return None

    def check(self) -> None:
        """Check the key before the first message.

        Raises:
            ConfigurationError: Addresses are hashed, and there is no usable key.
        """
        if self.hashed:
            _key()

    def message(self, message: Mapping[str, Any]) -> Row | None:
        """A message resource without the removed values; None if its sender is excluded.

        Raises:
            ConfigurationError: Addresses are hashed, and there is no usable key.
        """
        payload = message.get("payload")
        if self.senders and payload and sender_matches(_from(payload), self.senders):
            return None
        left = {name: value for name, value in self._known(message).items() if name not in self.columns}
        if payload and "payload" in left:
            inner = {path.removeprefix("payload.") for path in self.columns if path.startswith("payload.")}
            key = _key() if self.hashed else None
            left["payload"] = _part(payload, inner, key) if inner or key else payload
        return left

    def row(self, table: str, row: Mapping[str, Any]) -> Row | None:
        """A row of a snapshot table without the removed values; None for a draft whose sender is excluded."""
        left: Row = dict(self._known(row))
        if table == "drafts":
            message = self.message(row["message"]) if row.get("message") else None
            if row.get("message") and message is None:
                return None
            left["message"] = message
            return left
        for path in self.columns:
            left = _without(left, path.split("."))
        return _hashed(left, _key()) if self.hashed else left

    def unknown(self, text: str | None) -> str | None:
        """The `unknownFields` of a row: none if columns are excluded or hashed, as it may contain the same values."""
        return None if self.columns or self.hashed else text

    def _known(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if COLUMN not in row or self.unknown(row[COLUMN]):
            return row
        return {name: value for name, value in row.items() if name != COLUMN}

    def key(self, key: str) -> str:
        """A row's key as it is stored.

        Raises:
            ConfigurationError: Addresses are hashed, and there is no usable key.
        """
        return _replaced(key, _key()) if self.hashed else key

    def snippet(self, snippet: str | None) -> str | None:
        """A thread's snippet, if it may be used; else an empty one."""
        return "" if self.own_snippets or "snippet" in self.columns else snippet


def sender_matches(value: str, senders: Iterable[str]) -> bool:
    """Whether a From header names one of these addresses or domains."""
    found = {address.email for address in parse_addresses([value]) if address.email}
    return any(
        email == sender or (sender.startswith("@") and (email.endswith((sender, f".{sender[1:]}"))))
        for email in found
        for sender in senders
    )


def pseudonym(address: str, key: bytes) -> str:
    """The keyed hash of an address, in the form of an address."""
    digest = hmac.new(key, address.strip().casefold().encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"{digest.hexdigest()[:20]}@{HASH_DOMAIN}"


def _key() -> bytes:
    return _checked_key(os.environ.get(HASH_KEY, ""))


@lru_cache(maxsize=4)
def _checked_key(text: str) -> bytes:
    if len(text) < _SHORTEST_KEY:
        raise ConfigurationError(
            f"The option 'hash' needs a key in {HASH_KEY}, which is "
            f"{'shorter than 16 characters' if text else 'not set'}.",
            fix="Set it where the runs are started (for Spark on its workers too), for example to the output of "
            "`openssl rand -hex 32`, and keep it: with another key all pseudonyms change.",
        )
    return text.encode("utf-8", "surrogateescape")


def _from(payload: Mapping[str, Any]) -> str:
    values = (
        h.get("value") for h in payload.get("headers") or () if str(h.get("name", "")).lower() == "from"
    )
    return ", ".join(str(value or "") for value in values)


def _part(part: Mapping[str, Any], excluded: set[str], key: bytes | None) -> Row:
    """One part of a payload with its children."""
    left: Row = dict(part)
    if key is not None and left.get("headers"):
        left["headers"] = [_header(header, key) for header in left["headers"]]
    for path in excluded:
        left = _without(left, path.split("."))
    if left.get("parts"):
        left["parts"] = [_part(child, excluded, key) for child in left["parts"]]
    return left


def _header(header: Mapping[str, Any], key: bytes) -> Row:
    value = str(header.get("value") or "")
    if str(header.get("name", "")).lower() in _LISTS:
        found = [address for _, address in getaddresses([value]) if "@" in address]
        found = found or _ADDRESS.findall(value)
        return {**header, "value": ", ".join(pseudonym(address, key) for address in found)}
    return {**header, "value": _replaced(value, key)}


def _replaced(text: str, key: bytes) -> str:
    return _ADDRESS.sub(lambda found: pseudonym(found[0], key), text) if "@" in text else text


def _hashed(value: Any, key: bytes) -> Any:
    if isinstance(value, str):
        return _replaced(value, key)
    if isinstance(value, Mapping):
        return {name: item if name in _NOT_HASHED else _hashed(item, key) for name, item in value.items()}
    if isinstance(value, list):
        return [_hashed(item, key) for item in value]
    return value


def _without(value: Any, path: list[str]) -> Any:
    """A value without the field at a path, in each element of a list."""
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: item for name, item in value.items() if name != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}
