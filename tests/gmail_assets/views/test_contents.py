"""The contents of attachments equal Gmail's bytes, are fetched once, and follow their messages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.chaos import client_of
from support.contents import GET, PDF, PNG, Contents, mail
from support.lake import stored_rows
from support.queries import PAGE, evaluate

from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.syncing.memory import ByteBudget
from gmail_assets.views.contents import _bytes_of
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ResponseError
from gmail_client.views import CONTENTS, LINKS, attachment_sources
from gmail_client.views.attachments import AttachmentSource

Row = dict[str, Any]


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
