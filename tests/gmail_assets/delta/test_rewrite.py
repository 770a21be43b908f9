"""Rewrites of files: one commit, concurrent commits, kills, sizes of files, and rows equal to a model."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.schema import Field, PrimitiveType
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples
from support.object_store import ObjectStore, why_not

from gmail_assets.delta.errors import LakeError, WriterConflictError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.rewrite import PartitionRewrite
from gmail_assets.delta.shared_tables import forget_tables
from gmail_assets.delta.writer import PartitionWriter
from gmail_client.schema import to_batch
from gmail_client.views import VIEWS

ADA = "ada@example.test"
_LABELS = pa.schema([("id", pa.string()), ("labelIds", pa.list_(pa.field("element", pa.string())))])


class Killed(BaseException):
    """The process ends here."""


def rows(*ids: str, body: str = "x") -> pa.Table:
    content = [
        {
            "id": key,
            "threadId": "t",
            "labelIds": ["INBOX"],
            "payload": {"partId": "", "parts": [{"body": {"size": 1, "data": body}}]},
        }
        for key in ids
    ]
    return pa.Table.from_batches([to_batch("messages", content)])


def labels(**by_id: str) -> pa.Table:
    return pa.Table.from_pylist([{"id": key, "labelIds": [name]} for key, name in by_id.items()], _LABELS)


def part(folder: Path, address: str = ADA, **table: Any) -> MailboxPartition:
    """A partition as another process opens it: nothing is shared."""
    forget_tables()
    return MailboxPartition(Lake(str(folder)).table("messages", **table), address, "all", "full")


def stored(folder: Path, address: str = ADA) -> dict[str, str]:
    table = DeltaTable(folder / "messages").to_pyarrow_table(filters=[("mailbox", "=", address)])
    ids = table["id"].to_pylist()
    assert len(ids) == len(set(ids)), "a row is there twice"
    return {key: names[0] for key, names in zip(ids, table["labelIds"].to_pylist(), strict=True)}


def files(folder: Path) -> list[str]:
    return sorted(DeltaTable(folder / "messages").file_uris())


def before_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int = 1) -> None:
    """Call `act` before the next commits of rewrites."""
    write, left = DeltaTable.create_write_transaction, [act] * times

    def writing(self: DeltaTable, actions: Any, *args: Any, **named: Any) -> None:
        if actions and left:
            left.pop()()
        write(self, actions, *args, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", writing)


def two_files(folder: Path) -> MailboxPartition:
    writer = part(folder)
    writer.append(rows("a1", "a2"))
    writer.append(rows("b1", "b2"))
    return writer


def test_rows_are_not_doubled_when_their_files_are_compacted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = two_files(tmp_path)
    before_commit(monkeypatch, lambda: DeltaTable(tmp_path / "messages").optimize.compact())
    writer.merge(labels(a1="NEW"), ["b2"], rows("c1"), writer.state.synced(3))
    assert stored(tmp_path) == {"a1": "NEW", "a2": "INBOX", "b1": "INBOX", "c1": "INBOX"}
    assert part(tmp_path).state.cursor == 3


def test_files_are_not_rewritten_again_after_commits_of_other_mailboxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = two_files(tmp_path)
    other = part(tmp_path, "bob@example.test")
    rewritten: list[object] = []
    edited = PartitionRewrite._edited
    monkeypatch.setattr(
        PartitionRewrite, "_edited", lambda self, *args: rewritten.append(args) or edited(self, *args)
    )
    numbers = iter(range(100))
    before_commit(monkeypatch, lambda: other.append(rows(f"z{next(numbers)}")), times=12)
    writer.merge(labels(a1="NEW", b2="NEW"), state=writer.state.synced(3))
    assert stored(tmp_path) == {"a1": "NEW", "a2": "INBOX", "b1": "INBOX", "b2": "NEW"}
    assert len(rewritten) == 2
    assert len(stored(tmp_path, "bob@example.test")) == 12


def test_a_rival_that_commits_between_a_refusal_and_the_retry_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_files(tmp_path)
    mine, rival, other = part(tmp_path), part(tmp_path), part(tmp_path, "bob@example.test")
    before_commit(monkeypatch, lambda: other.append(rows("z1")))  # so that the first attempt is refused
    sleep = SimpleNamespace(sleep=lambda seconds: rival.append(rows("c1")))
    monkeypatch.setattr("gmail_assets.delta.group_commit.time", sleep)
    with pytest.raises(WriterConflictError):
        mine.merge(labels(a1="NEW"), inserts=rows("c1"), state=mine.state.synced(3))
    assert stored(tmp_path) == {"a1": "INBOX", "a2": "INBOX", "b1": "INBOX", "b2": "INBOX", "c1": "INBOX"}


@pytest.mark.parametrize("change", ["merge", "clear"])
def test_a_rival_s_commit_is_not_taken_for_one_that_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Both runs choose the same number for their fences."""
    mine, rival = part(tmp_path), part(tmp_path)
    rivals = [lambda: rival.append(rows("a1"), rival.state.synced(2))]

    write = DeltaTable.create_write_transaction

    def writing(self: DeltaTable, *args: Any, **named: Any) -> None:
        while rivals:
            rivals.pop()()
        write(self, *args, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", writing)
    changes: dict[str, Callable[[], None]] = {
        "merge": lambda: mine.merge(labels(), ["not there"], state=mine.state.synced(3)),
        "clear": lambda: mine.clear(mine.state.loading(3)),
    }
    with pytest.raises(WriterConflictError):
        changes[change]()
    assert (stored(tmp_path), part(tmp_path).state.cursor) == ({"a1": "INBOX"}, 2)


def test_a_run_that_has_moved_on_past_a_rival_s_commit_is_refused(tmp_path: Path) -> None:
    mine, rival = part(tmp_path), part(tmp_path)
    rival.append(rows("a1"))
    mine.table.delta.update_incremental()
    with pytest.raises(WriterConflictError):
        mine.append(rows("a1"))
    assert stored(tmp_path) == {"a1": "INBOX"}


def test_a_column_that_another_engine_adds_and_fills_meanwhile_is_kept(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    other = DeltaTable(tmp_path / "messages")
    other.alter.add_columns(Field("topic", PrimitiveType("string")))
    other.update(updates={"topic": "'mine'"}, predicate="id = 'a2'")
    writer.merge(labels(a1="NEW"), inserts=rows("c1"))
    found = DeltaTable(tmp_path / "messages").to_pyarrow_table().select(["id", "topic"]).to_pylist()
    assert {row["id"]: row["topic"] for row in found} == dict.fromkeys(("a1", "b1", "b2", "c1")) | {
        "a2": "mine"
    }


def test_features_that_were_switched_on_meanwhile_are_noticed(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    other = DeltaTable(tmp_path / "messages")
    other.alter.set_table_properties({"delta.appendOnly": "true"})
    writer.table.delta.update_incremental()
    with pytest.raises(LakeError, match=r"delta\.appendOnly"):
        writer.merge(labels(a1="NEW"))


@pytest.mark.parametrize("has", ["nothing", "truncated values"])
def test_files_with_poor_statistics_of_other_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: str
) -> None:
    monkeypatch.setattr("gmail_assets.delta.rewrite._SPLIT_BYTES", 100)
    two_files(tmp_path)
    for commit in (tmp_path / "messages" / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            if "add" in line and has == "nothing":
                del line["add"]["stats"]
            elif "add" in line:
                values = json.loads(line["add"]["stats"])
                least = values["minValues"]["id"][:1]
                values |= {"minValues": {"id": least}, "maxValues": {"id": least + "\U0010ffff"}}
                line["add"]["stats"] = json.dumps(values)
        commit.write_text("\n".join(map(json.dumps, lines)))
    writer = part(tmp_path)
    assert writer.count() == 4
    writer.merge(labels(a1="NEW"), ["b2"], rows("c1"))
    assert stored(tmp_path) == {"a1": "NEW", "a2": "INBOX", "b1": "INBOX", "c1": "INBOX"}
    assert writer.count() == 4


@pytest.mark.parametrize("step", ["first file", "second file", "commit"])
def test_a_kill_between_any_two_steps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr("gmail_assets.delta.rewrite._SMALL_BYTES", 0)
    writer = two_files(tmp_path)
    before, version = stored(tmp_path), DeltaTable(tmp_path / "messages").version()
    finish, finished = PartitionRewrite._finish, []

    def killing(self: PartitionRewrite, *args: Any) -> Any:
        finished.append(args)
        if len(finished) == {"first file": 1, "second file": 2}[step]:
            raise Killed
        return finish(self, *args)

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "commit":
            before_commit(patch, kill)
        else:
            patch.setattr(PartitionRewrite, "_finish", killing)
        with pytest.raises(Killed):
            writer.merge(labels(a1="NEW"), ["b2"], rows("c1"), writer.state.synced(3))
    assert (stored(tmp_path), DeltaTable(tmp_path / "messages").version()) == (before, version)
    again = part(tmp_path)
    assert again.state.cursor is None
    again.merge(labels(a1="NEW"), ["b2"], rows("c1"), again.state.synced(3))
    assert stored(tmp_path) == {"a1": "NEW", "a2": "INBOX", "b1": "INBOX", "c1": "INBOX"}


def test_small_files_become_one_and_take_the_new_rows(tmp_path: Path) -> None:
    two_files(tmp_path).merge(labels(a1="NEW", b2="NEW"), inserts=rows("c1"))
    assert len(files(tmp_path)) == 1
    (entry,) = Lake(str(tmp_path)).table("messages").files(ADA)
    assert (entry.low, entry.high, entry.rows) == ("a1", "c1", 5)


def test_only_files_with_changed_rows_are_rewritten(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    writer.append(rows("a0", "b9"))
    before = files(tmp_path)
    writer.merge(labels(b1="NEW"))
    assert len(set(before) - set(files(tmp_path))) == 1


def test_a_file_without_remaining_rows_is_removed(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    writer.merge(labels(), ["a1", "a2"], state=writer.state.synced(4))
    assert len(files(tmp_path)) == 1
    writer.merge(labels(), ["b1", "b2"], rows("c1"))
    assert stored(tmp_path) == {"c1": "INBOX"}
    writer.merge(labels(), ["c1"])
    writer.merge(labels(gone="NEW"), inserts=rows("d1"))  # the partition has no file
    assert stored(tmp_path) == {"d1": "INBOX"}


def test_a_file_that_has_grown_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmail_assets.delta.rewrite._SMALL_BYTES", 0)
    monkeypatch.setattr("gmail_assets.delta.rewrite._SPLIT_BYTES", 2_000)
    writer = part(tmp_path)
    writer.append(rows(*(f"m{number:03}" for number in range(50))))
    writer.merge(labels(m007="NEW"))
    entries = list(writer.table.files(ADA))
    assert len(entries) > 2
    assert sum(entry.rows or 0 for entry in entries) == 50
    assert len(stored(tmp_path)) == 50


def test_a_file_of_a_merge_by_deltalake_can_be_rewritten(tmp_path: Path) -> None:
    two_files(tmp_path)
    table = DeltaTable(tmp_path / "messages")
    merge = table.merge(labels(a1="NEW"), "s.id = t.id", source_alias="s", target_alias="t")
    merge.when_matched_update({"labelIds": "s.labelIds"}).execute()
    writer = part(tmp_path)
    writer.merge(labels(a2="OLD"), inserts=rows("c1"))
    assert stored(tmp_path) == {"a1": "NEW", "a2": "OLD", "b1": "INBOX", "b2": "INBOX", "c1": "INBOX"}
    assert writer.rows(["a1"])["payload"].to_pylist()[0]["parts"][0]["body"]["data"] == "x"


def test_other_readers_see_the_rewritten_rows(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    writer.merge(labels(a1="NEW"), ["b1"])
    frame = pl.read_delta(str(tmp_path / "messages")).sort("id")
    assert frame["id"].to_list() == ["a1", "a2", "b2"]
    assert frame["labelIds"].to_list() == [["NEW"], ["INBOX"], ["INBOX"]]
    assert frame["payload"].struct.field("parts").to_list()[0][0]["body"]["data"] == "x"


def test_the_text_of_a_large_mail_is_not_in_the_footer(tmp_path: Path) -> None:
    writer = part(tmp_path)
    writer.append(rows("a", "b", body="y" * 1_000_000))
    writer.merge(labels(a="NEW"))
    (path,) = files(tmp_path)
    data = Path(path).read_bytes()
    assert int.from_bytes(data[-8:-4], "little") < 50_000


def test_a_path_with_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    two_files(tmp_path)
    log = tmp_path / "messages" / "_delta_log"
    (commit,) = [path for path in log.glob("*.json") if '\\"a1\\"' in path.read_text()]
    lines = [json.loads(line) for line in commit.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = line["add"]["path"].replace("part-", "%70art-")  # the same file
    commit.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(LakeError, match="encodes a path"):
        part(tmp_path).merge(labels(a1="NEW"))
    assert stored(tmp_path)["a1"] == "INBOX"


def test_a_damaged_file_is_an_error_of_the_lake(tmp_path: Path) -> None:
    writer = two_files(tmp_path)
    for path in files(tmp_path):
        Path(path).write_bytes(b"PAR1 damaged")
    with pytest.raises(LakeError, match="can't be written"):
        writer.merge(labels(a1="NEW"))


def test_rows_are_found_by_all_columns_of_their_key(tmp_path: Path) -> None:
    view = VIEWS["message_labels"]
    table = Lake(str(tmp_path)).view(view)
    writer = PartitionWriter(table, ADA, view.primary_key)

    def of(*keys: tuple[str, str], name: str | None = None) -> pa.Table:
        entries = [{"message_id": m, "label_id": n, "label_name": name} for m, n in keys]
        fields = [view.schema.field(n) for n in ("message_id", "label_id", "label_name")]
        return pa.Table.from_pylist(entries, pa.schema(fields))

    everything = [("m1", "A"), ("m1", "B"), ("m2", "A"), ("m2", "B")]
    whole = of(*everything, name="old")
    for field in view.schema:
        if field.name not in whole.schema.names:
            whole = whole.append_column(field, pa.nulls(whole.num_rows, field.type))
    writer.append(whole.select(view.schema.names))
    writer.merge(of(("m1", "B"), name="new"), of(("m2", "A")).select(["message_id", "label_id"]))
    found = DeltaTable(tmp_path / "message_labels").to_pyarrow_table().to_pylist()
    named = {(row["message_id"], row["label_id"]): row["label_name"] for row in found}
    assert named == {("m1", "A"): "old", ("m1", "B"): "new", ("m2", "B"): "old"}


IDS = st.sampled_from([f"{letter}{number}" for letter in "abcdé" for number in range(4)])
CHANGES = st.lists(
    st.tuples(st.sets(IDS, max_size=5), st.sets(IDS, max_size=3), st.sets(IDS, max_size=4)), max_size=5
)


@examples(12)
@given(CHANGES, st.booleans(), st.sampled_from([0, 2**20]), st.sampled_from([1, 2, 1_000]))
@example([({"a0", "b0"}, {"a1"}, {"c0"}), ({"a0"}, {"b0"}, {"b1"}), ({"b0"}, set(), set())], True, 0, 1)
def test_rows_equal_a_model(
    changes: list[tuple[set[str], set[str], set[str]]], keeps: bool, small: int, batch: int
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr("gmail_assets.delta.rewrite._SMALL_BYTES", small)
        patch.setattr("gmail_assets.delta.parquet_files._BATCH_ROWS", batch)
        writer = part(folder, keep_deleted=keeps)
        writer.append(rows("a0", "a1", "b0"))
        model = dict.fromkeys(("a0", "a1", "b0"), ("INBOX", False))
        for step, (set_, removed, new) in enumerate(changes):
            label = f"L{step}"
            inserts = sorted(new - model.keys() - set_ - removed)
            writer.merge(
                labels(**dict.fromkeys(sorted(set_), label)),
                sorted(removed - set_),
                rows(*inserts) if inserts else None,
                writer.state.synced(step + 1),
            )
            model.update(dict.fromkeys(set_ & model.keys(), (label, False)))
            for key in (removed - set_) & model.keys():
                if keeps:
                    model[key] = (model[key][0], True)
                else:
                    del model[key]
            model.update(dict.fromkeys(inserts, ("INBOX", False)))
            members = part(folder, keep_deleted=keeps).members()
            found = {row["id"]: (row["labelIds"][0], row["soft_deleted"]) for row in members.to_pylist()}
            assert found == model
            assert members.num_rows == len(model)


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_files_in_an_object_store_are_rewritten() -> None:
    with ObjectStore() as store:
        lake = store.lake("rewritten")
        writer = MailboxPartition(lake.table("messages"), ADA, "all", "full")
        body = random.Random(1).randbytes(3_000_000).hex()  # larger than a part of an upload
        writer.append(rows("a1", "a2", body=body))
        writer.append(rows("b1", "b2"))
        writer.merge(labels(a1="NEW"), ["b1"], rows("c1"), writer.state.synced(3))
        again = MailboxPartition(lake.table("messages"), ADA, "all", "full")
        found = again.rows(["a1", "a2", "b1", "b2", "c1"]).sort_by("id").to_pylist()
        assert [(row["id"], row["labelIds"]) for row in found] == [
            ("a1", ["NEW"]),
            ("a2", ["INBOX"]),
            ("b2", ["INBOX"]),
            ("c1", ["INBOX"]),
        ]
        assert found[0]["payload"]["parts"][0]["body"]["data"] == body
        assert again.state.cursor == 3
