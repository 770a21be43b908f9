"""Erasing a mailbox: killed at any step, during a run of the mailbox, in older lakes, with hostile names."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from support.chaos import Killed
from support.traces import files_naming

from gmail_assets.delta import erase
from gmail_assets.delta.errors import WriterConflictError
from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages
from gmail_assets.operations.forget import forget_mailbox, forget_messages, resolve
from gmail_assets.spark_engine import _writer
from gmail_assets.views import ViewSources, derive
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec, SpecTable
from lakeflow_entry.report import REPORT

ADA, BOB = "ada@example.test", "bob@example.test"
V2 = Path(__file__).parents[2] / "fixtures" / "lake_state_v2.tar.gz"


def partition(lake: Lake, address: str) -> MailboxPartition:
    return MailboxPartition(lake.table("messages"), address, "all", "full")


def rows(*ids: str) -> pa.Table:
    found = [
        {"id": i, "threadId": i, "labelIds": ["INBOX"], "historyId": "9", "historySequence": 9} for i in ids
    ]
    return pa.Table.from_pylist(
        found, schema=pa.schema([field for field in _schema() if field.name != "mailbox"])
    )


def _schema() -> pa.Schema:
    from gmail_assets.delta.lake import with_mailbox
    from gmail_client.schema import SCHEMAS

    return with_mailbox(SCHEMAS["messages"])


def fill(lake: Lake, *addresses: str) -> None:
    registry = MailboxRegistry(lake)
    for address in addresses:
        registry.check_name("me" if address == ADA else address, address)
        UnfetchedMessages(lake).replace(address, "messages", {"z": Unfetched("z", f"refused for {address}")})
        mine = partition(lake, address)
        mine.append(rows("1", "2"), mine.state.loading(5))
        mine.append(rows("3"), mine.state.synced(7))
        mine.merge(rows("1"), removed=["2"])
        derive(lake, address, ViewSources.of(Spec.default()), ["message_labels"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    fill(Lake(str(folder / "lake")), BOB, ADA)
    return folder


@pytest.fixture(autouse=True)
def without_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def assert_erased(folder: Path, lake: Lake) -> None:
    assert files_naming(folder, ADA) == []
    assert sorted(lake.table("messages").mailboxes()) == [BOB]
    bob = partition(lake, BOB)
    assert (bob.state.cursor, bob.count()) == (7, 2)
    registry = MailboxRegistry(lake)
    assert UnfetchedMessages(lake).of_table(BOB, "messages").keys() == {"z"}
    assert registry.address_of(BOB) == BOB
    with pytest.raises(ConfigurationError, match="must not be loaded"):
        refuse_forgotten(lake, ADA)


def steps_of_a_run(template: Path, tmp_path: Path) -> list[str]:
    steps: list[str] = []
    shutil.copytree(template, tmp_path / "counted")
    forget_mailbox(Lake(str(tmp_path / "counted" / "lake")), ADA, clean_log=True, step=steps.append)
    return steps


@pytest.mark.slow
def test_killed_after_any_step_it_is_completed_by_the_next_run(template: Path, tmp_path: Path) -> None:
    steps = steps_of_a_run(template, tmp_path)
    assert len(steps) > 12
    for number in range(len(steps)):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        lake = Lake(str(folder / "lake"))
        done: list[str] = []

        def step(text: str, done: list[str] = done, last: int = number) -> None:
            done.append(text)
            if len(done) > last:
                raise Killed

        with pytest.raises(Killed):
            forget_mailbox(lake, resolve(lake, "me"), clean_log=True, step=step)
        # After the first step, no run loads it again.
        with pytest.raises(ConfigurationError, match="must not be loaded"):
            MailboxRegistry(lake).check_name("me", ADA)
        forget_mailbox(lake, resolve(lake, ADA), clean_log=True)
        assert_erased(folder, lake)
        shutil.rmtree(folder)


class _Dying(DeltaStorageHandler):
    """Raises an error at the second file."""

    deleted = 0

    def delete_file(self, path: str) -> None:
        type(self).deleted += 1
        if self.deleted > 1:
            raise Killed
        super().delete_file(path)


def test_killed_between_two_files(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(template / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    with monkeypatch.context() as patched:
        patched.setattr(erase, "DeltaStorageHandler", _Dying)
        with pytest.raises(Killed):
            forget_mailbox(lake, ADA)
    forget_mailbox(lake, ADA, clean_log=True)
    assert_erased(tmp_path, lake)


def test_killed_while_a_log_is_cleaned_the_tables_keep_their_retention(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(template / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    DeltaTable(lake.location("messages")).alter.set_table_properties(
        {"delta.logRetentionDuration": "interval 99 days"}
    )
    with monkeypatch.context() as patched:

        def die(self: DeltaTable) -> None:
            raise Killed

        patched.setattr(DeltaTable, "cleanup_metadata", die)
        with pytest.raises(Killed):
            erase.clean_log(lake, "message_labels", ADA)
    for name in ("messages", "message_labels"):
        erase.clean_log(lake, name, ADA)
    found = [
        DeltaTable(lake.location(name)).metadata().configuration for name in ("messages", "message_labels")
    ]
    assert [one["delta.logRetentionDuration"] for one in found] == ["interval 99 days", "interval 30 days"]
    assert [one["delta.deletedFileRetentionDuration"] for one in found] == ["interval 1 week"] * 2


def test_the_commit_of_a_running_sync_is_refused(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    loading, other = partition(lake, ADA), partition(lake, BOB)
    first_load = MailboxPartition(lake.table("threads"), ADA, "all", "full")
    forget_mailbox(lake, ADA)
    with pytest.raises(WriterConflictError):
        loading.append(rows("4"), loading.state)
    with pytest.raises(WriterConflictError):
        first_load.commit(first_load.state.loading(1))
    other.append(rows("4"), other.state)
    forget_mailbox(lake, ADA, clean_log=True)
    assert files_naming(tmp_path, ADA) == []
    again = partition(lake, ADA)
    assert (again.state.cursor, again.state.load_start, again.count(), again.changed_format) == (
        None,
        None,
        0,
        False,
    )


def test_nothing_of_a_mailbox_is_left_in_a_lake_of_earlier_code(tmp_path: Path) -> None:
    with tarfile.open(V2) as archive:
        archive.extractall(tmp_path, filter="data")
    lake = Lake(str(tmp_path / "lake"))
    for address in ("complete@example.test", "loading@example.test"):
        forget_mailbox(lake, address, clean_log=True)
        assert files_naming(tmp_path, address) == []
    filtered = MailboxPartition(lake.table("messages"), "filtered@example.test", "0123456789ab", "full")
    assert filtered.state.cursor == 70
    reading = MailboxPartition(lake.table("messages"), "reading@example.test", "all", "full")
    assert reading.state.reread is not None


def test_a_message_of_earlier_code_is_erased_without_reading_its_mailbox_again(tmp_path: Path) -> None:
    with tarfile.open(V2) as archive:
        archive.extractall(tmp_path, filter="data")
    lake = Lake(str(tmp_path / "lake"))
    address = "complete@example.test"
    result = forget_messages(lake, address, ["a"])
    assert (result.rows["messages"], result.rows["emails"], result.rows["message_labels"]) == (1, 1, 1)
    assert partition(lake, address).state.cursor == 50
    results = derive(lake, address, ViewSources.of(Spec.default()))
    assert all(found.rows_written == found.rows_updated == 0 for found in results.values())


@pytest.mark.parametrize(
    "name", ["a'b@x.test", "a%40example.test", "ADA@example.test", "a b%@x", "../ada@example.test"]
)
def test_a_hostile_name_erases_only_its_own_rows(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / "lake"))
    others = (ADA, "a@example.test", "x")
    for address in (*others, name):
        mine = partition(lake, address)
        mine.append(rows("1", "2"), mine.state.synced(5))
        mine.merge(rows("1"), removed=["2"])
    files = set((tmp_path / "lake").rglob("*.parquet"))
    forget_mailbox(lake, name)
    assert sorted(lake.table("messages").mailboxes()) == sorted(others)
    gone = files - set((tmp_path / "lake").rglob("*.parquet"))
    assert len({path.parent for path in gone}) == 1
    assert partition(lake, ADA).count() == 1


def test_addresses_match_in_any_case_and_unknown_ones_are_refused(template: Path) -> None:
    lake = Lake(str(template / "lake"))
    assert resolve(lake, "me") == resolve(lake, "Ada@Example.TEST") == ADA
    assert resolve(lake, "new@example.test") == "new@example.test"
    with pytest.raises(ConfigurationError, match="has no mailbox"):
        resolve(lake, "nobody")


def test_a_remote_lake_is_listed_through_its_object_store(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(template / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    local = erase.delta_tables(lake)
    monkeypatch.setattr(Lake, "folder", property(lambda self: None))
    assert erase.delta_tables(lake) == local
    forget_mailbox(lake, resolve(lake, "me"), clean_log=True)
    # An object store has no folders; on disk, empty ones remain.
    assert [name for name in files_naming(tmp_path, ADA) if (tmp_path / name).is_file()] == []
    assert sorted(lake.table("messages").mailboxes()) == [BOB]
    assert partition(lake, BOB).count() == 2


def test_a_spark_worker_writes_nothing_of_a_forgotten_mailbox(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template / "lake", tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    forget_mailbox(lake, ADA)
    messages = rows("7", "8")
    for address, written in ((BOB, [2]), (ADA, [])):
        columns = {"mailbox": [address] * 2, REPORT: pa.nulls(2, pa.string())}
        batch = pa.table({name: messages[name] for name in messages.schema.names} | columns).to_batches()[0]
        write = _writer(lake, [SpecTable(source_table="messages")], {address: 9})
        (batch_of_reports,) = write(iter([batch]))
        assert [row["written"] for row in batch_of_reports.to_pylist() if row["source"]] == written
        reports = [row["report"] for row in batch_of_reports.to_pylist() if row["report"]]
        assert bool(reports) is (address == ADA)
        assert all("must not be loaded" in report for report in reports)
    assert sorted(lake.table("messages").mailboxes()) == [BOB]
