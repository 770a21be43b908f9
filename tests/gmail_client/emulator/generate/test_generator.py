"""The generated mailbox: deterministic for a seed, consistent with its raw bytes, realistic in its statistics."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from gmail_client.emulator.generate.generator import END_MS, random_mail, seeded_mailbox
from gmail_client.emulator.generate.languages import LANGUAGES
from gmail_client.emulator.generate.message_spec import STYLES
from gmail_client.emulator.generate.people import encoded
from gmail_client.emulator.generate.seeded import SeededMessage
from gmail_client.emulator.mail.content import from_raw
from gmail_client.emulator.mail.headers import decode_bytes, decode_words
from gmail_client.emulator.mail.snippet import SnippetStyle

SYSTEM_LABELS = {"INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "CHAT", "UNREAD", "STARRED", "IMPORTANT"} | {
    f"CATEGORY_{name}" for name in ("PERSONAL", "SOCIAL", "PROMOTIONS", "UPDATES", "FORUMS")
}


def attachment_id(part_id: str) -> str:
    return f"ANGj{part_id}"


@pytest.fixture(scope="module")
def messages() -> list[SeededMessage]:
    return list(seeded_mailbox(7, 0, 4000))


def leaves(part: dict) -> list[dict]:  # type: ignore[type-arg]
    return [part, *(leaf for child in part.get("parts", ()) for leaf in leaves(child))]


def test_generated_payloads_equal_those_of_their_raw_bytes(messages: list[SeededMessage]) -> None:
    seen: Counter[str] = Counter()
    for message in Random(1).sample(messages, 500):
        if message.chat:
            continue
        content, raw = message.content, message.content.raw()
        parsed = from_raw(raw)
        assert content.payload(attachment_id) == parsed.payload(attachment_id)
        assert content.headers() == parsed.headers()
        for name in ("size", "date_ms", "message_id", "references", "subject", "mime_type"):
            assert getattr(content, name) == getattr(parsed, name), name
        for style in (SnippetStyle(), SnippetStyle("plain", "character")):
            assert content.snippet(style) == parsed.snippet(style)
        found, expected = content.search_text(), parsed.search_text()
        assert (found.anywhere, found.filenames) == (expected.anywhere, expected.filenames)
        for part in leaves(content.payload(attachment_id)):
            seen[part["mimeType"]] += 1
            if "attachmentId" in part["body"] and part["body"]["size"] < 200_000:
                assert content.attachment(part["partId"]) == parsed.attachment(part["partId"])
                assert len(content.attachment(part["partId"])) == part["body"]["size"]
    for mime_type in (
        "multipart/alternative",
        "multipart/mixed",
        "multipart/related",
        "multipart/signed",
        "multipart/report",
        "message/rfc822",
        "message/delivery-status",
        "text/calendar",
        "application/pgp-signature",
        "application/pkcs7-signature",
    ):
        assert seen[mime_type], mime_type


def test_the_same_seed_gives_the_same_mailbox() -> None:
    def state(seed: int, index: int) -> list[object]:
        mailbox = seeded_mailbox(seed, index, 300)
        mail = [(m.thread, m.label_ids, m.internal_date_ms, m.content.message_id) for m in mailbox]
        return [
            mailbox.address,
            mailbox.labels,
            mailbox.settings,
            mailbox.filters,
            mailbox.history_start,
            mail,
        ]

    assert state(1, 0) == state(1, 0)
    assert state(1, 0)[5] != state(2, 0)[5]
    assert state(1, 0)[5] != state(1, 1)[5]
    first, again = seeded_mailbox(1, 0, 50), seeded_mailbox(1, 0, 50)
    assert [m.content.raw() for m in first] == [m.content.raw() for m in again]


def test_messages_are_oldest_first_and_end_at_the_given_date() -> None:
    for size in (0, 1, 2, 37, 500):
        dates = [message.internal_date_ms for message in seeded_mailbox(3, 0, size, end_ms=END_MS - 10**9)]
        assert len(dates) == size
        assert all(date <= END_MS - 10**9 for date in dates)
        assert dates == sorted(dates)
    with pytest.raises(ValueError, match="messages must be 0 or more, not -1"):
        seeded_mailbox(1, 0, -1)


def test_threads_labels_and_kinds_are_those_of_a_real_mailbox(messages: list[SeededMessage]) -> None:
    sizes = Counter(message.thread for message in messages)
    assert max(sizes.values()) > 15
    assert 1.4 < len(messages) / len(sizes) < 3
    labels = Counter(label for message in messages for label in message.label_ids)
    for label in SYSTEM_LABELS:
        assert labels[label], label
    user = {label["id"] for label in seeded_mailbox(7, 0, 0).labels}
    assert set(labels) - SYSTEM_LABELS <= user
    assert len(set(labels) & user) > 8
    assert any(message.classification for message in messages)
    for message in messages:
        assert message.draft == ("DRAFT" in message.label_ids)
        assert message.chat == ("CHAT" in message.label_ids)
        assert len(set(message.label_ids)) == len(message.label_ids)
    together: dict[int, set[str]] = {}
    for message in messages:
        together.setdefault(message.thread, set()).add("TRASH" if "TRASH" in message.label_ids else "kept")
    assert {"TRASH"} in together.values()
    assert {"TRASH", "kept"} in together.values()


def test_replies_refer_to_the_messages_before_them(messages: list[SeededMessage]) -> None:
    threads: dict[int, list[SeededMessage]] = {}
    for message in messages:
        threads.setdefault(message.thread, []).append(message)
    conversations = [thread for thread in threads.values() if len(thread) > 2 and not thread[0].chat]
    assert conversations
    for thread in conversations:
        for earlier, later in pairwise(thread):
            assert later.content.references[-1] == earlier.content.message_id
            assert later.content.subject == f"Re: {thread[0].content.subject}"


def test_parts_are_nested_as_deep_as_in_real_mail(messages: list[SeededMessage]) -> None:
    def depth(part: dict) -> int:  # type: ignore[type-arg]
        return 1 + max(map(depth, part["parts"])) if part.get("parts") else 0

    depths = Counter(depth(message.content.payload(attachment_id)) for message in messages)
    assert depths[0] > 1000
    assert depths[1] > 1000
    assert depths[2] > depths[3] > depths[4] > 0
    assert max(depths) >= 6


def test_message_ids_are_unique(messages: list[SeededMessage]) -> None:
    ids = [message.content.message_id for message in messages if not message.chat]
    assert len(set(ids)) == len(ids)


def test_a_chat_has_a_payload_but_no_raw_form(messages: list[SeededMessage]) -> None:
    chat = next(message.content for message in messages if message.chat)
    assert chat.raw() == b""
    assert chat.payload(attachment_id)["body"]["data"]
    assert chat.snippet(SnippetStyle())
    assert (chat.message_id, chat.date_ms, chat.references, chat.subject) == ("", 0, (), "")


def test_payloads_share_no_objects(messages: list[SeededMessage]) -> None:
    first = messages[0].content.payload(attachment_id)
    first["headers"].append({"name": "X", "value": "y"})
    first["body"]["size"] = -1
    second = messages[0].content.payload(attachment_id)
    assert second["body"]["size"] >= 0
    assert second["headers"] != first["headers"]


@pytest.mark.parametrize("wanted", [8, 15, 60, 300])
def test_the_mean_size_can_be_chosen(wanted: int) -> None:
    mailbox = list(seeded_mailbox(5, 0, 2000, mean_json_kb=wanted))
    sample = Random(2).sample(mailbox, 250)
    sizes = [len(json.dumps(message.content.payload(attachment_id))) for message in sample]
    assert 0.6 * wanted < sum(sizes) / len(sizes) / 1000 < 1.6 * wanted
    assert max(sizes) > 4 * sorted(sizes)[len(sizes) // 2] or wanted == 8


def test_account_seeds_are_gmail_resources() -> None:
    mailbox = seeded_mailbox(1, 3, 0)
    assert mailbox.address.endswith("@gmail.test")
    assert set(mailbox.settings) == {"autoForwarding", "imap", "pop", "language", "vacation"}
    names = [label["name"] for label in mailbox.labels]
    assert "Work/Clients/Aurora" in names
    assert len({label["id"] for label in mailbox.labels}) == len(names)
    assert any("color" in label for label in mailbox.labels)
    assert all(label["type"] == "user" for label in mailbox.labels)
    assert mailbox.send_as[0]["sendAsEmail"] == mailbox.address
    assert all(set(found) == {"id", "criteria", "action"} for found in mailbox.filters)
    assert mailbox.forwarding_addresses
    assert mailbox.delegates
    addresses = {seeded_mailbox(1, index, 0).address for index in range(20)}
    assert len(addresses) == 20


@pytest.mark.parametrize("style", [style for style in STYLES if style != "chat"])
def test_random_mail_of_every_style(style: str) -> None:
    raw = random_mail(Random(3), "ada@gmail.test", style=style)
    content = from_raw(raw)
    assert raw == random_mail(Random(3), "ada@gmail.test", style=style)
    assert content.message_id
    assert content.snippet(SnippetStyle())
    assert content.date_ms == END_MS // 1000 * 1000
    assert any(h == {"name": "Delivered-To", "value": "ada@gmail.test"} for h in content.headers())


def test_random_replies_thread() -> None:
    first = from_raw(random_mail(Random(1), "ada@gmail.test"))
    reply = from_raw(random_mail(Random(2), "ada@gmail.test", reply_to=first, sent=True))
    again = from_raw(random_mail(Random(4), "ada@gmail.test", reply_to=reply))
    assert reply.references == (first.message_id,)
    assert again.references == (first.message_id, reply.message_id)
    assert again.subject == reply.subject == f"Re: {first.subject}"


def test_every_language_fits_its_charsets_and_headers() -> None:
    for language in LANGUAGES:
        texts = (*language.sentences, *language.subjects, language.hello, language.bye, language.wrote)
        for charset in language.charsets:
            for text in (*texts, *language.given, *language.family):
                assert decode_bytes(text.encode(charset), charset) == text
                assert decode_words(encoded(text, charset).replace("\f", "")) == text
    long = "Längere Überschrift mit vielen schönen Wörtern — 長い件名 🎉 " * 4
    words = encoded(long)
    assert decode_words(words.replace("\f", "")) == long
    assert max(map(len, words.split("\f "))) <= 75


def test_only_reserved_domains_and_addresses_appear(messages: list[SeededMessage]) -> None:
    for message in messages[:300]:
        for header in message.content.headers():
            if header["name"] in ("From", "To", "Cc", "Delivered-To", "Return-Path"):
                for address in header["value"].split(","):
                    if "@" in address:
                        domain = address.rpartition("@")[2].strip(' ">')
                        assert domain.endswith((".test", "example.com", "example.org", "example.net")), (
                            address
                        )
