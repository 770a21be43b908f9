"""Derived tables of the local pipeline equal the output of the row functions, after any history of its messages."""

from __future__ import annotations

import shutil
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.views import message, metadata

from gmail_client.errors import ConfigurationError
from gmail_client.schema import to_batch
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS, labels_of, to_table, view_rows
from lakeflow_entry.pipelines.delta_sink import DeltaSink, Scd
from lakeflow_entry.pipelines.derived import DerivedTable, refuse_versions_only

Row = dict[str, Any]


class Scenario:
    """The tables `messages` and `labels` of a pipeline, their expected rows, and the derived tables."""

    def __init__(self, folder: Path, scd: Scd = "SCD_TYPE_1", keep_deleted: bool = False) -> None:
        self.folder = folder
        schema = CATALOGUE["messages"].schema
        self.sink = DeltaSink(f"{folder}/messages", schema, ("id",), "historySequence", scd, keep_deleted)
        self.labels = DeltaSink(f"{folder}/labels", CATALOGUE["labels"].schema, ("id",))
        self.messages: dict[str, Row] = {}
        self.names: list[Row] = []
        self.batch = 0
        self.history = 100

    def table(self, name: str) -> DerivedTable:
        return DerivedTable(f"{self.folder}/{name}", name, self.sink, self.labels, f"{self.folder}/emails")

    def write(self, *messages: Row) -> None:
        self.batch += 1
        self.history += len(messages)
        stamped = [{**row, "historyId": str(self.history - n)} for n, row in enumerate(messages)]
        self.sink.upsert(pa.Table.from_batches([to_batch("messages", stamped)]), "upserts", self.batch)
        self.messages.update({row["id"]: row for row in stamped})

    def remove(self, *ids: str) -> None:
        self.history += 1
        self.sink.delete_keys([(one,) for one in ids], self.history)
        for one in ids:
            self.messages.pop(one, None)

    def name(self, **names: str) -> None:
        self.names = [{"id": one, "name": name, "type": "user"} for one, name in names.items()]
        self.labels.replace(pa.Table.from_batches([to_batch("labels", self.names)]))

    def update(self) -> dict[str, tuple[int, int]]:
        return {name: self.table(name).update() for name in VIEWS}

    def check(self) -> None:
        labels = labels_of(self.names)
        for name, view in VIEWS.items():
            rows = [row for one in self.messages.values() for row in view_rows(name, one, labels)]
            stored = DeltaTable(f"{self.folder}/{name}").to_pyarrow_table().to_pylist()
            key = itemgetter(*view.primary_key)
            assert sorted(stored, key=key) == sorted(to_table(name, rows).to_pylist(), key=key), name


@pytest.mark.parametrize(
    ("scd", "keep"), [("SCD_TYPE_1", False), ("SCD_TYPE_1", True), ("SCD_TYPE_2", False)]
)
def test_changes_update_only_their_rows(tmp_path: Path, scd: Scd, keep: bool) -> None:
    scenario = Scenario(tmp_path, scd, keep)
    scenario.name(Label_1="Work")
    scenario.write(message("a", "INBOX", "Label_1", attachments=2), message("b"), message("c", "Label_1"))
    assert scenario.update() == {"emails": (3, 0), "message_labels": (3, 0), "attachments": (2, 0)}
    scenario.check()
    assert scenario.update() == {"emails": (0, 0), "message_labels": (0, 0), "attachments": (0, 0)}
    scenario.name(Label_1="Home")
    scenario.write(message("b", "UNREAD"))
    scenario.remove("c")
    assert scenario.update() == {"emails": (2, 1), "message_labels": (2, 1), "attachments": (0, 0)}
    scenario.check()
    scenario.write(metadata(message("a", "INBOX", "Label_1", attachments=2)))
    assert scenario.update()["attachments"] == (0, 2)
    scenario.check()


def test_a_new_formula_version_and_a_lost_table(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.write(message("a", attachments=1), message("b"))
    scenario.labels = None  # type: ignore[assignment] # a spec without labels
    scenario.update()
    scenario.check()
    with mock.patch.dict("gmail_client.views.schemas.FORMULA", {"emails": 2, "attachments": 2}):
        assert scenario.update() == {"emails": (2, 0), "message_labels": (0, 0), "attachments": (1, 0)}
    shutil.rmtree(tmp_path / "emails")
    assert scenario.update()["emails"] == (2, 0)
    scenario.check()


def test_other_options_compute_all_rows_again(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.write(message("a"), message("b"))
    scenario.update()
    table = scenario.table("emails")
    table.content = "full without payload.body.data"
    assert (table.update(), table.update()) == ((2, 0), (0, 0))


def test_append_only_messages_are_refused() -> None:
    objects = [
        {"table": {"source_table": "messages", "table_configuration": {"scd_type": "APPEND_ONLY"}}},
        {"table": {"source_table": "emails"}},
    ]
    with pytest.raises(ConfigurationError, match="APPEND_ONLY"):
        refuse_versions_only(Spec.parse({"objects": objects}))


class KilledError(BaseException):
    """Simulates that the process is killed."""


def update_killed(scenario: Scenario, commits: int) -> None:
    """Kill the run before write number `commits` + 1."""
    left = commits
    writes = {name: getattr(DerivedTable, name) for name in ("_upsert", "_delete")}

    def counted(name: str) -> Any:
        def write(self: DerivedTable, rows: pa.Table, **options: Any) -> None:
            nonlocal left
            if not left:
                raise KilledError
            left -= 1
            writes[name](self, rows, **options)

        return write

    patched = mock.patch.multiple(DerivedTable, **{name: counted(name) for name in writes})
    with patched, suppress(KilledError):
        scenario.update()


STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 5), st.sampled_from([(), ("INBOX",), ("Label_1", "UNREAD")])),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("name"), st.sampled_from(["Work", "Home"])),
    st.tuples(st.just("killed"), st.integers(0, 6)),
    st.tuples(st.just("update")),
)


@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=3, max_size=8))
@example(
    steps=[
        *(("write", n, ("Label_1",)) for n in range(3)),
        ("killed", 4),
        ("name", "Work"),
        ("remove", 1),
        ("killed", 2),
        ("update",),
        ("name", "Home"),
        ("write", 4, ()),
    ]
)
def test_any_history_of_steps_equals_a_full_computation(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    scenario = Scenario(tmp_path_factory.mktemp("lake"))
    for kind, *values in [*steps, ("update",)]:
        if kind == "write":
            scenario.write(message(f"m{values[0]}", *values[1], attachments=values[0] % 3))
        elif kind == "remove":
            scenario.remove(f"m{values[0]}")
        elif kind == "name":
            scenario.name(Label_1=values[0])
        elif kind == "killed":
            update_killed(scenario, values[0])
        else:
            scenario.update()
            scenario.check()
