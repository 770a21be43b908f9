"""The derived assets in Dagster: lineage, runs, checks, cost."""

from __future__ import annotations

import dagster as dg
import pytest
from support.lake import true_rows

from gmail_assets import gmail_definitions
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.scan import read_columns
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec, SpecTable
from gmail_client.views import VIEWS


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["gmail", name])


def run(job: str, mailbox: str) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = gmail_definitions(mailboxes=[mailbox])
        return definitions.resolve_job_def(job).execute_in_process(partition_key=mailbox, instance=instance)


@pytest.mark.usefixtures("clean_environment")
def test_derived_assets_are_downstream_of_messages_and_labels():
    graph = gmail_definitions().resolve_asset_graph()
    assert graph.get(key("emails")).parent_keys == {key("messages"), key("labels")}
    assert graph.get(key("message_labels")).parent_keys == {key("messages"), key("labels")}
    assert graph.get(key("attachments")).parent_keys == {key("messages"), key("labels"), key("emails")}


def test_a_run_updates_derived_assets_without_quota(environment: Emulator, lake_of_test: Lake):
    address = environment.addresses[0]
    result = run("gmail_sync", address)
    assert result.success
    found = {
        event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()
    }
    for name in VIEWS:
        metadata = found[key(name)]
        assert metadata["sync_mode"].value == "derived"
        assert metadata["quota_units"].value == 0
        assert metadata["dagster/table_name"].value == name
        assert metadata["dagster/partition_row_count"].value > 0
    messages = true_rows(environment, SpecTable(source_table="messages"), address)
    assert found[key("emails")]["dagster/row_count"].value == len(messages)
    checks = [e for e in result.get_asset_check_evaluations() if e.asset_key.path[-1] in VIEWS]
    assert len(checks) == 2 * len(VIEWS)
    assert all(check.passed and check.partition == address for check in checks)


def test_a_renamed_label_is_applied_after_the_snapshots(environment: Emulator, lake_of_test: Lake):
    address = environment.addresses[0]
    assert run("gmail_all", address).success
    mailbox = environment.mailbox()
    used = {label for row in environment.truth("messages") for label in row["labelIds"]}
    label = next(row for row in environment.truth("labels") if row["type"] == "user" and row["id"] in used)
    mailbox.labels.change(label["id"], {"name": "Another name"}, replace=False)
    assert run("gmail_snapshots", address).success
    schema = VIEWS["message_labels"].schema
    rows = read_columns(lake_of_test.view(VIEWS["message_labels"]), address, schema.names, schema).to_pylist()
    assert {row["label_name"] for row in rows if row["label_id"] == label["id"]} == {"Another name"}


@pytest.mark.usefixtures("clean_environment")
def test_a_spec_selects_derived_assets():
    spec = {"objects": [{"table": {"source_table": name}} for name in ("messages", "emails")]}
    specs = gmail_definitions(spec=spec).resolve_all_asset_specs()
    assert {spec.key for spec in specs} == {key("account"), key("messages"), key("emails")}
    without = gmail_definitions(spec={"objects": [{"table": {"source_table": "messages"}}]})
    assert {spec.key for spec in without.resolve_all_asset_specs()} == {key("account"), key("messages")}


def test_a_spec_without_their_sources_is_refused():
    with pytest.raises(ConfigurationError, match="'attachments' without 'emails'"):
        Spec.parse({"objects": [{"source_table": name} for name in ("messages", "attachments")]})
