"""Questions about the form of messages: in full compared with the raw bytes, and in the other formats.

The emulator parses the raw bytes, and its payload is the expected one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gmail_client.conformance.evidence import CannotTell, Evidence, Resource, items, part_list
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true, first_of
from gmail_client.emulator.mail.content import from_raw

__all__ = ["PROBES", "decoded"]

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")
_PART_ID = re.compile(r"(\d+(\.\d+)*)?")
_FIELD = re.compile(rb"^[\x21-\x39\x3b-\x7e]+:[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)
_REPORT = "Please report it, with the detail that is shown here."


def decoded(data: object) -> bytes:
    """The bytes of base64url data, with or without padding; none if it is not base64."""
    text = str(data or "")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


@dataclass(frozen=True)
class _Compared:
    """A part of a payload and the one that the emulator makes of the raw bytes."""

    path: str
    real: Resource
    expected: Resource


def _compared(evidence: Evidence) -> list[_Compared]:
    found = []
    for full, raw in evidence.pairs():
        real = part_list(full.get("payload") or {})
        expected = part_list(from_raw(decoded(raw["raw"])).payload(lambda part_id: "-"))
        if [part.get("partId") for part in real] == [part["partId"] for part in expected]:
            found += [
                _Compared(str(one.get("partId") or "root"), one, other)
                for one, other in zip(real, expected, strict=True)
            ]
    if not found:
        raise CannotTell("no message has the parts that its raw bytes should give")
    return found


def _tree(evidence: Evidence) -> Answer:
    checks = []
    for full, raw in evidence.pairs():
        real = [(part.get("partId"), part.get("mimeType")) for part in part_list(full.get("payload") or {})]
        expected = part_list(from_raw(decoded(raw["raw"])).payload(lambda part_id: "-"))
        checks.append(real == [(part["partId"], part["mimeType"]) for part in expected])
    return all_true(checks, "no message was read raw")


def _same(what: Callable[[Resource], Any], evidence: Evidence) -> Answer:
    """Whether a property of all parts is as the emulator makes it."""
    parts = _compared(evidence)
    different = [part.path for part in parts if what(part.real) != what(part.expected)]
    if different:
        return Answer("no", len(different), f"differs in part {', '.join(sorted(set(different))[:5])}")
    return Answer("yes", len(parts))


def _header_names(part: Resource) -> list[str]:
    return [str(header.get("name")) for header in items(part, "headers")]


def _header_values(evidence: Evidence) -> Answer:
    parts = [part for part in _compared(evidence) if _header_names(part.real) == _header_names(part.expected)]
    different = [
        str(one.get("name"))
        for part in parts
        for one, other in zip(items(part.real, "headers"), items(part.expected, "headers"), strict=True)
        if one.get("value") != other.get("value")
    ]
    if different:
        return Answer("no", len(different), f"differs in the header {', '.join(sorted(set(different))[:5])}")
    return all_true((True for part in parts if part.real.get("headers")), "no part has the same headers")


def _folded(evidence: Evidence) -> Answer:
    """Whether header lines that are folded in the raw bytes are shown as the emulator unfolds them."""
    answers = []
    for full, raw in evidence.pairs():
        content = decoded(raw["raw"])
        real, expected = items(full.get("payload") or {}, "headers"), from_raw(content).headers()
        fields = _FIELD.findall(content.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n")
        if len(real) == len(expected) == len(fields):
            answers += [
                "one space" if shown.get("value") == wanted["value"] else "other"
                for shown, wanted, field in zip(real, expected, fields, strict=True)
                if b"\n" in field.strip() and b"*" not in field
            ]
    return first_of(answers, "no message that was read raw has a folded header")


def _size_estimate(evidence: Evidence) -> Answer:
    return all_true(
        (full.get("sizeEstimate") == len(decoded(raw["raw"])) for full, raw in evidence.pairs()),
        "no message was read raw",
    )


def _datas(evidence: Evidence) -> list[str]:
    data = [
        str((part.get("body") or {}).get("data") or "")
        for message in evidence.full()
        for part in part_list(message.get("payload") or {})
    ]
    raw = [
        str(reply.json.get("raw") or "")
        for replies in evidence.messages.values()
        if (reply := replies.get("raw")) is not None and reply.json
    ]
    return [text for text in [*data, *raw] if text]


def _padding(evidence: Evidence) -> Answer:
    texts = _datas(evidence)
    if not any(len(text.rstrip("=")) % 4 for text in texts):
        raise CannotTell("no data that was read needs padding")
    return all_true((len(text) % 4 == 0 for text in texts), "no data was read")


def _alphabet(evidence: Evidence) -> Answer:
    return all_true((_BASE64URL.fullmatch(text) is not None for text in _datas(evidence)), "no data was read")


def _parts(evidence: Evidence) -> list[Resource]:
    return [part for message in evidence.full() for part in part_list(message.get("payload") or {})]


def _part_ids(evidence: Evidence) -> Answer:
    return all_true(
        (_PART_ID.fullmatch(str(part.get("partId", ""))) is not None for part in _parts(evidence)),
        "no message was read in full",
    )


def _attachments_without_data(evidence: Evidence) -> Answer:
    bodies = [part.get("body") or {} for part in _parts(evidence) if part.get("filename")]
    return all_true(
        ("attachmentId" in body and "data" not in body for body in bodies), "no message has an attachment"
    )


def _attachment_ids(evidence: Evidence) -> Answer:
    """Compare the attachment ids of one message, in the thread and on its own."""
    inside = {message.get("id"): message for message in items(evidence.json("thread"), "messages")}
    answers = []
    for message_id, replies in evidence.messages.items():
        alone = replies.get("full")
        if alone is None or not alone.json or message_id not in inside:
            continue
        pairs = zip(_ids(alone.json), _ids(inside[message_id]), strict=False)
        answers += ["other" if one != another else "same" for one, another in pairs]
    return first_of(answers, "no message with an attachment was read twice")


def _ids(message: Resource) -> list[str]:
    bodies = [part.get("body") or {} for part in part_list(message.get("payload") or {})]
    return [str(body["attachmentId"]) for body in bodies if "attachmentId" in body]


def _raw_keys(evidence: Evidence) -> Answer:
    raws = [replies["raw"].json for replies in evidence.messages.values() if "raw" in replies]
    return all_true(("raw" in raw and "payload" not in raw for raw in raws if raw), "no message was read raw")


def _metadata_keys(evidence: Evidence) -> Answer:
    found = [
        (replies["metadata"].json or {}).get("payload") or {}
        for replies in evidence.messages.values()
        if "metadata" in replies and replies["metadata"].status == 200
    ]
    return all_true(
        (payload.keys() <= {"mimeType", "headers"} for payload in found),
        "no message was read with its headers only",
    )


def _number_fields(evidence: Evidence) -> Answer:
    return all_true(
        (
            isinstance(message.get(key), str) and str(message[key]).isdigit()
            for message in evidence.full()
            for key in ("historyId", "internalDate")
        ),
        "no message was read in full",
    )


PROBES: tuple[Probe, ...] = (
    Probe(
        "messages.tree",
        "Do the ids and types of parts follow the MIME structure?",
        "yes",
        _tree,
        f"payload has other parts than expected; part_id in attachments may not fit older rows. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.header_names",
        "Does a part have the headers of the raw message, in the same order and case?",
        "yes",
        partial(_same, _header_names),
        f"headers in payload differ from those that `format: raw` and minimized tables give. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.header_values",
        "Do the values of headers equal those that the emulator decodes from the raw message?",
        "yes",
        _header_values,
        f"Columns of emails that come from headers may differ in white space or encoding. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.folded",
        "How is a folded header line returned?",
        "one space",
        _folded,
        "Long subjects and address lists have other white space than expected.",
        basis="captured",
    ),
    Probe(
        "messages.filenames",
        "Is the file name of a part the one in its raw headers?",
        "yes",
        partial(_same, lambda part: part.get("filename", "")),
        f"filename in attachments may differ for encoded names. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.sizes",
        "Is `size` the number of bytes of the decoded part?",
        "yes",
        partial(_same, lambda part: (part.get("body") or {}).get("size")),
        f"size_bytes in attachments may not be the size of the file. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.data",
        "Is the text of a part its decoded content in UTF-8?",
        "yes",
        partial(_same, lambda part: (part.get("body") or {}).get("data", "").rstrip("=")),
        f"Texts in emails may differ in unusual character sets. {_REPORT}",
        basis="captured",
    ),
    Probe(
        "messages.attachments",
        "Do parts with a file name have an attachmentId and no data?",
        "yes",
        _attachments_without_data,
        "Small attachments are stored inside payload; minimized tables may keep them. Please report it.",
        basis="captured",
    ),
    Probe(
        "messages.attachment_ids",
        "Is the attachmentId different in every response?",
        "other",
        _attachment_ids,
        "None: attachmentId is never compared and is not a key.",
        basis="captured",
    ),
    Probe(
        "messages.size_estimate",
        "Is sizeEstimate the length of the raw message?",
        "yes",
        _size_estimate,
        "size_bytes in emails is an estimate.",
        basis="captured",
    ),
    Probe(
        "messages.padding",
        "Is base64url data padded with `=`?",
        "yes",
        _padding,
        "None: data is decoded with and without padding.",
        basis="captured",
    ),
    Probe(
        "messages.alphabet",
        "Does data use the URL-safe alphabet of base64?",
        "yes",
        _alphabet,
        "Texts can't be decoded in queries. Please report it.",
    ),
    Probe(
        "messages.part_ids",
        "Is the partId empty for the root, and a position below it?",
        "yes",
        _part_ids,
        "part_id in attachments has another form.",
        basis="captured",
    ),
    Probe(
        "messages.raw_keys",
        "Does a raw message have `raw` and no payload?",
        "yes",
        _raw_keys,
        "None if there is a payload too.",
    ),
    Probe(
        "messages.metadata_keys",
        "Does the payload of format=metadata have only mimeType and headers?",
        "yes",
        _metadata_keys,
        "A table with `format: metadata` may store more than headers: check it before you rely on it for privacy.",
        basis="captured",
    ),
    Probe(
        "messages.number_fields",
        "Are historyId and internalDate numbers as strings?",
        "yes",
        _number_fields,
        "None: numbers are converted to text.",
    ),
)
"""The probes of this subject."""
