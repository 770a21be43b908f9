"""The contents of attachments equal Gmail's bytes, are fetched once, and follow their messages."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.chaos import client_of
from support.lake import stored_rows
from support.queries import PAGE, evaluate

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.operations.forget import forget_mailbox, forget_messages
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing import SyncResult, sync
from gmail_assets.syncing.memory import ByteBudget
from gmail_assets.views import ContentSources, ViewSources, derive, fetch_contents
from gmail_assets.views.contents import _bytes_of
from gmail_assets.views.pending_contents import mail_keys
from gmail_assets.views.verification import ViewVerdict
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ResponseError
from gmail_client.spec import Spec
from gmail_client.views import CONTENTS, LINKS, attachment_sources
from gmail_client.views.attachments import AttachmentSource

GET = "messages.attachments.get"
NO_UPKEEP = Upkeep(small_files=0, retention=None)
PDF, PNG = b"%PDF-1.7 the same for all", b"\x89PNG" + bytes(range(256)) * 4
Row = dict[str, Any]


def mail(number: int, *files: tuple[str, bytes], sender: str = "ben@example.com") -> bytes:
    """A mail with these files, by MIME type."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, "ada@example.com", f"Mail {number}"
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content("See the files.")
    for at, (kind, data) in enumerate(files):
        main, _, sub = kind.partition("/")
        # Gmail gives the bytes of text without a name with the message.
        name = None if main == "text" else f"{number}-{at}.{sub}"
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return message.as_bytes()


class Contents:
    """A lake with messages and what follows from them, of mailboxes of the emulator."""

    def __init__(self, gmail: Emulator, folder: Path, *, messages: Row | None = None, **options: Any) -> None:
        self.gmail = gmail
        self.lake = Lake(str(folder))
        self.set(messages=messages, **options)

    def set(self, *, messages: Row | None = None, **options: Any) -> None:
        """Change the options of the spec."""
        self.spec = Spec.parse(
            {
                "objects": [
                    {"source_table": "messages", "table_configuration": messages or {}},
                    {"source_table": "emails"},
                    {"source_table": "attachments"},
                    {"source_table": CONTENTS, "table_configuration": options},
                ]
            }
        )
        sources = ContentSources.of(self.spec)
        assert sources is not None
        self.sources = sources

    def prepare(self, address: str) -> None:
        """All but the contents."""
        sync(client_of(self.gmail, address).mailbox(address), self.lake, self.spec.tables, upkeep=NO_UPKEEP)
        derive(self.lake, address, ViewSources.of(self.spec), upkeep=NO_UPKEEP)

    def fetch(self, address: str, **more: Any) -> SyncResult:
        mailbox = client_of(self.gmail, address).mailbox(address)
        return fetch_contents(mailbox, self.lake, self.sources, upkeep=NO_UPKEEP, **more)

    def run(self, address: str | None = None) -> tuple[SyncResult, int]:
        """A sync; the result, and the calls that fetched attachments."""
        address = address or self.gmail.addresses[0]
        self.prepare(address)
        before = self.gmail.usage.calls[GET]
        return self.fetch(address), self.gmail.usage.calls[GET] - before

    def truth(self, address: str) -> dict[tuple[str, str], tuple[bytes, bool]]:
        """The bytes of each attachment, and whether the message holds them."""
        found = {}
        kinds = {
            (row["message_id"], row["part_id"]): row for row in stored_rows(self.lake, "attachments", address)
        }
        for message in self.gmail.truth("messages", address):
            stored = self.gmail.mailbox(address).message(message["id"])
            for source in attachment_sources(message):
                row = kinds.get((message["id"], source.part_id))
                if row is None or not self.sources.allow(row["mime_type"], row["size_bytes"]):
                    continue
                if source.content is not None:
                    found[message["id"], source.part_id] = source.content, True
                elif source.attachment_id is not None:
                    found[message["id"], source.part_id] = stored.content.attachment(source.part_id), False
        return found

    def stored(self, address: str) -> dict[tuple[str, str], bytes]:
        """The bytes by attachment, as a query joins them."""
        contents = {row["sha256"]: row["content"] for row in stored_rows(self.lake, CONTENTS)}
        assert all(hashlib.sha256(data).hexdigest() == sha256 for sha256, data in contents.items())
        return {
            (row["message_id"], row["part_id"]): contents[row["sha256"]]
            for row in stored_rows(self.lake, LINKS, address)
            if row["sha256"] in contents
        }

    def check(self, *addresses: str) -> None:
        """Every attachment has its bytes, each content is stored once, and none that no attachment has."""
        expected = {address: self.truth(address) for address in addresses or self.gmail.addresses[:1]}
        for address, truth in expected.items():
            assert self.stored(address) == {key: data for key, (data, _) in truth.items()}
        hashes = [row["sha256"] for row in stored_rows(self.lake, CONTENTS)]
        everything = {data for truth in expected.values() for data, _ in truth.values()}
        assert sorted(hashes) == sorted(hashlib.sha256(data).hexdigest() for data in everything)


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=25, seed=9) as emulator:
        for address in emulator.addresses:
            mailbox = emulator.mailbox(address)
            mailbox.insert(mail(1, ("application/pdf", PDF), ("image/png", PNG)), ["INBOX"])
            mailbox.insert(mail(2, ("application/pdf", PDF), ("text/plain", b"inline")), ["INBOX"])
        yield emulator


@pytest.fixture
def contents(gmail: Emulator, tmp_path: Path) -> Contents:
    return Contents(gmail, tmp_path / "lake")


def test_contents_are_gmail_s_bytes_fetched_and_stored_once_for_the_price_that_plan_names(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    contents.prepare(address)
    plan = plan_mailbox(client_of(gmail, address).mailbox(address), contents.lake, contents.spec)
    gmail.usage.reset()
    result = contents.fetch(address)
    contents.check()
    truth = contents.truth(address)
    to_fetch = [key for key, (_, inline) in truth.items() if not inline]
    assert 5 <= len(to_fetch) < len(truth)
    assert gmail.usage.calls[GET] == len(to_fetch)
    assert gmail.usage.units[GET] == 20 * len(to_fetch) == plan.attachment_units
    assert plan.tables[CONTENTS].fetch == len(to_fetch)
    assert plan.units == plan.listing_units + plan.content_units + plan.attachment_units
    assert result.rows_written == result.rows_total == len({data for data, _ in truth.values()})
    result, calls = contents.run()
    assert (calls, result.rows_written, result.rows_deleted, result.complete) == (0, 0, 0, True)


def test_new_and_deleted_messages_change_only_what_they_have(gmail: Emulator, contents: Contents) -> None:
    address = gmail.addresses[0]
    mailbox = gmail.mailbox(address)
    contents.run()
    new = mailbox.insert(mail(3, ("application/pdf", PDF), ("image/gif", b"GIF89a")), ["INBOX"])
    result, calls = contents.run()
    assert (calls, result.rows_written) == (2, 1)
    contents.check()
    mailbox.delete(new)
    result, calls = contents.run()
    assert (calls, result.rows_deleted) == (0, 1)
    contents.check()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_commit_the_next_run_fetches_only_what_was_not_stored(
    gmail: Emulator, contents: Contents, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gmail_assets.views.contents._SLICE_ATTACHMENTS", 4)
    address = gmail.addresses[0]
    contents.run()
    gone = next(row["message_id"] for row in stored_rows(contents.lake, LINKS, address))
    gmail.mailbox(address).delete(gone)
    for number in range(3, 9):
        files = (("application/pdf", PDF), ("image/png", PNG + bytes([number])))
        gmail.mailbox(address).insert(mail(number, *files), ["INBOX"])
    contents.prepare(address)
    shutil.copytree(contents.lake.uri, tmp_path / "template")
    commit = PartitionWriter.commit
    kills = 0
    while True:
        shutil.rmtree(contents.lake.uri)
        shutil.copytree(tmp_path / "template", contents.lake.uri)
        left = kills

        def die(self: PartitionWriter, *arguments: Any) -> None:
            nonlocal left
            if left == 0 and moment == "before":
                raise KeyboardInterrupt
            commit(self, *arguments)
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        with mock.patch.object(PartitionWriter, "commit", die):
            try:
                contents.fetch(address)
            except KeyboardInterrupt:
                kills += 1
            else:
                break
        stored = contents.stored(address).keys()
        truth = contents.truth(address)
        before = gmail.usage.calls[GET]
        contents.fetch(address)
        not_stored = [key for key, (_, inline) in truth.items() if key not in stored and not inline]
        assert gmail.usage.calls[GET] - before == len(not_stored)
        contents.check()
    assert kills >= 7


@pytest.mark.slow
def test_a_run_out_of_time_is_continued(
    gmail: Emulator, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gmail_assets.views.contents._SLICE_ATTACHMENTS", 3)
    address = gmail.addresses[0]
    contents.prepare(address)
    before = gmail.usage.calls[GET]
    runs = 1
    while not contents.fetch(address, deadline=0.0).complete:
        runs += 1
    assert runs >= 3
    contents.check()
    assert gmail.usage.calls[GET] - before == sum(
        not inline for _, inline in contents.truth(address).values()
    )


def test_a_refused_attachment_is_noted_and_requested_again_with_a_new_id(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    contents.prepare(address)
    gmail.faults.add(Fault(GET, status=404, message="Not \x1b[31mfound", times=1))
    result = contents.fetch(address)
    assert result.unfetched == 1
    (failed,) = [row for row in stored_rows(contents.lake, LINKS, address) if row["status"] == "failed"]
    assert failed["sha256"] is None
    assert failed["error"]
    assert failed["error"].isprintable()
    plan = plan_mailbox(client_of(gmail, address).mailbox(address), contents.lake, contents.spec)
    gmail.usage.reset()
    result = contents.fetch(address)
    assert (result.unfetched, result.rows_written) == (0, 1) or result.rows_written == 0
    assert gmail.usage.calls[GET] == 1
    assert gmail.usage.calls["messages.get"] == 1
    assert gmail.usage.units[GET] + gmail.usage.units["messages.get"] == plan.attachment_units == 40
    contents.check()


def test_an_attachment_that_gmail_does_not_give_is_stored_once_messages_has_it(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    with mock.patch("gmail_assets.views.contents.attachment_sources", side_effect=without_ids):
        _, calls = contents.run()
    assert calls == 0
    absent = [row for row in stored_rows(contents.lake, LINKS, address) if row["status"] == "absent"]
    assert len(absent) == sum(not inline for _, inline in contents.truth(address).values())
    assert contents.run()[1] == 0
    contents.set(messages={"format": "raw"})
    result, calls = contents.run()
    assert calls == 0
    assert result.rows_written > 0
    assert {row["status"] for row in stored_rows(contents.lake, LINKS, address)} == {"stored"}
    assert {key: data for key, (data, _) in contents.truth(address).items()}.items() <= contents.stored(
        address
    ).items()


def without_ids(message: Row) -> list[AttachmentSource]:
    return [replace(source, attachment_id=None) for source in attachment_sources(message)]


@pytest.mark.parametrize(
    ("document", "size"), [({}, 5), ({"size": 0}, 5), ({"size": 4, "data": ""}, 5), ({"data": ""}, 5)]
)
def test_a_response_without_bytes_is_not_an_empty_attachment(document: Row, size: int) -> None:
    with pytest.raises(ResponseError, match="has 0 bytes, not the"):
        _bytes_of(document, None, size)
    assert _bytes_of(document if "size" not in document else {"size": 0}, None, 0) == b""
    assert _bytes_of({"data": "AAAA"}, None, size) == bytes(3)  # the message's size is not that of the bytes


@pytest.mark.slow
@pytest.mark.parametrize("patch", [{"size": 1}, {"data": "AAAA"}, {"data": None}, {"data": 5}])
def test_a_response_whose_bytes_differ_from_its_size_is_not_stored(
    gmail: Emulator, contents: Contents, patch: Row
) -> None:
    address = gmail.addresses[0]
    contents.prepare(address)
    gmail.faults.add(Fault(GET, kind="patch", patch=patch, times=1))
    assert contents.fetch(address).unfetched == 1
    assert [row["status"] for row in stored_rows(contents.lake, LINKS, address)].count("failed") == 1
    assert contents.fetch(address).unfetched == 0
    contents.check()


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


@pytest.mark.slow
def test_what_a_forgotten_mailbox_fetched_is_fetched_again_for_the_others(
    gmail: Emulator, contents: Contents
) -> None:
    ada, ben = gmail.addresses
    contents.run(ada)
    contents.run(ben)
    forget_mailbox(contents.lake, ada)
    assert stored_rows(contents.lake, CONTENTS, ada) == stored_rows(contents.lake, LINKS, ada) == []
    assert not list(Path(contents.lake.uri).glob(f"*/mailbox={ada.replace('@', '%40')}"))
    _, calls = contents.run(ben)
    assert calls == 3
    contents.check(ben)


def test_a_forgotten_message_takes_the_contents_that_it_alone_has(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    contents.run()
    message_id = next(
        row["message_id"]
        for row in stored_rows(contents.lake, "emails", address)
        if row["subject"] == "Mail 1"
    )
    result = forget_messages(contents.lake, address, [message_id])
    assert (result.rows[LINKS], result.rows[CONTENTS]) == (2, 1)
    held = [row["content"] for row in stored_rows(contents.lake, CONTENTS)]
    assert PDF in held
    assert PNG not in held
    assert message_id not in {row["message_id"] for row in stored_rows(contents.lake, LINKS)}


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_contents_that_were_stored_for_another_mailbox_are_erased_with_their_last_link(
    gmail: Emulator, contents: Contents, whole: bool
) -> None:
    ada, ben = gmail.addresses
    contents.run(ada)
    contents.run(ben)
    for row in stored_rows(contents.lake, "emails", ada):
        if row["subject"] in ("Mail 1", "Mail 2"):
            gmail.mailbox(ada).delete(row["message_id"])
    contents.run(ada)
    assert PNG in {row["content"] for row in stored_rows(contents.lake, CONTENTS, ada)}
    (message_id,) = [
        row["message_id"] for row in stored_rows(contents.lake, "emails", ben) if row["subject"] == "Mail 1"
    ]
    if whole:
        forget_mailbox(contents.lake, ben)
    else:
        forget_messages(contents.lake, ben, [message_id])
    held = {row["content"] for row in stored_rows(contents.lake, CONTENTS)}
    assert PNG not in held
    assert (PDF in held) == (not whole)
    assert stored_rows(contents.lake, CONTENTS, ada)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_query_of_the_docs_gives_the_bytes(
    gmail: Emulator, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    contents.run()
    code = PAGE.read_text("utf-8").partition("## The bytes of attachments")[2].partition("```python\n")[2]
    monkeypatch.chdir(Path(contents.lake.uri).parent)
    found = evaluate(code.partition("```")[0], {}).fetchall()
    assert {("1-0.pdf", PDF), ("1-1.png", PNG), ("2-0.pdf", PDF)} <= set(found)


@pytest.mark.slow
def test_verify_finds_missing_contents_and_changed_bytes(gmail: Emulator, contents: Contents) -> None:
    address = gmail.addresses[0]
    mailbox = client_of(gmail, address).mailbox(address)

    def verdict() -> ViewVerdict:
        found = verify_mailbox(mailbox, contents.lake, contents.spec, sample=60)
        return found.views[CONTENTS]

    contents.prepare(address)
    pending = verdict()
    assert (pending.rows, pending.outdated) == (0, len(contents.truth(address)))
    contents.fetch(address)
    good = verdict()
    assert good.rows == good.sampled == len(stored_rows(contents.lake, CONTENTS))
    assert (good.outdated, good.differing, good.examples) == (0, 0, [])
    delta = contents.lake.find(CONTENTS)
    assert delta is not None
    pdf = hashlib.sha256(PDF).hexdigest()
    delta.update({"content": "X'00'"}, predicate=f"sha256 = '{pdf}'")
    changed = verdict()
    assert (changed.outdated, changed.differing) == (0, 1)
    assert len(changed.examples) == 2
    delta = contents.lake.find(CONTENTS)
    assert delta is not None
    delta.delete(f"sha256 = '{pdf}'")
    assert verdict().outdated == 2
    contents.fetch(address)
    contents.check()


def test_a_run_writes_earlier_when_the_runs_of_the_process_hold_too_many_bytes(
    gmail: Emulator, contents: Contents
) -> None:
    address = gmail.addresses[0]
    for number in range(4):
        data = bytes([number]) * 400_000
        gmail.mailbox(address).insert(mail(10 + number, ("application/pdf", data)), ["INBOX"])
    contents.prepare(address)
    budget = ByteBudget(limit=300_000)
    contents.fetch(address, memory=budget)
    contents.check()
    assert not budget.is_exceeded
    table = contents.lake.find(CONTENTS)
    assert table is not None
    assert len([one for one in table.history() if one["operation"] == "WRITE"]) >= 4
