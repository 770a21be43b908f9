"""Measures how long Gmail keeps the history: `HistoryNotes` stores history ids by date and checks them later.

The file holds one entry per day and mailbox. Mailboxes are named by a keyed hash of their address.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from gmail_client.client import Mailbox
from gmail_client.errors import ConfigurationError, ResponseError
from gmail_client.private_files import write_private_json

__all__ = ["HistoryLife", "HistoryNotes"]

MAX_ENTRIES = 400
"""Noted days of a mailbox; the oldest are dropped first."""


@dataclass(frozen=True, slots=True)
class HistoryLife:
    """How long the history lives, according to the stored ids.

    Attributes:
        valid_days: Age of the oldest noted id that is still valid; None if there is none of an earlier day.
        expired_days: Age of the newest noted id that has expired; None if none has.
    """

    valid_days: int | None = None
    expired_days: int | None = None

    def as_json(self) -> dict[str, int]:
        """For a record."""
        days = {"valid_after_days": self.valid_days, "expired_after_days": self.expired_days}
        return {name: count for name, count in days.items() if count is not None}


class HistoryNotes:
    """The noted history ids, in a file that only its owner can read.

    Args:
        path: The file; it need not exist.

    Raises:
        ConfigurationError: The file can't be read, or is not one of this class.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        document: Any = {"version": 1, "key": secrets.token_hex(16), "mailboxes": {}}
        if path.exists():
            try:
                document = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                document = None
        try:
            self._key = bytes.fromhex(document["key"])
            self._entries: dict[str, dict[str, str]] = {
                str(name): {
                    date.fromisoformat(day).isoformat(): str(int(noted)) for day, noted in days.items()
                }
                for name, days in document["mailboxes"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ConfigurationError(
                f"The history notes {str(path)!r} can't be read.", fix="Remove the file; it is made again."
            ) from None

    def check(self, mailbox: Mailbox) -> HistoryLife:
        """Check the stored ids of a mailbox, then store today's. At most eleven calls of two units.

        Raises:
            GmailError: The mailbox can't be read.
            ConfigurationError: The file can't be written.
        """
        profile = mailbox.api.profile()
        today = datetime.fromtimestamp(mailbox.api.now, UTC).date()
        address = str(profile["emailAddress"]).lower()
        name = hmac.new(self._key, address.encode(), hashlib.sha256).hexdigest()[:16]
        days = self._entries.setdefault(name, {})
        earlier = sorted(day for day in days if day < today.isoformat())
        oldest_valid = _oldest_valid(mailbox, [days[day] for day in earlier])
        ages = [(today - date.fromisoformat(day)).days for day in earlier]
        for day in earlier[: max(0, oldest_valid - 1)]:
            del days[day]  # only the newest expired id is needed
        days[today.isoformat()] = str(profile["historyId"])
        for day in sorted(days)[:-MAX_ENTRIES]:
            del days[day]
        self._store()
        return HistoryLife(
            ages[oldest_valid] if oldest_valid < len(ages) else None,
            ages[oldest_valid - 1] if oldest_valid else None,
        )

    def _store(self) -> None:
        document = {"version": 1, "key": self._key.hex(), "mailboxes": self._entries}
        try:
            write_private_json(self._path, document)
        except OSError as error:
            raise ConfigurationError(
                f"The history notes {str(self._path)!r} can't be written: {error.strerror or type(error).__name__}.",
                fix="Set GMAIL_CREDENTIALS_FILE to a path in a folder that you can write to.",
            ) from None


def _oldest_valid(mailbox: Mailbox, history_ids: list[str]) -> int:
    """The index of the first id that is a valid start, by a binary search; their number if none is."""
    exchange = mailbox.api.exchange()
    low, high = 0, len(history_ids)
    while low < high:
        middle = (low + high) // 2
        reply = exchange.get(
            "history.list", "/history", {"startHistoryId": history_ids[middle], "maxResults": 1}
        )
        if reply.status not in (200, 404):
            raise reply.error or ResponseError(
                f"history.list: unexpected status {reply.status}.",
                fix="Try again later.",
                status=reply.status,
            )
        if reply.status == 200:
            high = middle
        else:
            low = middle + 1
    return low
