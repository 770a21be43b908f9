"""The sensor that registers new mailboxes as partitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gmail_assets import gmail_definitions
from gmail_assets.delta.forgotten import forget
from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec

MAIL = [entry for entry in Spec.default().tables if entry.source_table in ("messages", "threads")]


@pytest.fixture
def directory(environment: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The environment names a service account and the directory of the emulator."""
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_USER_ID"):
        monkeypatch.delenv(name)
    key = environment.service_account_file(tmp_path / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(key))
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    monkeypatch.setenv("GMAIL_DIRECTORY_ADMIN", environment.addresses[0])
    return environment


def evaluated(name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    """One tick of a sensor, as the daemon evaluates it."""
    definitions = gmail_definitions()
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=definitions, resources=definitions.resources
    ) as context:
        return definitions.get_repository_def().get_sensor_def(name).evaluate_tick(context)


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    """One tick of the discovery sensor; its requests are carried out."""
    result = evaluated("gmail_discovery", instance, cursor)
    for request in result.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    return result


def test_new_mailboxes_become_partitions_without_a_reload(directory: Emulator) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance)
        assert sorted(instance.get_dynamic_partitions("gmail_mailboxes")) == sorted(directory.addresses)
        assert "2 mailboxes found, 2 new" in str(first.skip_message)
        assert "no.mailbox.example@gmail.test (no Gmail mailbox)" in str(first.skip_message)
        directory.change_user("new@gmail.test")
        second = tick(instance, first.cursor)
        assert instance.get_dynamic_partitions("gmail_mailboxes")[-1] == "new@gmail.test"
        assert not tick(instance, second.cursor).dynamic_partitions_requests


def test_a_mailbox_that_disappears_keeps_its_partition_and_is_reported(directory: Emulator) -> None:
    one, two = directory.addresses
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance)
        directory.change_user(two, suspended=True)
        second = tick(instance, first.cursor)
        assert f"the rows are kept: {two} (suspended)" in str(second.skip_message)
        directory.remove_user(two)
        third = tick(instance, second.cursor)
        assert f"{two} (not found any more)" in str(third.skip_message)
        assert sorted(instance.get_dynamic_partitions("gmail_mailboxes")) == sorted((one, two))
        directory.change_user(two)
        assert "not to be read any more" not in str(tick(instance, third.cursor).skip_message)


def test_a_refusal_changes_nothing(directory: Emulator) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        directory.faults.add(Fault("directory.users.list", status=403, reason="forbidden"))
        with pytest.raises(dg.Failure, match="could not be listed"):
            tick(instance)
        assert len(instance.get_dynamic_partitions("gmail_mailboxes")) == 2


def test_an_erased_mailbox_is_not_registered_again(directory: Emulator, lake_of_test: Lake) -> None:
    forget(lake_of_test, directory.addresses[1])
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(instance)
        assert instance.get_dynamic_partitions("gmail_mailboxes") == [directory.addresses[0]]
    assert "erased with `gmail-assets forget`" in str(result.skip_message)


def test_registered_mailboxes_are_looked_at_by_the_change_sensor(directory: Emulator) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tick(instance)
        result = evaluated("gmail_changes", instance)
    assert all(address in str(result.cursor) for address in directory.addresses)


def test_mailboxes_that_are_given_in_code_stay_fixed(directory: Emulator) -> None:
    repository = gmail_definitions(mailboxes=["ada@gmail.test"]).get_repository_def()
    assert not repository.has_sensor_def("gmail_discovery")


def test_a_renamed_mailbox_gets_a_partition_with_its_new_name_and_goes_on(
    directory: Emulator, lake_of_test: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMAIL_SENSOR_INITIAL_LOAD", "true")
    one, old = directory.addresses
    for name in (one, old):
        sync(GmailClient.from_settings().mailbox(name), lake_of_test, MAIL)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance)
        evaluated("gmail_changes", instance)
        directory.rename_user(old, "new@gmail.test")
        second = tick(instance, first.cursor)
        assert sorted(instance.get_dynamic_partitions("gmail_mailboxes")) == [one, "new@gmail.test"]
        assert "Registered, but not to be read" not in str(second.skip_message)
        changes = evaluated("gmail_changes", instance)
        entry = json.loads(str(changes.cursor))["new@gmail.test"]
        assert entry["tables_synced_through"] == entry["latest_history_id"]  # nothing to load
        directory.mailbox("new@gmail.test").insert(directory.mailbox("new@gmail.test").random_mail())
        directory.usage.reset()
        result = materialize_mail(instance, "new@gmail.test")
        assert result.success
        assert directory.usage.calls["messages.get"] + directory.usage.calls["threads.get"] == 1
    stored = lake_of_test.find("messages")
    assert stored is not None
    assert {row["mailbox"] for row in stored.partitions()} == {one, old}


def materialize_mail(instance: dg.DagsterInstance, mailbox: str) -> dg.ExecuteInProcessResult:
    keys = [dg.AssetKey(["gmail", table]) for table in ("messages", "threads")]
    job = gmail_definitions().resolve_job_def("gmail_all")
    return job.execute_in_process(instance=instance, partition_key=mailbox, asset_selection=keys)
