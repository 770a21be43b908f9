"""A record describes responses and contains nothing of the mailbox."""

from __future__ import annotations

import base64
import json
import quopri
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chaos import client_of

from gmail_client.conformance.examination import Examination, examine
from gmail_client.conformance.record import make_record, read_record, record_text, write_record
from gmail_client.conformance.shapes import ResponseShapes, bucket
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ConfigurationError, RequestError
from gmail_client.http.exchange import Reply

PLANTED = {
    place: f"zq{place}XK{number:04d}jv"
    for number, place in enumerate(
        [
            "subject",
            "sender",
            "domain",
            "header",
            "value",
            "plain",
            "html",
            "file",
            "content",
            "label",
            "signature",
            "name",
            "vacation",
            "filter",
            "forward",
            "message",
            "reason",
            "field",
            "page",
            "alias",
        ],
        start=5101,
    )
}


def forms(text: str) -> Iterator[str]:
    """A text and its halves, plain and in the encodings that mail and URLs use."""
    half = len(text) // 2
    for piece in (text, text[:half], text[half:]):
        data = piece.encode()
        yield piece
        yield piece.lower()
        yield piece.upper()
        yield data.hex()
        yield quote(piece, safe="")
        yield "".join(f"%{byte:02X}" for byte in data)
        yield "".join(f"={byte:02X}" for byte in data)
        yield quopri.encodestring(data).decode()
        for shift in range(3):  # the three ways in which base64 can show it inside a longer text
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                encoded = encode(b"\0" * shift + data).decode().rstrip("=")
                yield encoded[(0, 2, 3)[shift] : len(encoded) - 1]


def found_in(text: str, planted: str) -> list[str]:
    return [form for form in forms(planted) if len(form) >= 5 and form in text]


def plant(gmail: Emulator) -> list[str]:
    """Distinctive values in every field of the mailbox; returns them."""
    mailbox = gmail.mailbox()
    label = mailbox.create_label(PLANTED["label"])
    for number in range(3):
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"{PLANTED['sender']} <{PLANTED['sender']}@{PLANTED['domain']}.example>"
        mail["To"] = f"{PLANTED['name']} <{gmail.addresses[0]}>"
        mail["Subject"] = PLANTED["subject"]
        mail[f"X-{PLANTED['header']}"] = PLANTED["value"]
        mail["Message-ID"] = f"<{PLANTED['value']}{number}@{PLANTED['domain']}.example>"
        mail.set_content(PLANTED["plain"])
        mail.add_alternative(f"<p>{PLANTED['html']}</p>", subtype="html")
        mail.add_attachment(
            PLANTED["content"].encode(),
            maintype="application",
            subtype=PLANTED["file"],
            filename=PLANTED["file"],
        )
        if number:
            mail["References"] = f"<{PLANTED['value']}0@{PLANTED['domain']}.example>"
        message = mailbox.insert(mail.as_bytes(), ["INBOX", label])
        mailbox.modify(message, ["STARRED"], [])
    mailbox.update_settings("vacation", {"enableAutoReply": True, "responseSubject": PLANTED["vacation"]})
    mailbox.update_settings("language", {"displayLanguage": "qz"})
    mailbox.create_filter({"from": PLANTED["filter"]}, {"addLabelIds": [label]})
    mailbox.create_forwarding_address(f"{PLANTED['forward']}@elsewhere.example")
    mailbox.create_send_as(
        f"{PLANTED['alias']}@{PLANTED['domain']}.example",
        displayName=PLANTED["name"],
        signature=PLANTED["signature"],
    )
    mailbox.create_draft(
        f"Subject: {PLANTED['subject']}\r\nTo: a@b.example\r\n\r\n{PLANTED['plain']}".encode()
    )
    refused = {"status": 403, "reason": PLANTED["reason"], "message": PLANTED["message"]}
    gmail.faults.add(Fault("drafts.list", headers={f"X-{PLANTED['header']}": PLANTED["value"]}, **refused))
    gmail.faults.add(
        Fault("labels.list", kind="patch", patch={PLANTED["field"]: {PLANTED["field"]: PLANTED["value"]}})
    )
    gmail.faults.add(Fault("threads.list", kind="patch", patch={"nextPageToken": PLANTED["page"]}))
    ids = [*mailbox.message_ids(), *mailbox.thread_ids(), mailbox.head, label]
    return [*PLANTED.values(), *gmail.addresses, gmail.addresses[0].partition("@")[0], *ids, "rfc822msgid"]


@pytest.fixture(scope="module")
def planted() -> Iterator[tuple[Examination, list[str]]]:
    with Emulator(messages=0) as gmail:
        values = plant(gmail)
        yield examine(client_of(gmail).mailbox("me")), values


def test_a_record_contains_no_planted_value(planted: tuple[Examination, list[str]]) -> None:
    examination, values = planted
    text = record_text(make_record(examination))
    assert {value: found for value in values if (found := found_in(text, value))} == {}
    numbers = {
        str(message.get(key))
        for message in examination.evidence.full()
        for key in ("historyId", "internalDate", "sizeEstimate")
        if len(str(message.get(key))) >= 5
    }
    assert not [number for number in numbers if number in text]


def test_the_planted_values_are_in_the_responses(planted: tuple[Examination, list[str]]) -> None:
    evidence = planted[0].evidence
    replies = [*evidence.everything, *(evidence.batch.answers.values() if evidence.batch else ())]
    text = json.dumps([[reply.json, dict(reply.headers)] for reply in replies]).lower()
    encoded = base64.b64encode(PLANTED["plain"].encode()).decode()[:12]
    missing = [
        place
        for place, value in PLANTED.items()
        if value.lower() not in text and place not in ("plain", "html", "content")
    ]
    assert missing == []
    assert encoded.lower() in text


def test_a_record_says_what_it_is_and_can_be_read_back(
    planted: tuple[Examination, list[str]], tmp_path: Path
) -> None:
    record = make_record(planted[0], history_lives={"valid_after_days": 7}, today="2026-11-26")
    path = tmp_path / "record.json"
    write_record(path, record)
    assert read_record(path) == record
    text = path.read_text("utf-8")
    assert text.startswith('{\n "about": [\n  "This file describes how the Gmail API behaved')
    assert text == record_text(json.loads(text))
    assert record["history_lives"] == {"valid_after_days": 7}
    assert record["complete"]
    with pytest.raises(ConfigurationError, match="can't be written"):
        write_record(path, record)
    path.write_text("[]", "utf-8")
    with pytest.raises(ConfigurationError, match="not a record"):
        read_record(path)


def test_hashes_are_equal_within_a_record_and_differ_between_two(
    planted: tuple[Examination, list[str]],
) -> None:
    one, two = (make_record(planted[0])["history"] for _ in range(2))
    assert [record["id"] for record in one] != [record["id"] for record in two]
    assert len({record["id"] for record in one}) == len(one)
    assert (
        make_record(planted[0], hash_key=b"k")["history"] == make_record(planted[0], hash_key=b"k")["history"]
    )


_TOKEN = "planted7391value"
_texts = st.sampled_from(
    [_TOKEN, f"INBOX {_TOKEN}", f"{_TOKEN}=", f"1{_TOKEN}", _TOKEN.upper(), f"Label_{_TOKEN}"]
)
_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.just(7391739173917391) | _texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            _texts | st.sampled_from(["id", "name", "labelIds", "reason", "mimeType"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(document=st.dictionaries(_texts | st.just("messages"), _values, max_size=4), header=_texts)
def test_no_form_of_json_brings_a_value_into_the_shapes(document: dict[str, Any], header: str) -> None:
    shapes = ResponseShapes()
    error = RequestError("x", status=400, reason=_TOKEN)
    shapes.add(Reply("messages.list", 200, {header: header}, document, 10))
    shapes.add(Reply("messages.list", 400, {}, {"error": document}, 10, error))
    text = json.dumps(shapes.as_json())
    assert _TOKEN not in text.lower()
    assert "7391739173917391" not in text


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (1, "1"),
        (2, "2-9"),
        (9, "2-9"),
        (10, "10-99"),
        (99, "10-99"),
        (100, "100-999"),
        (12345, "10000-99999"),
    ],
)
def test_buckets(count: int, expected: str) -> None:
    assert bucket(count) == expected


def test_only_headers_of_mail_are_named() -> None:
    shapes = ResponseShapes()
    shapes.add(Reply("labels.list", 200, {}, {"labels": [{"id": "Label_1", "name": "Subject"}]}, 10))
    headers = [{"name": "Subject", "value": "x"}, {"name": "X-Own", "value": "x"}]
    shapes.add(Reply("messages.get full", 200, {}, {"payload": {"headers": headers}}, 10))
    found = shapes.as_json()
    assert found["labels.list"]["fields"]["labels[].name"]["forms"] == ["text, 2-9 characters"]
    assert found["messages.get full"]["fields"]["payload.headers[].name"]["forms"] == [
        "text, 2-9 characters",
        "the header name subject, mixed case",
    ]


def test_fields_that_are_sometimes_absent_are_named() -> None:
    shapes = ResponseShapes()
    messages = [{"id": "1", "labelIds": ["INBOX", "Label_1"]}, {"id": "2"}]
    shapes.add(Reply("messages.list", 200, {}, {"messages": messages}, 10))
    fields = shapes.as_json()["messages.list"]["fields"]
    assert fields["messages[].id"]["present"] == "always"
    assert fields["messages[].labelIds"]["present"] == "sometimes"
    assert fields["messages[].labelIds[]"]["forms"] == ["label id, 2-9 characters", "the word INBOX"]
    assert fields["messages by id"]["forms"] == ["rising"]
