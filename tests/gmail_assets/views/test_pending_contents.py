"""Which contents are stored: those that the options allow, once for all mailboxes, fetched once if they are shared."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest
from support.chaos import client_of
from support.contents import GET, PDF, PNG, Contents, mail
from support.lake import stored_rows

from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.views.pending_contents import mail_keys
from gmail_client.emulator import Emulator
from gmail_client.views import CONTENTS, LINKS

Row = dict[str, Any]


@pytest.mark.slow
def test_options_choose_and_narrowed_ones_delete(gmail: Emulator, contents: Contents) -> None:
    address = gmail.addresses[0]
    contents.set(maxBytes=len(PDF), types="application/pdf, text/*")
    _, calls = contents.run()
    assert contents.stored(address)
    contents.check()
    contents.set(types="image/*")
    contents.run()
    contents.check()
    assert PDF not in contents.stored(address).values()
    contents.set()
    contents.run()
    contents.check()
    assert calls > 0


@pytest.mark.slow
@pytest.mark.parametrize("column", ["payload.body", "payload", "payload.body.data"])
def test_excluded_bodies_have_no_contents(gmail: Emulator, contents: Contents, column: str) -> None:
    contents.run()
    contents.set(messages={"excludeColumns": column})
    _, calls = contents.run()
    assert calls == 0
    assert stored_rows(contents.lake, CONTENTS) == stored_rows(contents.lake, LINKS) == []


@pytest.mark.slow
def test_excluded_senders_and_labels_have_no_contents(gmail: Emulator, contents: Contents) -> None:
    mailbox = gmail.mailbox(gmail.addresses[0])
    mailbox.insert(mail(4, ("application/pdf", b"secret 1"), sender="mallory@shady.example"), ["INBOX"])
    starred = mailbox.insert(mail(5, ("application/pdf", b"secret 2")), ["INBOX"])
    contents.set(messages={"excludeFrom": "@shady.example", "excludeLabels": "STARRED"})
    contents.run()
    held = {row["content"] for row in stored_rows(contents.lake, CONTENTS)}
    assert b"secret 2" in held
    assert b"secret 1" not in held
    mailbox.modify(starred, add=["STARRED"])
    contents.run()
    assert b"secret 2" not in {row["content"] for row in stored_rows(contents.lake, CONTENTS)}


@pytest.mark.slow
def test_with_hash_attached_messages_are_not_stored(
    gmail: Emulator, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMAIL_HASH_KEY", "k" * 32)
    contents.set(messages={"hash": "addresses"})
    outer = EmailMessage()
    outer["From"], outer["Message-ID"] = "ben@example.com", "<9@example.com>"
    outer.set_content("Forwarded.")
    inner = EmailMessage()
    inner["From"] = "hidden@example.com"
    inner.set_content("Hello")
    outer.add_attachment(inner)
    outer.add_attachment(PDF, maintype="application", subtype="pdf", filename="a.pdf")
    gmail.mailbox(gmail.addresses[0]).insert(outer.as_bytes(), ["INBOX"])
    contents.run()
    held = [row["content"] for row in stored_rows(contents.lake, CONTENTS)]
    assert PDF in held
    assert not [data for data in held if b"hidden@example.com" in data]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_two_mailboxes_store_a_content_once_and_fetch_it_once_if_shared(
    gmail: Emulator, contents: Contents, shared: bool
) -> None:
    ada, ben = gmail.addresses
    contents.set(shared=shared)
    contents.run(ada)
    contents.prepare(ben)
    plan = plan_mailbox(client_of(gmail, ben).mailbox(ben), contents.lake, contents.spec)
    gmail.usage.reset()
    contents.fetch(ben)
    contents.check(ada, ben)
    assert gmail.usage.units[GET] == plan.attachment_units
    both = [key for key, (data, _) in contents.truth(ben).items() if data in (PDF, PNG)]
    fetched = sum(not inline for _, inline in contents.truth(ben).values())
    assert len(both) == 3
    assert gmail.usage.calls[GET] == fetched - (len(both) if shared else 0)


def test_a_mail_key_needs_the_same_headers_and_attachments() -> None:
    emails = {"rfc822_message_id": "1@x", "from_email": "ben@x", "sent_at": None, "subject": "Report"}
    file = {
        "part_id": "1",
        "filename": "a.pdf",
        "mime_type": "application/pdf",
        "size_bytes": 9,
        "content_id": None,
    }

    def key(changes: Row, *files: Row) -> str | None:
        rows = [{**file, **one, "message_id": "m"} for one in files]
        return mail_keys([{**emails, **changes, "message_id": "m"}], rows).get("m")

    same = key({}, {}, {"part_id": "2"})
    assert same is not None
    assert same == key({}, {"part_id": "2"}, {})
    forged: list[tuple[Row, Row]] = [({name: "other"}, {}) for name in emails] + [
        ({}, {name: 8 if name == "size_bytes" else "other"}) for name in file
    ]
    assert same not in {key(mail, one, {"part_id": "2"}) for mail, one in forged}
    assert len({key(mail, one, {"part_id": "2"}) for mail, one in forged}) == 9
    assert key({"rfc822_message_id": None}, {}) is None


@pytest.mark.slow
def test_a_forged_message_id_shares_nothing(gmail: Emulator, contents: Contents) -> None:
    ada, ben = gmail.addresses
    contents.set(shared=True)
    forged = b"X" * len(PDF)
    gmail.mailbox(ada).insert(mail(7, ("application/pdf", forged), sender="mallory@example.com"), ["INBOX"])
    gmail.mailbox(ben).insert(mail(7, ("application/pdf", PDF)), ["INBOX"])
    contents.run(ada)
    contents.run(ben)
    contents.check(ada, ben)


@pytest.mark.slow
def test_contents_that_differ_between_mailboxes_are_not_shared(gmail: Emulator, contents: Contents) -> None:
    ada, ben = gmail.addresses
    for address, data in ((ada, b"X" * len(PDF)), (ben, b"Y" * len(PDF))):
        gmail.mailbox(address).insert(mail(7, ("application/pdf", data)), ["INBOX"])
        contents.run(address)
    gmail.mailbox(ada).insert(mail(7, ("application/pdf", PDF)), ["INBOX"])
    contents.set(shared=True)
    contents.run(ada)
    contents.check(ada, ben)
