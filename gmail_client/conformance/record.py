"""A record of an examination, without anything that identifies the mailbox: `make_record`, `record_text`.

A record contains answers, shapes of responses, and the first changes of the history with ids replaced by keyed hashes.
The key is created for one record and never stored: equal ids in a record have equal hashes, but the id can't be
computed from a hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gmail_client.conformance.evidence import EVENTS, MALFORMED, CannotTell, Evidence, Resource, items
from gmail_client.conformance.examination import Examination
from gmail_client.conformance.shapes import ResponseShapes, bucket
from gmail_client.conformance.vocabulary import OTHER, VALUES
from gmail_client.errors import ConfigurationError
from gmail_client.http.exchange import Reply

__all__ = ["FORMAT", "make_record", "read_record", "record_text", "write_record"]

FORMAT = 1
"""Version of the form of records."""

MAX_RECORDS = 20
"""Number of history records whose changes are written."""

ABOUT = [
    "This file describes how the Gmail API behaved for one account. It was made by `gmail-assets doctor --record`.",
    "It contains no text, address, name, subject, date or id of the mailbox, and no count of its messages.",
    "answers: for each question of docs/conformance.md the answer, or null if this mailbox had none. `seen` is the "
    "order of magnitude of the number of items that say so.",
    "responses: for each kind of call the keys of the responses and the form of the values. A form is a type with an "
    "order of magnitude of its length, or a word that is the same in every mailbox (a system label, the reason of an "
    "error). Keys, header names and words that are not in a fixed list are written as (other).",
    "history: the first changes of the history. Ids are hashes with a key that was discarded; labels of the user are "
    "written as (other).",
    "history_lives: only with --expiry. After how many days a history id was still valid, or had expired.",
    "account: consumer (gmail.com), workspace, or delegated (a service account).",
]


def make_record(
    examination: Examination,
    *,
    history_lives: dict[str, int] | None = None,
    today: str | None = None,
    hash_key: bytes | None = None,
) -> dict[str, Any]:
    """The record of an examination.

    Args:
        examination: The examination.
        history_lives: Days after which the history was valid and expired.
        today: The date of the record; today in UTC by default.
        hash_key: The key of the hashes; a new random one by default.
    """
    hasher = _Hasher(hash_key or secrets.token_bytes(32))
    shapes = ResponseShapes()
    for reply in _replies(examination.evidence):
        shapes.add(reply)
    return {
        "about": ABOUT,
        "account": examination.kind,
        "answers": {
            finding.probe.id: None
            if finding.answer is None
            else {"answer": finding.answer.text, "seen": bucket(finding.answer.seen)}
            for finding in examination.findings
        },
        "complete": examination.error is None and not examination.interrupted,
        "format": FORMAT,
        "history": list(_history(examination.evidence, hasher)),
        "history_lives": history_lives or {},
        "made_by": f"gmail-assets {_version()}",
        "made_on": today or datetime.now(UTC).date().isoformat(),
        "responses": shapes.as_json(),
    }


def record_text(record: dict[str, Any]) -> str:
    """The text of a record's file: sorted JSON, the explanation first."""
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record to a new file.

    Raises:
        ConfigurationError: The file exists, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(record_text(record))
    except OSError as error:
        raise ConfigurationError(
            f"The record {str(path)!r} can't be written: {error.strerror or type(error).__name__}.",
            fix="Name a new file in an existing folder.",
        ) from None


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        ConfigurationError: It is not a record, or it is one of a later version.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ConfigurationError(
            f"The file {str(path)!r} is not a record of format {FORMAT}.",
            fix="Use a file that `gmail-assets doctor --record` of this version wrote.",
        )
    return record


def _version() -> str:
    try:
        return version("gmail-assets")
    except PackageNotFoundError:
        return "0"


def _replies(evidence: Evidence) -> Iterator[Reply]:
    yield from evidence.everything
    yield from evidence.refusals
    if evidence.batch is not None:
        yield from evidence.batch.answers.values()


class _Hasher:
    """Replaces ids by hashes that are equal for equal ids."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, kind: str, value: Any) -> str:
        digest = hmac.new(self._key, f"{kind} {value}".encode("utf-8", "replace"), hashlib.sha256).digest()
        # Letters only: hexadecimal digits could look like a part of an id.
        return f"{kind}-" + "".join(chr(ord("g") + byte % 16) for byte in digest[:10])


def _history(evidence: Evidence, hashed: _Hasher) -> Iterator[dict[str, Any]]:
    try:
        records = evidence.records[:MAX_RECORDS]
        written = [_record(record, hashed) for record in records]
    except (CannotTell, *MALFORMED):
        return
    yield from written


def _record(record: Resource, hashed: _Hasher) -> dict[str, Any]:
    written: dict[str, Any] = {"id": hashed("record", record.get("id"))}
    if "messages" in record:
        written["messages"] = [_message(message, hashed) for message in items(record, "messages")]
    for kind in EVENTS:
        if kind in record:
            written[kind] = [
                {
                    "message": _message(event.get("message") or {}, hashed),
                    **({"labelIds": _labels(event["labelIds"])} if "labelIds" in event else {}),
                }
                for event in items(record, kind)
            ]
    return written


def _message(message: Resource, hashed: _Hasher) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if "id" in message:
        written["id"] = hashed("message", message["id"])
    if "threadId" in message:
        written["threadId"] = hashed("thread", message["threadId"])
    if "labelIds" in message:
        written["labelIds"] = _labels(message["labelIds"])
    return written


def _labels(labels: Any) -> list[str]:
    return [label if label in VALUES["labelIds"] else OTHER for label in labels if isinstance(label, str)]
