"""`gmail-assets verify` finds differences, explains those that have a cause, and prints correct results."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from gmail_client.emulator import Behavior, Emulator, Fault
from gmail_client.views import VIEWS

NEW = b"From: a@b.test\r\nSubject: new\r\n\r\nText"


@pytest.fixture
def loaded(place: Path, run) -> Path:  # type: ignore[no-untyped-def]
    assert run("sync", "--quiet", "messages", "threads", "labels", *VIEWS).code == 0
    return place / "lake"


def _ids(lake: Path, table: str) -> list[str]:
    delta = DeltaTable(str(lake / table))
    return list(pa.table(QueryBuilder().register("t", delta).execute("SELECT id FROM t"))["id"].to_pylist())


def test_a_synced_lake_matches(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
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


def test_an_empty_lake_and_an_expired_history_are_inconclusive(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run
) -> None:
    result = run("verify")
    assert result.code == 4
    assert "no rows of it are stored yet" in result.out
    assert run("sync", "--quiet").code == 0
    gmail.mailbox().insert(NEW)
    gmail.expire_history()
    result = run("verify")
    assert result.code == 4
    assert "history no longer reaches back" in result.out


def test_changes_since_the_sync_are_explained(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
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


def test_missing_extra_and_wrong_rows_are_found(loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
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


def test_a_thread_without_one_of_its_messages_is_found(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    threads = DeltaTable(str(loaded / "threads"))
    longest = max(gmail.truth("threads"), key=lambda thread: len(thread["messages"]))["id"]
    threads.update(updates={"messages": "array_slice(messages, 1, 1)"}, predicate=f"id = '{longest}'")
    result = run("verify", "--json", "--sample", "0")
    assert result.code == 5
    assert result.json["mailboxes"][0]["examples"] == [
        {"table": "threads", "id": longest, "what": "has other messages than the mailbox"}
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


def test_soft_deleted_rows_are_not_a_difference(  # type: ignore[no-untyped-def]
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


def test_outdated_snapshots_are_a_warning(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
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
    assert "emails: not up to date with messages and labels" in result.out


def _change_history(gmail: Emulator, loaded: Path, table: str, cursor: int) -> None:
    """Set a table's cursor, as another run would have done."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.partition_status import partition_statuses
    from gmail_client.spec import SpecTable

    entry = SpecTable.parse({"source_table": table})
    status = partition_statuses(Lake(str(loaded)), gmail.addresses[0], [entry])[table]
    status.partition.commit(status.partition.state.synced(cursor))


def _nested(depth: int) -> bytes:
    """A mail with an attachment below `depth` levels of multipart."""
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
        for level in range(depth)
    )
    closing = b"".join(b"\r\n--b%d--\r\n" % level for level in reversed(range(depth)))
    leaf = (
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=a.pdf\r\n\r\nJVBERi0xLjQK"
    )
    return b"From: a@b.test\r\nSubject: nested\r\nMIME-Version: 1.0\r\n" + opening + leaf + closing


def test_attachment_ids_are_ignored_at_every_depth(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    message_id = gmail.mailbox().insert(_nested(9))
    assert run("sync", "messages", "threads", "--quiet").code == 0
    messages = DeltaTable(str(place / "lake" / "messages"))
    row = next(row for row in messages.to_pyarrow_table().to_pylist() if row["id"] == message_id)
    assert any("attachmentId" in text for text in _texts(row["payload"]))
    verdict = run("verify", "--json", "--sample", "1000").json["mailboxes"][0]
    assert verdict["unexplained"] == 0
    assert verdict["tables"]["messages"]["sampled"] == verdict["tables"]["messages"]["rows"]


def _texts(value: object) -> list[str]:
    """Every `partsJson` below a payload."""
    if isinstance(value, dict):
        own = [value["partsJson"]] if value.get("partsJson") else []
        return own + [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def test_the_last_line_names_the_tables_that_match(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "messages", "--quiet").code == 0
    result = run("verify")
    assert result.code == 4
    assert "messages matches the mailbox." in result.out
    assert "threads can't be verified: no rows of it are stored yet." in result.out
    assert run("sync", "messages", "threads", "--quiet").code == 0
    assert "messages and threads match the mailbox." in run("verify").out
    gmail.mailbox().insert(NEW)
    out = run("verify").out
    assert "messages and threads match the mailbox, apart from changes since the last sync." in out


def test_an_unfinished_load_is_named(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    for method in ("messages.get", "threads.get"):
        gmail.faults.add(Fault(method=method, nth=12, status=403, reason="dailyLimitExceeded"))
    assert run("sync", "messages", "threads", "--quiet").code == 4
    gmail.faults.clear()
    out = run("verify").out
    assert "messages can't be verified: its first load is not finished." in out
    assert "match" not in out
    synced = run("sync", "messages", "--json")
    assert synced.code == 0, synced.out
    checks = {check["check"]: check for check in synced.json["mailboxes"][0]["checks"]}
    assert checks["threads_and_messages_agree"]["passed"]
    assert "not applicable" in checks["threads_and_messages_agree"]["message"]
    out = run("verify").out
    assert "threads can't be verified: its first load is not finished." in out
    assert "messages matches the mailbox." in out


def test_a_restored_table_and_one_of_other_options_are_named(  # type: ignore[no-untyped-def]
    gmail: Emulator, loaded: Path, run, monkeypatch, place: Path
) -> None:
    messages = DeltaTable(str(loaded / "messages"))
    version = messages.version()
    gmail.mailbox().insert(NEW)
    assert run("sync", "--quiet").code == 0
    messages.update_incremental()
    messages.restore(version)
    assert "messages can't be verified: it was restored to an older version." in run("verify").out
    (place / "spec.yaml").write_text(
        "objects: [{table: {source_table: threads, table_configuration: {labelIds: INBOX}}}]", "utf-8"
    )
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert "threads can't be verified: its options changed" in run("verify").out


def test_tables_of_different_cursors_are_explained_by_their_own_history(  # type: ignore[no-untyped-def]
    gmail: Emulator, loaded: Path, run
) -> None:
    new = gmail.mailbox().insert(NEW)
    assert run("sync", "messages", "--quiet").code == 0
    DeltaTable(str(loaded / "messages")).delete(f"id = '{new}'")
    result = run("verify", "--json")
    tables = result.json["mailboxes"][0]["tables"]
    assert (tables["messages"]["missing"], tables["messages"]["since_sync"]) == (1, 0)
    assert (tables["threads"]["missing"], tables["threads"]["since_sync"]) == (0, 1)
    assert result.code == 5


def test_a_history_that_reaches_one_cursor_explains_that_table(  # type: ignore[no-untyped-def]
    gmail: Emulator, loaded: Path, run
) -> None:
    gmail.mailbox().insert(NEW)
    assert run("sync", "messages", "--quiet").code == 0
    gmail.expire_history(upto=gmail.mailbox().head)
    gmail.mailbox().insert(NEW)
    out = run("verify").out
    assert "threads can't be verified: Gmail's history no longer reaches back to its last sync." in out
    assert "messages matches the mailbox, apart from changes since the last sync." in out


@pytest.mark.parametrize("future", ["not-found", "empty"])
def test_a_cursor_past_the_mailbox_is_not_an_expired_history(  # type: ignore[no-untyped-def]
    place: Path, run, monkeypatch, future
) -> None:
    with Emulator(messages=20, seed=3, behavior=Behavior(future_history_start=future)) as other:
        for name, value in other.environment().items():
            monkeypatch.setenv(name, value)
        assert run("sync", "messages", "threads", "--quiet").code == 0
        head = int(other.mailbox().head)
        _change_history(other, place / "lake", "messages", head + 1000)
        out = run("verify").out
    assert (
        f"messages can't be verified: its cursor {head + 1000} is past the mailbox's current history id"
        in out
    )
    assert "threads matches the mailbox." in out


def test_ids_that_gmail_calls_invalid_are_reported_separately(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    for table in ("messages", "threads"):
        DeltaTable(str(loaded / table)).update(
            updates={"id": "'not-hexadecimal'"}, predicate=f"id = '{_ids(loaded, table)[0]}'"
        )
    result = run("verify", "--json", "--sample", "1000")
    assert result.code == 5, result.err
    (verdict,) = result.json["mailboxes"]
    for table in ("messages", "threads"):
        counts = verdict["tables"][table]
        assert (counts["missing"], counts["extra"], counts["differing"]) == (1, 1, 0)
        whats = {
            e["what"] for e in verdict["examples"] if e["id"] == "not-hexadecimal" and e["table"] == table
        }
        assert whats == {"is in the table and not in the mailbox"}
    assert verdict["unexplained"] == 4


def test_an_unavailable_row_is_not_a_difference_and_stops_nothing(  # type: ignore[no-untyped-def]
    gmail: Emulator, loaded: Path, run
) -> None:
    message, thread = _ids(loaded, "messages")[0], _ids(loaded, "threads")[0]
    gmail.faults.add(Fault(method="messages.get", id=message, status=403, reason="forbidden"))
    gmail.faults.add(Fault(method="threads.get", id=thread, status=403, reason="forbidden"))
    gmail.faults.add(Fault(method="labels.get", id="STARRED", status=403, reason="forbidden"))
    result = run("verify", "--json", "--sample", "1000")
    assert result.code == 0, result.out
    (verdict,) = result.json["mailboxes"]
    assert verdict["unexplained"] == 0
    assert verdict["tables"]["messages"]["sampled"] == verdict["tables"]["messages"]["rows"] - 1
    assert any("2 sampled rows could not be fetched" in remark for remark in verdict["remarks"])
    assert any("The label STARRED is not compared" in remark for remark in verdict["remarks"])


def test_unfetched_messages_are_named(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    threads = {}
    for row in gmail.truth("messages", format="minimal"):
        threads.setdefault(row["threadId"], []).append(row["id"])
    alone = next(ids[0] for ids in threads.values() if len(ids) == 1)
    gmail.faults.add(Fault(method="messages.get", id=alone, status=403, reason="forbidden"))
    run("sync", "messages", "--quiet")
    result = run("verify")
    assert "messages matches the mailbox, apart from messages that Gmail refused." in result.out
    assert not run("verify", "--json").json["mailboxes"][0]["equal"]


def test_unfetched_labels_are_not_a_difference(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "messages", "--quiet").code == 0
    threads = {}
    for row in gmail.truth("messages", format="minimal"):
        threads.setdefault(row["threadId"], []).append(row["id"])
    alone = next(ids[0] for ids in threads.values() if len(ids) == 1)
    starred = "STARRED" in gmail.mailbox().label_ids(alone)
    gmail.mailbox().modify(alone, [] if starred else ["STARRED"], ["STARRED"] if starred else [])
    gmail.expire_history()
    gmail.faults.add(Fault(method="messages.get", id=alone, status=403, reason="forbidden"))
    run("sync", "messages", "--quiet")
    gmail.faults.clear()
    (verdict,) = run("verify", "--json", "--sample", "1000", "--thorough").json["mailboxes"]
    assert verdict["unexplained"] == 0, verdict
    assert any("refused the labels of 1 stored messages" in remark for remark in verdict["remarks"])


def test_a_row_that_differs_is_counted_once(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    threads = DeltaTable(str(loaded / "threads"))
    longest = max(gmail.truth("threads"), key=lambda thread: len(thread["messages"]))["id"]
    threads.update(updates={"messages": "array_slice(messages, 1, 1)"}, predicate=f"id = '{longest}'")
    (verdict,) = run("verify", "--json", "--sample", "1000").json["mailboxes"]
    assert verdict["tables"]["threads"]["differing"] == 1
    assert verdict["unexplained"] == 1


def test_a_row_outside_the_options_is_not_reported_as_deleted(gmail: Emulator, loaded: Path, run) -> None:  # type: ignore[no-untyped-def]
    trashed = next(
        row["id"]
        for row in gmail.truth("messages", include_spam_trash=True, format="minimal")
        if "TRASH" in row["labelIds"]
    )
    messages = DeltaTable(str(loaded / "messages"))
    messages.update(updates={"id": f"'{trashed}'"}, predicate=f"id = '{_ids(loaded, 'messages')[0]}'")
    (verdict,) = run("verify", "--json", "--sample", "0").json["mailboxes"]
    assert {
        "table": "messages",
        "id": trashed,
        "what": "is in the table and does not match its options",
    } in verdict["examples"]


def test_a_snapshot_that_was_never_read_has_not_drifted(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "labels", "messages", "--mailbox", gmail.addresses[0], "--quiet").code == 0
    from gmail_assets.delta.lake import Lake

    Lake(str(place / "lake")).table("filters", name="filters")
    assert "filters" not in run("verify", "--mailbox", gmail.addresses[0]).out
