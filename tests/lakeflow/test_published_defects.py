"""Defects of the published connector, each as a test that fails with its behavior.

The numbers come from measurements of the published connector.
"""

from __future__ import annotations

import base64
import itertools
import logging
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from support.lakeflow import Pipeline, connector_of, options_of

from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import CredentialsError, DailyLimitError, HistoryExpiredError
from lakeflow_entry.connector import GmailLakeflowConnect


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=60, seed=4) as emulator:
        yield emulator


@pytest.fixture
def start_mailbox() -> Iterator[Callable[[int], Emulator]]:
    started: list[Emulator] = []

    def start(messages: int) -> Emulator:
        emulator = Emulator(messages=messages, seed=4, mean_json_kb=2.0)
        emulator.start()
        started.append(emulator)
        return emulator

    yield start
    for emulator in started:
        emulator.stop()


def loaded(gmail: Emulator, table: str = "messages", **options: str) -> Pipeline:
    pipeline = Pipeline(gmail, table, **options)
    pipeline.run()
    return pipeline


def arrive(gmail: Emulator, count: int) -> list[str]:
    mailbox = gmail.mailbox()
    return [mailbox.insert(mailbox.random_mail(), ("INBOX",)) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 25])
def test_a_batch_of_several_new_messages_delivers_all_of_them(gmail: Emulator, count: int) -> None:
    pipeline = loaded(gmail)
    arrived = arrive(gmail, count)
    pipeline.run()
    assert set(arrived) <= pipeline.rows.keys()
    pipeline.assert_true()


def test_label_changes_reach_the_rows(gmail: Emulator) -> None:
    pipeline = loaded(gmail)
    changed = [row["id"] for row in gmail.truth("messages", label_ids=["INBOX"])][:10]
    for message_id in changed:
        gmail.mailbox().modify(message_id, add=["STARRED"], remove=["UNREAD"])
    pipeline.batches.clear()
    pipeline.run()
    assert sum(pipeline.batches) == 10
    assert all("STARRED" in pipeline.rows[message_id]["labelIds"] for message_id in changed)
    pipeline.assert_true()


def test_a_refused_listing_page_loses_nothing(gmail: Emulator) -> None:
    gmail.faults.add(Fault("messages.list", status=403, reason="rateLimitExceeded", nth=3))
    records, _ = connector_of(gmail).read_table("messages", None, {"maxResults": "10"})
    assert {row["id"] for row in records} == {row["id"] for row in gmail.truth("messages")}
    assert gmail.usage.errors["messages.list"][403] == 1


def test_a_permanently_refused_listing_raises(gmail: Emulator) -> None:
    gmail.faults.add(Fault("messages.list", status=403, reason="dailyLimitExceeded"))
    with pytest.raises(DailyLimitError):
        list(connector_of(gmail).read_table("messages", {}, {"maxResults": "10"})[0])


def thread_with(gmail: Emulator, members: int) -> dict[str, Any]:
    return next(row for row in gmail.truth("threads") if len(row["messages"]) >= members)


def test_a_thread_survives_the_deletion_of_one_message(gmail: Emulator) -> None:
    pipeline = loaded(gmail, "threads")
    thread = thread_with(gmail, 3)
    first, *others = [message["id"] for message in thread["messages"]]
    gmail.mailbox().delete(first)
    pipeline.run()
    assert pipeline.deleted == []
    assert [message["id"] for message in pipeline.rows[thread["id"]]["messages"]] == others
    for message_id in others:
        gmail.mailbox().delete(message_id)
    pipeline.run()
    assert pipeline.deleted == [thread["id"]]
    pipeline.assert_true()


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_the_delete_flow_starts_and_delivers(gmail: Emulator, table: str) -> None:
    connector = connector_of(gmail)
    rows, offset = connector.read_table_deletes(table, {}, {})
    assert list(rows) == []
    assert offset["historyId"].isdigit()
    pipeline = loaded(gmail, table)
    victims = [row["id"] for row in gmail.truth(table)][:5]
    for key in victims:
        if table == "messages":
            gmail.mailbox().delete(key)
        else:
            gmail.mailbox().delete_thread(key)
    pipeline.run()
    assert set(pipeline.deleted) == set(victims)
    pipeline.assert_true()


def test_deletes_between_the_first_calls_of_both_flows_are_delivered(gmail: Emulator) -> None:
    pipeline = Pipeline(gmail, "messages")
    pipeline.drain(connector_of(gmail), "upserts")
    victim = gmail.truth("messages")[0]["id"]
    gmail.mailbox().delete(victim)
    pipeline.drain(connector_of(gmail), "deletes")
    assert victim in pipeline.deleted
    pipeline.assert_true()


def test_delete_records_have_only_key_and_cursor(gmail: Emulator) -> None:
    for table, kept in (("messages", {"id", "threadId", "historyId", "historySequence"}), ("threads", None)):
        kept = kept or {"id", "historyId", "historySequence"}
        connector = connector_of(gmail)
        _, offset = connector.read_table_deletes(table, {}, {})
        victim = gmail.truth("threads")[-1]
        gmail.mailbox().delete_thread(victim["id"])
        rows = list(connector_of(gmail).read_table_deletes(table, offset, {})[0])
        assert rows
        for row in rows:
            assert {name for name, value in row.items() if value is not None} == kept
            assert row["historySequence"] == int(row["historyId"]) > int(offset["historyId"])


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_an_expired_history_loses_nothing_and_is_reported(
    gmail: Emulator, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = loaded(gmail, table)
    arrive(gmail, 3)
    pipeline.run()
    arrived = arrive(gmail, 3)
    victims = [row["id"] for row in gmail.truth("threads")][5:13]
    for thread_id in victims:
        gmail.mailbox().delete_thread(thread_id)
    gmail.mailbox().modify(gmail.truth("messages")[5]["id"], add=["STARRED"])
    gmail.expire_history()
    with caplog.at_level(logging.WARNING):
        pipeline.run()
    assert "reads everything again" in caplog.text
    assert "are deleted" in caplog.text
    if table == "messages":
        assert set(arrived) <= pipeline.rows.keys()
    else:
        assert set(victims) <= set(pipeline.deleted)
    pipeline.assert_true()
    gmail.mailbox().delete_thread(gmail.mailbox().thread_ids()[0])
    pipeline.run()
    pipeline.assert_true()


def test_a_table_too_large_for_its_delete_flow_asks_for_a_full_refresh(
    gmail: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakeflow_entry.stream.packed_ids.MOST_CHARACTERS", 50)
    pipeline = loaded(gmail)
    assert "more row ids than the offset of the delete flow can store" in caplog.text
    gmail.mailbox().delete(gmail.mailbox().message_ids()[0])
    pipeline.run()
    pipeline.assert_true()
    gmail.mailbox().delete(gmail.mailbox().message_ids()[0])
    gmail.expire_history()
    for _ in range(2):
        with pytest.raises(HistoryExpiredError, match="full refresh"):
            pipeline.run()
    refreshed = loaded(gmail)
    refreshed.assert_true()


def test_two_thousand_changes_with_a_cap_of_one_hundred(
    start_mailbox: Callable[[int], Emulator],
) -> None:
    gmail = start_mailbox(2_100)
    pipeline = loaded(gmail, format="minimal", includeSpamTrash="true")
    every = gmail.mailbox().message_ids()
    ids = [message_id for message_id in every if "STARRED" not in gmail.mailbox().label_ids(message_id)]
    del ids[2_000:]
    for message_id in ids[:500]:
        gmail.mailbox().modify(message_id, add=["STARRED"])
    gmail.mailbox().batch_modify(ids[500:1_500], add=["STARRED"])
    gmail.mailbox().batch_modify(ids[1_500:], add=["STARRED"])
    pipeline.options = {"format": "minimal", "max_records_per_batch": "100", "includeSpamTrash": "true"}
    pipeline.batches.clear()
    pipeline.run()
    assert max(pipeline.batches) <= 100
    assert sum(pipeline.batches) == 2_000
    assert all("STARRED" in pipeline.rows[message_id]["labelIds"] for message_id in ids)


def test_bodies_of_a_nested_multipart_are_kept(gmail: Emulator) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@gmail.test", gmail.addresses[0], "nested"
    mail.set_content("plain body")
    mail.add_alternative("<p>html body</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    message_id = gmail.mailbox().insert(mail.as_bytes(), ("INBOX",))
    records, _ = connector_of(gmail).read_table("messages", None, {})
    row = next(row for row in records if row["id"] == message_id)
    alternative = row["payload"]["parts"][0]
    assert alternative["mimeType"] == "multipart/alternative"
    bodies = [base64.urlsafe_b64decode(part["body"]["data"]).decode() for part in alternative["parts"]]
    assert bodies[0].strip() == "plain body"
    assert bodies[1].strip() == "<p>html body</p>"


def test_a_label_filter_applies_to_the_stream(gmail: Emulator) -> None:
    pipeline = loaded(gmail, labelIds="INBOX")
    mailbox = gmail.mailbox()
    inside = [mailbox.insert(mailbox.random_mail(), ("INBOX",)) for _ in range(10)]
    for _ in range(30):
        mailbox.insert(mailbox.random_mail(), ())
    pipeline.batches.clear()
    pipeline.run()
    assert sum(pipeline.batches) == 10
    assert set(inside) <= pipeline.rows.keys()
    archived = inside[:4]
    for message_id in archived:
        mailbox.modify(message_id, remove=["INBOX"])
    mailbox.trash(inside[4])
    pipeline.run()
    assert sorted(pipeline.deleted) == sorted(inside[:5])
    pipeline.assert_true()


def test_the_first_row_costs_only_its_page(start_mailbox: Callable[[int], Emulator]) -> None:
    gmail = start_mailbox(800)
    records, _ = connector_of(gmail).read_table("messages", None, {"maxResults": "100"})
    next(iter(records))
    assert gmail.usage.total_calls <= 1 + 100 + 3
    records.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("start", [None, {}])
def test_a_token_revoked_midway_keeps_the_delivered_rows(
    start_mailbox: Callable[[int], Emulator], start: dict[str, Any] | None
) -> None:
    gmail = start_mailbox(300)
    options = options_of(gmail)
    for name in ("client_id", "client_secret", "refresh_token"):
        del options[name]
    options["access_token"] = gmail.access_token()
    records, _ = GmailLakeflowConnect(options).read_table("messages", start, {"format": "metadata"})
    came = list(itertools.islice(records, 100))
    gmail.revoke_tokens()
    with pytest.raises(CredentialsError, match="was revoked"):
        came.extend(records)
    assert len(came) >= 100
