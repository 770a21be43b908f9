"""The interface that Lakeflow's framework relies on; the tests of the streams cover the rest."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType
from support.lakeflow import comparable, connector_of, drained, options_of

from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ConfigurationError, OptionError, RequestError, UnknownTableError
from gmail_client.schema import SCHEMAS, json_row, without_unknown_fields
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connector import GmailLakeflowConnect

NOWHERE = {"access_token": "x", "api_root": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=40, seed=6) as emulator:
        yield emulator


def test_a_namespace_is_refused_apart_from_the_root() -> None:
    connector = GmailLakeflowConnect(NOWHERE)
    for root in ("[]", '["default"]', "default"):  # the framework's command line sets the schema `default`
        assert connector.read_table_metadata("labels", {"namespace": root})["primary_keys"] == ["id"]
    with pytest.raises(OptionError, match="no namespaces"):
        connector.read_table_metadata("labels", {"namespace": '["work"]'})


def test_schemas_and_metadata_need_no_network() -> None:
    connector = GmailLakeflowConnect(NOWHERE)
    assert connector.list_tables() == list(CATALOGUE)
    for name, entry in CATALOGUE.items():
        schema = connector.get_table_schema(name, {})
        assert isinstance(schema, StructType)
        assert to_arrow_schema(schema, timezone="UTC").equals(without_unknown_fields(SCHEMAS[name]))
        whole = connector.get_table_schema(name, {"keepUnknownFields": "true"})
        assert to_arrow_schema(whole, timezone="UTC").equals(SCHEMAS[name])
        assert all(field.metadata["comment"] for field in schema)
        metadata = connector.read_table_metadata(name, {})
        assert metadata["primary_keys"] == list(entry.primary_key)
        assert metadata["ingestion_type"] == entry.ingestion_type
        assert metadata.get("cursor_field") == entry.cursor


def test_an_unknown_table_names_the_ten_at_every_call() -> None:
    connector = GmailLakeflowConnect(NOWHERE)
    for call in (
        lambda: connector.get_table_schema("mail", {}),
        lambda: connector.read_table_metadata("mail", {}),
        lambda: connector.read_table("mail", {}, {}),
        lambda: connector.read_table_deletes("mail", {}, {}),
    ):
        with pytest.raises(UnknownTableError, match="forwarding_addresses"):
            call()


@pytest.mark.parametrize("table", CATALOGUE)
def test_records_are_json_with_none_for_what_is_absent(gmail: Emulator, table: str) -> None:
    records, offset = connector_of(gmail).read_table(table, None, {})
    rows = list(records)
    json.dumps([rows, offset])
    assert all(set(row) == set(SCHEMAS[table].names) for row in rows)
    assert not any(empty_object_in(row) for row in rows)
    if table != "delegates":
        key = CATALOGUE[table].primary_key[0]
        truth = {row[key]: comparable(json_row(table, row)) for row in gmail.truth(table)}
        assert {row[key]: comparable(row) for row in rows} == truth


def test_a_record_is_plain_json_whatever_gmail_sends() -> None:
    resource = {"id": "1", "snippet": "cut \ud83d", "payload": {"headers": [{}], "body": {}}, "labelIds": []}
    row = json_row("messages", resource)
    json.dumps(row, ensure_ascii=False).encode()
    assert row["payload"] == {"headers": [None], "body": None}
    assert row["labelIds"] == []
    assert row["raw"] is None


def empty_object_in(value: Any) -> bool:
    if isinstance(value, dict):
        return not value or any(empty_object_in(item) for item in value.values())
    return isinstance(value, list) and any(empty_object_in(item) for item in value)


def test_options_are_case_insensitive_and_checked(gmail: Emulator) -> None:
    connector = connector_of(gmail)
    framework = {"tablename": "messages", "isdeleteflow": "false", "databricks.connection": "c"}
    given = {"LABELIDS": "INBOX", "maxresults": "3", **framework, **options_of(gmail)}
    rows = list(connector.read_table("messages", None, given)[0])
    assert rows
    assert all("INBOX" in row["labelIds"] for row in rows)
    for options, message in (
        ({"maxResults": "0"}, "maxResults"),
        ({"format": "pretty"}, "format"),
        ({"max_records_per_batch": "many"}, "max_records_per_batch"),
        ({"labelId": "INBOX"}, "Did you mean 'labelIds'"),
        ({"colour": "red"}, "colour"),
    ):
        with pytest.raises(OptionError, match=message):
            connector.read_table("messages", {}, options)


def test_unknown_options_of_a_connection_are_ignored(gmail: Emulator) -> None:
    options = {**options_of(gmail), "community_oauth_flow": "u2m", "host": "https://gmail.googleapis.com"}
    rows, _ = GmailLakeflowConnect(options).read_table("labels", None, {**options, "tableName": "labels"})
    assert list(rows)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"client_id": "a", "client_secret": "b"}, "refresh_token"),
        ({"client_id": "a", "refresh_token": "b"}, "client_secret"),
        ({"refresh_token": "b"}, "client_id"),
    ],
)
def test_incomplete_credentials_are_refused_and_name_the_missing_part(
    options: dict[str, str], missing: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GmailLakeflowConnect(options).read_table("labels", None, {})
    assert missing in str(caught.value)


def test_an_access_token_is_enough_and_a_refresh_token_takes_precedence(gmail: Emulator) -> None:
    options = options_of(gmail)
    alone = {"access_token": gmail.access_token(), "api_root": gmail.url, "oauth_root": gmail.url}
    assert list(GmailLakeflowConnect(alone).read_table("profile", None, {})[0])
    both = {**options, "access_token": "stale"}
    assert list(GmailLakeflowConnect(both).read_table("profile", None, {})[0])


def test_it_pickles_and_shows_no_secret(gmail: Emulator) -> None:
    options = options_of(gmail)
    connector = GmailLakeflowConnect(options)
    list(connector.read_table("messages", {}, {"maxResults": "5"})[0])
    copy = pickle.loads(pickle.dumps(connector))
    assert len(list(copy.read_table("labels", None, {})[0])) == len(gmail.truth("labels"))
    for secret in (options["client_secret"], options["refresh_token"]):
        assert secret not in repr(connector)


def test_a_foreign_offset_is_refused(gmail: Emulator) -> None:
    for offset in ({"cursor": "x"}, {"historyId": "soon"}, {"historyId": "1", "place": "a"}):
        with pytest.raises(ConfigurationError, match="not written by this connector"):
            connector_of(gmail).read_table("messages", offset, {})


def test_a_filter_that_matches_nothing_is_reported(gmail: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    for start in (None, {}):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert not list(connector_of(gmail).read_table("messages", start, {"q": "subject:zzzqqq"})[0])
        assert "subject:zzzqqq" in caplog.text


def test_reads_are_lazy_and_a_closed_read_sends_no_more_requests(gmail: Emulator) -> None:
    gmail.usage.reset()
    connector = connector_of(gmail)
    assert gmail.usage.total_calls == 0
    connector.read_table("drafts", None, {})
    assert gmail.usage.total_calls == 0


def test_a_failing_batch_endpoint_is_abandoned_at_once(gmail: Emulator) -> None:
    gmail.faults.add(Fault("batch", status=503))
    try:
        rows = list(connector_of(gmail).read_table("messages", {}, {})[0])
    finally:
        gmail.faults.clear()
    assert len(rows) == len(gmail.truth("messages"))


def test_an_unavailable_message_fails_the_batch_and_nothing_is_lost(gmail: Emulator) -> None:
    offset = drained(connector_of(gmail), "messages")
    mailbox = gmail.mailbox()
    arrived = mailbox.insert(mailbox.random_mail(), ("INBOX",))
    gmail.faults.add(Fault("messages.get", status=400, times=1))
    with pytest.raises(Exception, match="400"):
        list(connector_of(gmail).read_table("messages", offset, {})[0])
    assert [row["id"] for row in connector_of(gmail).read_table("messages", offset, {})[0]] == [arrived]


@pytest.mark.parametrize(
    ("table", "method"),
    [("messages", "messages.get"), ("threads", "messages.get"), ("threads", "threads.get")],
)
def test_a_permanently_refused_message_can_be_skipped(
    gmail: Emulator, table: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"skip_refused": "true"}
    offset = drained(connector_of(gmail), table, **options)
    mailbox = gmail.mailbox()
    arrived = {mailbox.insert(mailbox.random_mail(), ("INBOX",)) for _ in range(3)}
    if method == "threads.get":
        for one in arrived:
            mailbox.receive(mailbox.random_mail(reply_to=one))
    gmail.faults.add(Fault(method, status=400, nth=2))
    try:
        connector = connector_of(gmail)
        records, end = connector.read_table(table, offset, options)
        delivered = {row["id"] for row in records}
    finally:
        gmail.faults.clear()
    assert len(delivered) == 2
    (refused,) = arrived - delivered
    assert f"skipped the message {refused}" in caplog.text
    records, end = connector.read_table(table, end, options)
    assert list(records) == []
    assert connector.read_table(table, end, options)[1] == end
    mailbox.modify(refused, ["STARRED"], [])
    assert [row["id"] for row in connector_of(gmail).read_table(table, end, options)[0]] == [refused]


def test_refused_labels_delete_nothing(gmail: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    options = {"skip_refused": "true", "excludeLabels": "STARRED"}
    mailbox = gmail.mailbox()
    moved, left = (mailbox.insert(mailbox.random_mail(), ("INBOX",)) for _ in range(2))
    _, begun = connector_of(gmail).read_table_deletes("messages", {}, options)
    _, offset = connector_of(gmail).read_table_deletes("messages", begun, options)
    mailbox.modify(moved, [], ["INBOX"])  # no label is left, so the record names no set of labels
    mailbox.delete(left)
    gmail.faults.add(Fault("messages.get", status=400))
    gmail.faults.add(Fault("threads.get", status=400))
    try:
        records, _ = connector_of(gmail).read_table_deletes("messages", offset, options)
        assert [row["id"] for row in records] == [left]
        assert f"the labels of {moved} are refused" in caplog.text
        with pytest.raises(RequestError):
            connector_of(gmail).read_table_deletes("messages", offset, {"excludeLabels": "STARRED"})
    finally:
        gmail.faults.clear()


def test_a_refused_thread_is_not_deleted(gmail: Emulator) -> None:
    options = {"skip_refused": "true", "labelIds": "INBOX", "startDate": "2001-01-01"}
    mailbox = gmail.mailbox()
    moved = mailbox.insert(mailbox.random_mail(), ("INBOX",))
    _, begun = connector_of(gmail).read_table_deletes("threads", {}, options)
    _, offset = connector_of(gmail).read_table_deletes("threads", begun, options)
    mailbox.modify(moved, [], ["INBOX"])
    for method in ("messages.get", "threads.get"):
        gmail.faults.add(Fault(method, status=400))
    try:
        assert list(connector_of(gmail).read_table_deletes("threads", offset, options)[0]) == []
    finally:
        gmail.faults.clear()
    assert [row["id"] for row in connector_of(gmail).read_table_deletes("threads", offset, options)[0]] == [
        moved
    ]


def test_a_snapshot_is_streamed_completely_once_per_run(gmail: Emulator) -> None:
    connector = connector_of(gmail)
    records, offset = connector.read_table("labels", {}, {})
    assert len(list(records)) == len(gmail.truth("labels"))
    records, end = connector.read_table("labels", offset, {})
    assert (list(records), end) == ([], offset)
    assert list(connector_of(gmail).read_table("labels", offset, {})[0])
    with pytest.raises(ConfigurationError, match="no deletes"):
        connector.read_table_deletes("labels", {}, {})
