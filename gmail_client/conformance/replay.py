"""A record compared with the emulator: `replay` names every shape and answer that the emulator does not give.

The emulator behaves as the record's answers say. So a record that was made of the emulator itself has no differences,
and one of the real Gmail has those in which the emulator is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient, Mailbox
from gmail_client.conformance.examination import examine
from gmail_client.conformance.probes import PROBES
from gmail_client.conformance.probes.writes import WRITE_PROBES
from gmail_client.conformance.record import make_record
from gmail_client.conformance.seeding import change, seed
from gmail_client.emulator import Behavior, Emulator
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.http.exchange import Exchange
from gmail_client.quota import preset

__all__ = ["Difference", "Settled", "behavior_of", "emulated_record", "replay", "settled"]

_COMPARED_HEADERS = {"content-encoding", "content-type", "retry-after", "www-authenticate"}
"""Response headers that a client may read; all others are the server's business."""

_WIDER = {
    "base64url": "text",
    "digits": "hexadecimal",
    "draft id": "text",
    "empty text": "text",
    "falling": "in no order",
    "hexadecimal": "text",
    "label id": "text",
    "rising": "rising, with equal ones",
    "rising, with equal ones": "in no order",
}
"""A form and the next one that includes it."""

_EXACT_WORDS = {"@type", "domain", "reason", "status"}
"""Keys whose words are compared one by one. Of other keys, every documented word is as good as another."""

_NESTED = re.compile(r"(parts\[\]\.){2,}")

_LABELS = {"addLabelIds", "labelIds", "removeLabelIds"}

_BY_BEHAVIOR = {probe.behavior: probe for probe in PROBES if probe.behavior}
_BY_WRITES = {probe.behavior: probe for probe in WRITE_PROBES if probe.behavior}
_EMPTY_EVERY = 2
"""The page that is empty where a record has seen one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in a record that the emulator does not show.

    Attributes:
        name: What it is, such as `messages.get full: payload.body.size`.
        record: What the record says.
        emulator: What the emulator says.
    """

    name: str
    record: str
    emulator: str

    def __str__(self) -> str:
        return f"{self.name}: {self.record}; the emulator: {self.emulator or 'nothing'}"


def behavior_of(record: Mapping[str, Any]) -> Behavior:
    """The behavior that a record's answers say; the default where it has none."""
    values: dict[str, Any] = {}
    for field in fields(Behavior):
        answer = _answer(record, field.name)
        choices = get_args(get_type_hints(Behavior)[field.name])
        if answer is None:
            continue
        if choices and answer in choices:
            values[field.name] = answer
        elif isinstance(field.default, bool) and answer in ("true", "false"):
            values[field.name] = answer == "true"
        elif field.name == "empty_pages" and answer == "seen":
            values[field.name] = _EMPTY_EVERY
    return replace(Behavior(), **values)


def _answer(record: Mapping[str, Any], behavior: str) -> str | None:
    """The answer to the question on a behavior; what a write has shown comes first."""
    for probes in (_BY_WRITES, _BY_BEHAVIOR):
        probe = probes.get(behavior)
        found = (record.get("answers") or {}).get(probe.id) if probe is not None else None
        if found:
            return str(found["answer"])
    return None


@cache
def emulated_record(behavior: Behavior, kind: str, writes: bool = False) -> dict[str, Any]:
    """A record of the emulator with this behavior, with the shapes of all its messages and threads.

    Args:
        behavior: The behavior.
        kind: The kind of account: `delegated` uses a service account.
        writes: Whether to ask the questions on writes too.
    """
    with Emulator(messages=40, seed=23, behavior=behavior) as gmail:
        mailbox = _mailbox(gmail, kind)
        generated = sorted(gmail.mailbox().message_ids())
        writer = _mailbox(gmail, "consumer").api.exchange()
        made = seed(writer)
        change(writer, made)
        _live(gmail.mailbox(), generated)
        examination = examine(mailbox, written=made.evidence if writes else None)
        exchange = mailbox.api.exchange()
        for name, replies in _more(exchange, gmail):
            examination.evidence.replies.setdefault(name, []).append(replies)
        return make_record(examination)


def _mailbox(gmail: Emulator, kind: str) -> Mailbox:
    credentials = Credentials.from_access_token(gmail.access_token(delegated=kind == "delegated"))
    client = GmailClient(credentials, quota=preset(1_200_000), api_root=gmail.url, oauth_root=gmail.url)
    return client.mailbox("me")


def _live(mailbox: EmulatedMailbox, ids: Sequence[str]) -> None:
    """More kinds of changes than `seed` can make: messages that are deleted with and without labels, and settings."""
    mailbox.insert(mailbox.random_mail(), [])
    mailbox.delete(mailbox.insert(mailbox.random_mail(), []))
    for message_id in ids:
        mailbox.modify(message_id, ["STARRED", "IMPORTANT"], [])
    mailbox.batch_delete(
        [message_id for message_id in ids if "DRAFT" not in mailbox.label_ids(message_id)][:4]
    )
    for number in range(60):
        mailbox.insert(f"Subject: {number}\r\n\r\nx".encode(), ["INBOX"] if number % 2 else [])
    address = next(iter(mailbox.settings.send_as))
    forwarding = {"enabled": True, "emailAddress": address, "disposition": "markRead"}
    mailbox.settings.parts["autoForwarding"] = forwarding
    mailbox.settings.parts["vacation"] = {
        "enableAutoReply": True,
        "responseSubject": "s",
        "responseBodyPlainText": "p",
        "responseBodyHtml": "<p>p</p>",
        "restrictToContacts": True,
        "restrictToDomain": False,
        "startTime": "1790000000000",
        "endTime": "1800000000000",
    }


def _more(exchange: Exchange, gmail: Emulator) -> Iterator[tuple[str, Any]]:
    """Every message in every format, and every thread."""
    for message_id in gmail.mailbox().message_ids():
        for form in ("full", "raw", "metadata"):
            path = f"/messages/{quote(message_id, safe='')}"
            yield f"more {form}", exchange.get("messages.get", path, {"format": form}, form)
    for thread_id in gmail.mailbox().thread_ids():
        yield "more threads", exchange.get("threads.get", f"/threads/{thread_id}", {"format": "full"}, "full")


def replay(record: Mapping[str, Any], behavior: Behavior | None = None) -> list[Difference]:
    """What a record holds and the emulator does not show, sorted by name.

    Args:
        record: The record.
        behavior: The emulator's behavior; by default what the record says.
    """
    writes = any(name.startswith("writes.") for name in record["answers"])
    emulated = emulated_record(behavior or behavior_of(record), str(record["account"]), writes)
    found = [*_answers(record, emulated)]
    for call, shape in record["responses"].items():
        own = _responses(emulated["responses"], call)
        if own is None:
            found.append(Difference(call, "was called", ""))
        else:
            found += _shapes(call, shape, own)
    return sorted(found, key=lambda difference: difference.name)


def _responses(responses: Mapping[str, Any], call: str) -> Mapping[str, Any] | None:
    """The shapes of a call; of a listing, those of all its variants together."""
    method = call.partition(" ")[0]
    if not method.endswith(".list"):
        return responses.get(call)
    merged: dict[str, Any] = {"fields": {}, "headers": [], "statuses": {}}
    for name, shape in responses.items():
        if name.partition(" ")[0] != method:
            continue
        merged["headers"] += shape["headers"]
        merged["statuses"] |= shape["statuses"]
        for path, field in shape["fields"].items():
            known = merged["fields"].setdefault(path, {"forms": [], "present": field.get("present")})
            known["forms"] = [*known["forms"], *field["forms"]]
            if field.get("present") == "sometimes":
                known["present"] = "sometimes"
    return merged if merged["statuses"] else None


def _answers(record: Mapping[str, Any], emulated: Mapping[str, Any]) -> Iterator[Difference]:
    for probe_id, answer in record["answers"].items():
        if answer is None:
            continue
        own = emulated["answers"].get(probe_id)
        if own is not None and own["answer"] != answer["answer"]:
            yield Difference(probe_id, answer["answer"], own["answer"])
        elif probe_id not in emulated["answers"]:
            yield Difference(probe_id, answer["answer"], "")


def _shapes(call: str, shape: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Difference]:
    for status in shape["statuses"]:
        if status not in own["statuses"]:
            yield Difference(f"{call}: status", status, ", ".join(own["statuses"]))
    for header in sorted(_COMPARED_HEADERS.intersection(shape["headers"]) - set(own["headers"])):
        yield Difference(f"{call}: header", header, "")
    known = _without_depth(own["fields"])
    for path, field in _without_depth(shape["fields"]).items():
        yield from _field(f"{call}: {path}", path, field, known.get(path))


def _without_depth(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of all parts together, however deeply they are nested."""
    merged: dict[str, Any] = {}
    for path, field in fields.items():
        name = _NESTED.sub("parts[].", path)
        known = merged.get(name)
        if known is None:
            merged[name] = dict(field)
            continue
        known["forms"] = sorted({*known["forms"], *field["forms"]})
        if field.get("present") == "sometimes":
            known["present"] = "sometimes"
    return merged


def _field(
    name: str, path: str, field: Mapping[str, Any], own: Mapping[str, Any] | None
) -> Iterator[Difference]:
    if "[]" in path and " by " in path:
        return  # the order of a few items inside another item says nothing
    if own is None:
        yield Difference(name, ", ".join(field["forms"]), "")
        return
    key = path.removesuffix("[]").rpartition(".")[2].rpartition(": ")[2]
    kinds = {_kind(form, key) for form in own["forms"]}
    unknown = sorted({kind for form in field["forms"] if not _included(kind := _kind(form, key), kinds)})
    if unknown:
        yield Difference(name, ", ".join(unknown), ", ".join(sorted(kinds)))
    if field.get("present") == "sometimes" and own.get("present") == "always":
        yield Difference(name, "sometimes absent", "always present")


def _kind(form: str, key: str) -> str:
    """A form without its size."""
    for beginning in ("list", "part id", "the header name"):
        if form.startswith(f"{beginning} "):
            return beginning
    if key in _LABELS and form.startswith(("the word ", "label id")):
        return "label"
    if form.startswith("the word "):
        return form if key in _EXACT_WORDS else "text"
    return form if form.startswith("rising") else form.partition(",")[0]


def _included(kind: str, kinds: set[str]) -> bool:
    wider: str | None = kind
    while wider is not None:
        if wider in kinds:
            return True
        wider = _WIDER.get(wider)
    return False


@dataclass(frozen=True, slots=True)
class Settled:
    """What records say about one undocumented behavior.

    Attributes:
        behavior: The field of `Behavior`.
        question: The question of its probe.
        default: What the emulator does.
        answers: The answer of each record that has one, by the name of its file.
    """

    behavior: str
    question: str
    default: str
    answers: Mapping[str, str]


def settled(folder: Path) -> list[Settled]:
    """What the records in a folder settle, for each behavior of the emulator that is asked for."""
    records = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    return [
        Settled(
            name,
            probe.question,
            probe.expected,
            {
                stem: answer
                for stem, record in records.items()
                if (answer := _answer(record, name)) is not None
            },
        )
        for name, probe in _BY_BEHAVIOR.items()
    ]
