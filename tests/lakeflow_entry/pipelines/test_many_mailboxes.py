"""A pipeline over many mailboxes, with a service account's key as text and the mailboxes of the directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from support.lakeflow import UNMETERED, comparable

from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.schema import json_row
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connection import Connection
from lakeflow_entry.mailbox_list import Mailboxes, mailbox_list
from lakeflow_entry.pipelines.delta_sink import DeltaSink
from lakeflow_entry.pipelines.ingest import ingest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = ("messages", "threads", "labels", "profile")


def options(gmail: Emulator, folder: Path) -> dict[str, str]:
    """The options of a connection with a service account."""
    key = gmail.service_account_file(folder / "key.json").read_text()
    return {
        "service_account_json": key,
        "user_id": gmail.addresses[0],
        "api_root": gmail.url,
        "oauth_root": gmail.url,
        "quota": UNMETERED,
    }


def stored(lake: Path, table: str) -> dict[Any, Any]:
    key = CATALOGUE[table].primary_key[0]
    rows = DeltaTable(str(lake / table)).to_pyarrow_table().to_pylist()
    assert len({(row["mailbox"], row[key]) for row in rows}) == len(rows)
    return {(row["mailbox"], row[key]): comparable(row) for row in rows}


def truth(gmail: Emulator, table: str) -> dict[Any, Any]:
    key = CATALOGUE[table].primary_key[0]
    return {
        (address, row[key]): comparable({"mailbox": address, **json_row(table, row)})
        for address in gmail.addresses
        for row in gmail.truth(table, address)
    }


@pytest.mark.slow
def test_a_pipeline_over_the_directory_follows_all_mailboxes(
    spark: SparkSession, connections_file: Path, tmp_path: Path
) -> None:
    with Emulator(mailboxes=3, messages=15, seed=8, mean_json_kb=2.0) as gmail:
        known = {"work": {**options(gmail, tmp_path), "directory_admin": gmail.addresses[0]}}
        connections_file.write_text(json.dumps(known))
        objects = [{"table": {"source_table": name}} for name in TABLES]
        spec = {"connection_name": "work", "mailboxes": "all", "objects": objects}
        lake = tmp_path / "lake"
        ingest(spark, spec, lake=str(lake))
        for table in TABLES:
            assert stored(lake, table) == truth(gmail, table), table
        away = gmail.addresses[2]
        gmail.change_user(away, suspended=True)
        for address in gmail.addresses[:2]:
            mailbox = gmail.mailbox(address)
            mailbox.delete_thread(mailbox.thread_ids()[1])
            mailbox.modify(mailbox.message_ids()[3], add=["STARRED"])
            mailbox.insert(mailbox.random_mail(), ("INBOX",))
        before = truth(gmail, "messages")
        ingest(spark, spec, lake=str(lake))
        assert stored(lake, "messages") == before
        gmail.change_user(away, suspended=False)
        gmail.expire_history(gmail.addresses[1])
        late = gmail.mailbox(gmail.addresses[1])
        late.delete(late.message_ids()[0])
        late.expire_history()
        gmail.mailbox(away).insert(gmail.mailbox(away).random_mail(), ("INBOX",))
        ingest(spark, spec, lake=str(lake))
        for table in ("messages", "threads"):
            assert stored(lake, table) == truth(gmail, table), table
        connections_file.write_text("{}")


def test_the_directory_names_the_mailboxes(tmp_path: Path) -> None:
    with Emulator(mailboxes=3, messages=1, seed=8) as gmail:
        connection = Connection.of(options(gmail, tmp_path))
        gmail.change_user(gmail.addresses[2], suspended=True)
        everybody = mailbox_list("all")
        assert set(everybody.names(connection)) == set(gmail.addresses[:2])
        running = Mailboxes(mailbox_list(f"{gmail.addresses[2]},all"), connection, connection.client())
        assert set(running.names()) == set(gmail.addresses)
        assert running.owner == gmail.addresses[0]
        nobody = Connection.of({**options(gmail, tmp_path), "user_id": "me"})
        with pytest.raises(ConfigurationError, match="mailboxes is set without directory_admin") as caught:
            everybody.names(nobody)
        assert "GMAIL_" not in str(caught.value)
        group = f"away@{gmail.addresses[0].partition('@')[2]}"
        gmail.set_group(group, gmail.addresses[2:])
        with pytest.raises(ConfigurationError, match="names no mailbox that can be read: 1 users"):
            mailbox_list(f"group:{group}").names(connection)


def test_a_spec_names_its_mailboxes() -> None:
    objects = [{"table": {"source_table": "labels"}}]
    for given in (["a@b.test", "all"], "a@b.test, all", '["a@b.test", "all"]'):
        assert Spec.parse({"mailboxes": given, "objects": objects}).mailboxes == ("a@b.test", "all")
    with pytest.raises(ConfigurationError, match="mailboxes is 5, not a list of addresses"):
        Spec.parse({"mailboxes": 5, "objects": objects})
    with pytest.raises(OptionError):
        mailbox_list("nobody")


def test_derived_tables_are_refused_with_many_mailboxes(tmp_path: Path) -> None:
    objects = [{"table": {"source_table": name}} for name in ("messages", "emails")]
    spec = {"connection_name": "c", "mailboxes": ["a@b.test"], "objects": objects}
    with pytest.raises(ConfigurationError, match="derived from the messages of one mailbox"):
        ingest(None, spec, lake=str(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("scd", ["SCD_TYPE_1", "SCD_TYPE_2"])
def test_a_snapshot_without_a_mailbox_keeps_its_rows(tmp_path: Path, scd: Any) -> None:
    schema = pa.schema([("mailbox", pa.string()), ("id", pa.string())])
    sink = DeltaSink(str(tmp_path / "t"), schema, ("mailbox", "id"), None, scd)

    def rows(*pairs: tuple[str, str]) -> pa.Table:
        return pa.Table.from_pylist(
            [dict(zip(schema.names, pair, strict=True)) for pair in pairs], schema=schema
        )

    sink.replace(rows(("a", "1"), ("b", "1")), mailboxes=["a", "b"])
    sink.replace(rows(("a", "2")), mailboxes=["a"])
    assert sink.present().keys() == {("a", "2"), ("b", "1")}
