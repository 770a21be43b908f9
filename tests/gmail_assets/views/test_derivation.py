"""Derived tables equal the output of the row functions for all messages, after any history of their source tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.views import ADA, BEN, Row, Tables, message, metadata

from gmail_assets.delta.errors import WriterConflictError
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.views import ViewSources
from gmail_client.views import VIEWS, email_row, to_table


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


def test_a_first_run_and_one_with_nothing_to_do(tables: Tables) -> None:
    tables.add(message("a", "INBOX", "Label_1", attachments=2), message("b"), message("c", "Label_1"))
    tables.name(Label_1="Work")
    results = tables.derive()
    tables.check()
    assert {name: (r.mode, r.rows_written, r.rows_total) for name, r in results.items()} == {
        "emails": ("derived", 3, 3),
        "message_labels": ("derived", 3, 3),
        "attachments": ("derived", 2, 2),
    }
    versions = tables.versions()
    idle = tables.derive()
    assert tables.versions() == versions
    assert all((r.rows_written, r.rows_updated, r.rows_deleted) == (0, 0, 0) for r in idle.values())


def test_changes_update_only_their_rows(tables: Tables) -> None:
    tables.add(*(message(f"m{n:03}", "INBOX", attachments=n % 2) for n in range(50)))
    tables.derive()
    tables.relabel("m007", ["INBOX", "STARRED"], 900)
    tables.remove("m011", "m012")
    tables.add(message("n1", "UNREAD", attachments=1))
    with mock.patch("gmail_assets.views.derivation.email_row", side_effect=email_row) as computed:
        results = tables.derive()
    assert [call.args[0]["id"] for call in computed.call_args_list] == ["n1"]
    tables.check()
    emails = results["emails"]
    assert (emails.rows_written, emails.rows_updated, emails.rows_deleted) == (1, 1, 2)
    assert (results["attachments"].rows_written, results["attachments"].rows_deleted) == (1, 1)


def files_of(tables: Tables, name: str) -> dict[str, set[str]]:
    """Message ids by data file."""
    delta = tables.lake.find(name)
    assert delta is not None
    dataset = delta.to_pyarrow_dataset()
    return {
        fragment.path: set(fragment.to_table(columns=["message_id"])["message_id"].to_pylist())
        for fragment in dataset.get_fragments()
    }


def test_a_change_rewrites_only_the_files_of_its_rows(tables: Tables) -> None:
    for n in range(8):
        tables.add(*(message(f"m{n}{k}", "INBOX", "Label_1", attachments=1) for k in range(5)))
        tables.derive()
    before = {name: files_of(tables, name) for name in VIEWS}
    tables.relabel("m23", ["STARRED"], 900)
    tables.relabel("m61", ["INBOX", "Label_1", "UNREAD"], 901)
    tables.remove("m44")
    tables.derive()
    tables.check()
    touched = {"m23", "m44", "m61"}
    for name, files in before.items():
        assert len(files) == 8
        left = files.keys() & files_of(tables, name).keys()
        changed = {"m44"} if name == "attachments" else touched
        if name == "message_labels":
            changed = touched - {"m61"}  # one more label is one more row, in a new file
        assert files.keys() - left == {path for path, ids in files.items() if ids & changed}, name


def test_a_sync_that_knows_its_changes_has_only_their_rows_compared(tables: Tables) -> None:
    tables.add(*(message(f"m{n:03}", "INBOX", "Label_1", attachments=n % 2) for n in range(10)))
    tables.name(Label_1="Work")
    tables.derive()
    tables.begin_run()
    lost = pa.table({"message_id": ["m004"]})
    PartitionWriter(tables.lake.view(VIEWS["emails"]), ADA, ["message_id"]).merge(lost.slice(0, 0), lost)
    tables.relabel("m007", ["STARRED"], 900)
    tables.remove("m001", "m002")
    tables.add(message("n1", "UNREAD", attachments=1))
    results = tables.derive_changes()
    assert {name: (r.rows_written, r.rows_updated, r.rows_deleted) for name, r in results.items()} == {
        "emails": (1, 1, 2),
        "message_labels": (2, 0, 6),
        "attachments": (1, 0, 1),
    }
    assert "m004" not in {row["message_id"] for row in tables.stored("emails")}
    tables.relabel("m007", [], 901)
    tables.name(Label_1="Office")  # concerns other rows
    tables.derive_changes()
    tables.check()


def test_messages_that_were_removed_and_loaded_again_are_not_taken_for_the_earlier_ones(
    tables: Tables,
) -> None:
    """The numbers of the commits of a new table are the same again."""
    tables.add(message("a", "INBOX", attachments=1))
    tables.derive()
    shutil.rmtree(Path(tables.lake.uri) / "messages")
    tables.messages[ADA].clear()
    tables.add(message("b", "INBOX"))  # this run is killed before it updates the derived tables
    tables.begin_run()
    tables.derive_changes()
    tables.check()


def test_a_renamed_label_changes_the_rows_that_carry_it(tables: Tables) -> None:
    tables.add(message("a", "Label_1", "INBOX"), message("b", "Label_2"), message("c"))
    tables.name(Label_1="Old", Label_2="Other")
    tables.derive()
    tables.name(Label_1="New", Label_2="Other")
    results = tables.derive()
    tables.check()
    assert results["emails"].rows_updated == 1
    assert results["message_labels"].rows_updated == 1


def test_messages_that_another_run_wrote_after_this_one_are_compared_too(tables: Tables) -> None:
    tables.add(message("a", "INBOX"))
    tables.name(Label_1="Work")
    tables.derive()
    tables.begin_run()
    tables.relabel("a", ["STARRED"], 900)
    own = replace(tables.changes, keys={"a"})
    tables.add(message("b", "INBOX"))  # the other run
    tables.derive(changes=own)
    tables.check()


def test_labels_that_another_program_wrote_are_noticed(tables: Tables) -> None:
    tables.add(message("a", "Label_1"))
    tables.name(Label_1="Old")
    tables.derive()
    tables.begin_run()
    tables.name(Label_1="New", recorded=False)
    tables.derive_changes()
    tables.check()


def test_one_mailbox_does_not_change_others(tables: Tables) -> None:
    tables.add(message("a", "INBOX", attachments=1))
    tables.add(message("a", "UNREAD"), address=BEN)
    tables.derive()
    tables.derive(BEN)
    tables.remove("a", address=BEN)
    tables.derive(BEN)
    tables.check()
    tables.check(BEN)
    assert tables.stored("emails", BEN) == []


def test_soft_deleted_rows_are_removed_from_the_derived_tables(tmp_path: Path) -> None:
    tables = Tables(tmp_path, keep_deleted=True)
    tables.add(message("a", "INBOX", attachments=1), message("b", "INBOX"))
    tables.derive()
    tables.remove("a")
    results = tables.derive()
    tables.check()
    assert [results[name].rows_deleted for name in VIEWS] == [1, 1, 1]
    assert len(tables.stored("messages")) == 2


def test_content_in_another_format_replaces_the_row(tables: Tables) -> None:
    full = message("a", "INBOX", attachments=1)
    tables.add(metadata(full), message("b"))
    tables.derive()
    tables.check()
    tables.set(full, columns=("payload",))
    results = tables.derive()
    tables.check()
    assert (results["emails"].rows_updated, results["attachments"].rows_written) == (1, 1)
    tables.set(metadata(full), columns=("payload",))
    tables.derive()
    tables.check()


def test_raw_messages(tables: Tables) -> None:
    raw = {"id": "a", "threadId": "t", "historyId": "5", "raw": "U3ViamVjdDogSGkNCg0KSGVsbG8="}
    tables.add(raw, message("b", "INBOX"))
    tables.derive()
    tables.check()
    assert {row["subject"] for row in tables.stored("emails")} == {"Hi", "b"}
    versions = tables.versions()
    tables.derive()
    assert tables.versions() == versions


def test_other_headers_do_not_change_the_rows(tables: Tables) -> None:
    plain = message("a", "INBOX")
    headers = [{"name": f"X-{n}", "value": "x"} for n in range(40)]
    long = {
        **message("b"),
        "payload": {**plain["payload"], "headers": [*headers, *plain["payload"]["headers"]]},
    }
    tables.add(
        plain, metadata(long), {"id": "c", "threadId": "t", "historyId": "5"}, message("d", attachments=1)
    )
    tables.derive()
    tables.check()
    assert [row["subject"] for row in tables.stored("emails") if row["message_id"] == "b"] == ["a"]


def test_a_new_formula_version_recomputes_every_row(tables: Tables) -> None:
    tables.add(message("a", "INBOX", attachments=2), message("b"))
    tables.derive()
    changed = to_table("emails", [email_row(message("a", "INBOX", attachments=2), {})])
    wrong = changed.set_column(
        changed.schema.get_field_index("subject"), changed.schema.field("subject"), [["x"]]
    )
    view = VIEWS["emails"]
    PartitionWriter(tables.lake.view(view), ADA, view.primary_key).merge(
        wrong.select(["message_id", "subject"])
    )
    with mock.patch.dict("gmail_client.views.schemas.FORMULA", {"emails": 2, "attachments": 2}):
        results = tables.derive()
        assert results["emails"].rows_updated == 2
        assert tables.derive()["emails"].rows_updated == 0
    tables.check()


def test_without_labels_the_names_are_the_ids(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.sources = ViewSources(tables.sources.messages, None, {"emails": "mail"})
    tables.add(message("a", "INBOX", "Label_1"))
    (result,) = tables.derive().values()
    assert result.rows_written == 1
    assert [row["label_names"] for row in tables.stored("mail")] == [["INBOX", "Label_1"]]
    assert tables.lake.find("attachments") is None


def test_without_messages_nothing_is_derived(tables: Tables) -> None:
    results = tables.derive()
    assert all("messages" in result.warnings[0] for result in results.values())
    assert tables.lake.find("emails") is None


def test_the_time_budget_ends_a_run_and_the_next_finds_the_rest(tables: Tables) -> None:
    tables.add(*(message(f"m{n}", "INBOX", attachments=1) for n in range(10)))
    reported: list[int] = []
    with mock.patch("gmail_assets.views.derivation._SLICE_ROWS", 3):
        first = tables.derive(deadline=0.0, progress=lambda progress: reported.append(progress.done))
        assert not first["emails"].complete
        assert first["emails"].rows_written == 3
        assert reported == [0, 3]
        second = tables.derive()
    assert (second["emails"].complete, second["emails"].rows_written) == (True, 7)
    tables.check()


def test_two_writers_of_one_mailbox_are_refused(tables: Tables) -> None:
    tables.add(message("a", "INBOX"))
    tables.derive()
    view = VIEWS["emails"]
    writers = [PartitionWriter(tables.lake.view(view), ADA, view.primary_key) for _ in range(2)]
    rows = to_table("emails", [email_row(message("b"), {})])
    writers[0].append(rows)
    with pytest.raises(WriterConflictError):
        writers[1].append(rows)


class KilledError(BaseException):
    """Simulates that the process is killed."""


@contextmanager
def killed_after(commits: int) -> Iterator[None]:
    """Kill the run before commit number `commits` + 1."""
    commit = PartitionWriter.commit
    left = commits

    def counted(self: PartitionWriter, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise KilledError
        left -= 1
        commit(self, *arguments)

    with mock.patch.object(PartitionWriter, "commit", counted), suppress(KilledError):
        yield


LABELS = st.lists(st.sampled_from(["INBOX", "UNREAD", "Label_1", "Label_2", "CATEGORY_SOCIAL"]), unique=True)
STEP = st.one_of(
    st.tuples(st.just("add"), LABELS, st.integers(0, 2), st.integers(1, 3)),
    st.tuples(st.just("relabel"), LABELS, st.integers(0, 9)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("reformat"), st.integers(0, 9)),
    st.tuples(st.just("rename"), st.sampled_from(["Work", "Home", "Label_2"])),
    st.tuples(st.just("restore messages"), st.integers(1, 3)),
    st.tuples(st.just("restore"), st.sampled_from(sorted(VIEWS)), st.integers(1, 3)),
    st.tuples(st.just("killed"), st.integers(0, 4)),
    st.tuples(st.just("another run")),
    st.tuples(st.just("derive"), st.booleans()),
)


def run_steps(tables: Tables, steps: list[tuple[Any, ...]]) -> None:
    count = 0
    past: list[dict[str, Row]] = [{}, {}]  # the messages at each version of their table
    table = tables.lake.table("messages", keep_deleted=tables.sources.messages.deletes == "keep")
    past = [dict(tables.messages[ADA])] * (table.delta.version() + 1)
    for kind, *values in steps:
        ids = sorted(tables.messages[ADA])
        if kind == "add":
            labels, attachments, number = values
            new = [
                message(f"m{(count + n) * 7919 % 1000:03}", *labels, attachments=attachments)
                for n in range(number)
            ]
            count += number
            tables.add(*(m for m in new if m["id"] not in tables.messages[ADA]))
        elif kind == "relabel" and ids:
            tables.relabel(ids[values[1] % len(ids)], values[0], 1_000 + count)
        elif kind == "remove" and ids:
            tables.remove(ids[values[0] % len(ids)])
        elif kind == "reformat" and ids:
            row = tables.messages[ADA][ids[values[0] % len(ids)]]
            tables.set(metadata(row) if "body" in row["payload"] else row, columns=("payload",))
        elif kind == "rename":
            tables.name(Label_1=values[0])
        elif kind == "restore messages":
            delta = tables.lake.find("messages")
            assert delta is not None
            target = max(delta.version() - values[0], 0)
            if target < delta.version():
                delta.restore(target)
            tables.messages[ADA] = dict(past[target])
            tables.changes.set_unknown()  # as for a partition that was restored
        elif kind == "restore":
            delta = tables.lake.find(values[0])
            if delta is not None and delta.version() > 0:
                delta.restore(max(delta.version() - values[1], 0))
        elif kind == "killed":
            with killed_after(values[0]):
                tables.derive_changes()
        elif kind == "another run":
            tables.begin_run()
        elif kind == "derive":
            if values[0]:
                tables.derive_changes()
            else:
                tables.derive()
            tables.check()
        delta = tables.lake.find("messages")
        assert delta is not None
        past += [dict(tables.messages[ADA])] * (delta.version() + 1 - len(past))


@pytest.mark.parametrize("changes", [False, True])
def test_a_restore_of_emails_loses_no_attachment(tmp_path: Path, changes: bool) -> None:
    tables = Tables(tmp_path)
    run_steps(tables, [("add", [], 1, 1), ("derive", False), ("restore", "emails", 2), ("derive", changes)])
    tables.check()


@pytest.mark.parametrize(("keep_deleted", "changes"), [(False, True), (True, False), (True, True)])
def test_one_history_with_every_kind_of_step(tmp_path: Path, keep_deleted: bool, changes: bool) -> None:
    tables = Tables(tmp_path, keep_deleted=keep_deleted)
    run_steps(
        tables,
        [
            ("add", ["INBOX", "Label_1"], 1, 3),
            ("derive", changes),
            ("rename", "Work"),
            ("relabel", ["UNREAD"], 1),
            ("derive", changes),
            ("relabel", ["INBOX"], 1),
            ("remove", 0),
            ("add", ["Label_1"], 1, 2),
            ("derive", changes),
            ("relabel", ["Label_1"], 1),
            ("another run",),
            ("relabel", ["UNREAD", "Label_1"], 2),
            ("derive", changes),
            ("reformat", 0),
            ("killed", 1),
            ("add", ["Label_1"], 2, 2),
            ("remove", 1),
            ("killed", 2),
            ("restore messages", 1),
            ("derive", changes),
            ("restore", "emails", 2),
            ("restore", "attachments", 1),
            ("derive", changes),
        ],
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=3, max_size=12), keep_deleted=st.booleans())
def test_any_history_of_steps_equals_a_full_computation(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]], keep_deleted: bool
) -> None:
    tables = Tables(tmp_path_factory.mktemp("lake"), keep_deleted=keep_deleted)
    run_steps(tables, [*steps, ("derive", True)])
