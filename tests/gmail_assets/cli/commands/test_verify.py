"""`gmail-assets verify` finds what differs, and explains what can be explained."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from gmail_client.emulator import Emulator
from gmail_client.views import VIEWS

NEW = b"From: a@b.test\r\nSubject: new\r\n\r\nText"


@pytest.fixture
def loaded(place: Path, run) -> Path:  # type: ignore[no-untyped-def]
    assert run("sync", "--quiet").code == 0
    return place / "lake"


def _ids(lake: Path, table: str) -> list[str]:
    delta = DeltaTable(str(lake / table))
    return list(pa.table(QueryBuilder().register("t", delta).execute("SELECT id FROM t"))["id"].to_pylist())


def test_a_synced_lake_is_equal(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    gmail.usage.reset()
    result = run("verify", "--json", "--thorough")
    assert result.code == 0, result.out
    (verdict,) = result.json["mailboxes"]
    assert verdict["equal"]
    assert verdict["examples"] == verdict["remarks"] == []
    messages = verdict["tables"]["messages"]
    assert messages["in_gmail"] == 60
    assert messages["rows"] == messages["in_gmail"] - messages["left_out"] == len(gmail.truth("messages"))
    assert messages["sampled"] == 20
    assert verdict["tables"]["threads"]["sampled"] == 5
    assert len(verdict["labels"]) == len(gmail.truth("labels"))
    assert verdict["units"] == sum(gmail.usage.units.values())


def test_nothing_loaded_and_a_history_that_expired_can_t_be_judged(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run
) -> None:
    result = run("verify")
    assert result.code == 4
    assert "nothing of it is stored yet" in result.out
    assert run("sync", "--quiet").code == 0
    gmail.mailbox().insert(NEW)
    gmail.expire_history()
    result = run("verify")
    assert result.code == 4
    assert "history no longer reaches back" in result.out


def test_what_happened_since_the_sync_is_explained(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    mailbox = gmail.mailbox()
    ids = _ids(loaded, "messages")
    mailbox.insert(NEW, label_ids=["INBOX", "UNREAD"])
    mailbox.delete(ids[0])
    mailbox.trash(ids[1])
    mailbox.modify(ids[2], add=["STARRED"])
    result = run("verify", "--json", "--sample", "1000")
    assert result.code == 0, result.out
    tables = result.json["mailboxes"][0]["tables"]
    assert tables["messages"]["since_sync"] == 3
    assert result.json["mailboxes"][0]["unexplained"] == 0


def test_rows_that_are_missing_too_many_or_wrong_are_found(loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    messages = DeltaTable(str(loaded / "messages"))
    ids = _ids(loaded, "messages")
    messages.delete(f"id = '{ids[0]}'")
    row = pa.table(QueryBuilder().register("t", messages).execute(f"SELECT * FROM t WHERE id = '{ids[1]}'"))
    row = row.cast(pa.schema(messages.schema().to_arrow()))
    ghost = row.set_column(row.schema.get_field_index("id"), "id", pa.array(["7fffffffffffffff"]))
    write_deltalake(messages, ghost.take([0]), mode="append")
    messages.update(updates={"snippet": "'not what Gmail says'"}, predicate=f"id = '{ids[2]}'")
    messages.update(updates={'"labelIds"': "make_array('Label_none')"}, predicate=f"id = '{ids[3]}'")

    result = run("verify", "--json", "--sample", "1000")
    assert result.code == 5
    (verdict,) = result.json["mailboxes"]
    table = verdict["tables"]["messages"]
    assert (table["missing"], table["extra"]) == (1, 1)
    found = {(example["id"], example["what"]) for example in verdict["examples"]}
    assert (ids[0], "is in the mailbox and not in the table") in found
    assert ("7fffffffffffffff", "is in the table and not in the mailbox") in found
    assert (ids[2], "differs in snippet") in found
    assert (ids[3], "differs in labelIds") in found
    assert any(label["unexplained"] for label in verdict["labels"])
    assert any("Label_none" in remark for remark in verdict["remarks"])

    result = run("verify", "--sample", "0")
    assert result.code == 5
    assert "unexplained differences" in result.out


def test_a_thread_that_lacks_a_message_is_found(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    threads = DeltaTable(str(loaded / "threads"))
    longest = max(gmail.truth("threads"), key=lambda thread: len(thread["messages"]))["id"]
    threads.update(updates={"messages": "array_slice(messages, 1, 1)"}, predicate=f"id = '{longest}'")
    result = run("verify", "--json", "--sample", "0")
    assert result.code == 5
    assert result.json["mailboxes"][0]["examples"] == [
        {"table": "threads", "id": longest, "what": "holds other messages than the mailbox"}
    ]


def test_filters_are_part_of_the_comparison(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "spec.yaml").write_text(
        "objects:\n"
        "  - table: {source_table: messages, table_configuration: {q: 'is:unread', labelIds: INBOX}}\n"
        "  - table: {source_table: threads, table_configuration: {includeSpamTrash: 'true'}}\n",
        "utf-8",
    )
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert run("sync", "--quiet").code == 0
    result = run("verify", "--json")
    assert result.code == 0, result.out
    tables = result.json["mailboxes"][0]["tables"]
    assert tables["messages"]["left_out"] == 60 - tables["messages"]["rows"] > 0
    assert tables["threads"]["left_out"] == 0

    unread = _ids(place / "lake", "messages")[0]
    gmail.mailbox().modify(unread, remove=["UNREAD"])
    assert run("sync", "--quiet").code == 0
    result = run("verify", "--json")
    assert result.code == 0, result.out
    assert result.json["mailboxes"][0]["tables"]["messages"]["kept"] == 0
    assert unread not in _ids(place / "lake", "messages")


def test_rows_kept_after_deletion_are_no_difference(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run, monkeypatch
) -> None:
    keep = "table_configuration: {deletes: keep}"
    (place / "spec.yaml").write_text(
        f"objects: [{{table: {{source_table: messages, {keep}}}}}, {{table: {{source_table: threads, {keep}}}}}]",
        "utf-8",
    )
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert run("sync", "--quiet").code == 0
    gone = _ids(place / "lake", "messages")[:3]
    for message_id in gone:
        gmail.mailbox().delete(message_id)
    assert run("sync", "--quiet").code == 0
    assert set(gone) <= set(_ids(place / "lake", "messages"))
    result = run("verify", "--json", "--sample", "1000")
    assert result.code == 0, result.out
    assert result.json["mailboxes"][0]["tables"]["messages"]["rows"] == len(gmail.truth("messages"))


def test_snapshots_that_are_out_of_date_are_worth_a_remark(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    gmail.mailbox().create_label("Brand new")
    result = run("verify")
    assert result.code == 0
    assert "labels: 1 added and 0 deleted" in result.out


def test_bad_input_and_another_account(gmail: Emulator, loaded: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert run("verify", "--sample", "-1").code == 2
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.refresh_token(gmail.addresses[1]))
    result = run("verify")
    assert result.code == 2
    assert f"in this lake it was {gmail.addresses[0]}" in result.err


def test_derived_tables_are_compared_with_the_lake(loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    (verdict,) = run("verify", "--json").json["mailboxes"]
    assert verdict["equal"]
    assert {name: view["outdated"] for name, view in verdict["views"].items()} == dict.fromkeys(VIEWS, 0)
    emails = DeltaTable(str(loaded / "emails"))
    emails.update(updates={"subject": "'forged'"})
    assert run("verify", "--json").code == 5
    emails.update(updates={"is_unread": "NOT is_unread", "label_ids": "make_array('X')"})
    result = run("verify", "--sample", "0")
    assert result.code == 4
    assert "emails: not yet computed from the present messages" in result.out
