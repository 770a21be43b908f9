"""Fields that Gmail adds, in the lake: in both tables, through label changes, growth and deletes of threads."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.lake import stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing.run import snapshot, sync
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import Emulator, Fault
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable
from gmail_client.unknown_fields import COLUMN, split

FIXTURES = Path(__file__).parents[2] / "fixtures"
MESSAGES = SpecTable.parse({"source_table": "messages"})
THREADS = SpecTable.parse({"source_table": "threads"})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def mailbox(gmail: Emulator) -> Mailbox:
    return GmailClient.from_settings().mailbox(gmail.addresses[0])


def unknown(lake: Lake, table: str) -> dict[str, Any]:
    return {row["id"]: json.loads(row[COLUMN]) for row in stored_rows(lake, table) if row[COLUMN]}


def of_messages(lake: Lake) -> dict[str, Any]:
    """The unknown fields of the messages in `threads`, by message id."""
    texts = [row[COLUMN] for row in stored_rows(lake, "threads")]
    return {key: json.loads(text) for part in map(split, texts) for key, text in part.items() if key}


def add_fields(gmail: Emulator, value: object) -> None:
    gmail.faults.clear()
    added = {"Message": {"mood": value}, "MessagePartHeader": {"language": value}, "Thread": {"topic": value}}
    for method in ("messages.get", "threads.get"):
        gmail.faults.add(Fault(method, kind="add-fields", patch=added))


def headers(row: dict[str, Any]) -> int:
    def count(part: dict[str, Any]) -> int:
        return len(part.get("headers") or ()) + sum(count(child) for child in part.get("parts") or ())

    return count(row["payload"])


def test_both_tables_keep_them(environment: Emulator, lake: Lake) -> None:
    gmail = environment
    add_fields(gmail, {"a": [1]})
    sync(mailbox(gmail), lake, [MESSAGES, THREADS])
    found = unknown(lake, "messages")
    true = {row["id"]: row for row in gmail.truth("messages")}
    assert found.keys() == true.keys()
    for message_id, fields in found.items():
        assert fields.pop("/mood") == {"a": [1]}
        assert len(fields) == headers(true[message_id])
        assert set(map(str, fields.values())) <= {"{'a': [1]}"}
    assert of_messages(lake) == unknown(lake, "messages")


@pytest.mark.parametrize(("first", "second"), [(MESSAGES, THREADS), (THREADS, MESSAGES)])
def test_a_table_takes_them_from_the_other(
    environment: Emulator, lake: Lake, first: SpecTable, second: SpecTable
) -> None:
    gmail = environment
    add_fields(gmail, 5)
    sync(mailbox(gmail), lake, [first])
    sync(mailbox(gmail), lake, [second])
    assert gmail.usage.fetched_twice == {}
    assert of_messages(lake) == unknown(lake, "messages")
    assert len(of_messages(lake)) == len(gmail.truth("messages"))


def test_they_follow_the_messages_of_a_thread(environment: Emulator, lake: Lake) -> None:
    gmail = environment
    box = gmail.mailbox()
    add_fields(gmail, "old")
    sync(mailbox(gmail), lake, [MESSAGES, THREADS])
    thread = max(gmail.truth("threads"), key=lambda row: len(row["messages"]))
    first, *_, last = [message["id"] for message in thread["messages"]]
    gmail.faults.clear()
    box.modify(first, add=["STARRED"])
    box.delete(last)
    sync(mailbox(gmail), lake, [MESSAGES, THREADS])
    assert of_messages(lake) == unknown(lake, "messages")
    assert last not in of_messages(lake)
    assert of_messages(lake)[first]["/mood"] == "old"


def test_snapshots_keep_them(environment: Emulator, lake: Lake) -> None:
    gmail = environment
    gmail.faults.add(
        Fault(kind="add-fields", patch={"LabelColor": {"dark": "#000000"}, "ImapSettings": {"x": 1}})
    )
    for name in ("labels", "settings"):
        snapshot(mailbox(gmail), lake, SpecTable.parse({"source_table": name}))
    colored = [row for row in stored_rows(lake, "labels") if row["color"]]
    assert colored
    assert {row[COLUMN] for row in colored} == {'{"/color/dark":"#000000"}'}
    (settings,) = stored_rows(lake, "settings")
    assert settings[COLUMN] == '{"/imap/x":1}'
    assert "x" not in settings["imap"]


@pytest.mark.parametrize("version", ["v1", "v2", "v2_search"])
def test_a_lake_of_an_earlier_version_gets_the_column(tmp_path: Path, version: str) -> None:
    with tarfile.open(FIXTURES / f"lake_state_{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    lake = Lake(str(tmp_path / "lake"))
    for name in ("messages", "threads"):
        before = lake.find(name)
        if before is None:
            continue
        rows = {row["id"]: row for row in before.to_pyarrow_table().to_pylist()}
        assert COLUMN not in before.schema().to_json()
        table = lake.table(name)
        assert table.schema.field(COLUMN).type == "string"
        assert {row["id"]: row for row in table.delta.to_pyarrow_table().to_pylist()} == {
            key: {**row, COLUMN: None} for key, row in rows.items()
        }
        address = table.mailboxes()[0] if table.mailboxes() else "a@b.test"
        part = MailboxPartition(table, address, "all", "full")
        new = pa.Table.from_pylist([{"id": "new", COLUMN: '{"/x":1}'}], schema=SCHEMAS[name])
        part.append(new)
        part.merge(new.set_column(new.schema.get_field_index(COLUMN), COLUMN, pa.array(['{"/x":2}'])))
        assert unknown(lake, name) == {"new": {"/x": 2}}
