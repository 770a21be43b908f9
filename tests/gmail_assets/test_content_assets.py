"""`attachment_contents` in Dagster and in the commands: lineage, runs, status, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gmail_assets import gmail_definitions
from gmail_assets.cli import main
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator
from gmail_client.views import CONTENTS, LINKS

GET = "messages.attachments.get"
NAMES = ("messages", "emails", "attachments", CONTENTS)
SPEC: dict[str, Any] = {"objects": [{"table": {"source_table": name}} for name in NAMES]}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["gmail", name])


@pytest.mark.usefixtures("clean_environment")
def test_it_is_downstream_of_attachments_and_opt_in() -> None:
    graph = gmail_definitions(spec=SPEC).resolve_asset_graph()
    assert graph.get(key(CONTENTS)).parent_keys == {key("account"), key("messages"), key("attachments")}
    assert not gmail_definitions().resolve_asset_graph().has(key(CONTENTS))


@pytest.mark.slow
def test_the_sync_job_fetches_contents_once(environment: Emulator, lake_of_test: Lake) -> None:
    address = environment.addresses[0]
    found = []
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            job = gmail_definitions(mailboxes=[address], spec=SPEC).resolve_job_def("gmail_sync")
            result = job.execute_in_process(partition_key=address, instance=instance)
        assert result.success
        found += [
            event.materialization.metadata
            for event in result.get_asset_materialization_events()
            if event.asset_key == key(CONTENTS)
        ]
    first, second = found
    assert first["sync_mode"].value == "contents"
    assert first["links_table"].value == LINKS
    assert first["quota_units"].value == environment.usage.units[GET] > 0
    assert (second["quota_units"].value, second["rows_written"].value) == (0, 0)
    assert second["dagster/partition_row_count"].value == first["rows_written"].value


@pytest.mark.slow
def test_a_run_over_several_mailboxes_fetches_those_of_each(
    environment: Emulator,
    lake_of_test: Lake,
    clean_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (clean_environment / "spec.json").write_text(json.dumps(SPEC))
    for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "USER_ID"):
        monkeypatch.delenv(f"GMAIL_{name}")
    key_file = environment.service_account_file(clean_environment / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(key_file))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(environment.addresses))
    monkeypatch.setenv("GMAIL_SPEC", str(clean_environment / "spec.json"))
    assert main(["sync", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["mailboxes"]
    units = [run["tables"][CONTENTS]["quota_units"] for run in runs]
    assert sum(units) == environment.usage.units[GET]
    assert min(units) > 0
    assert {row["mailbox"] for row in rows_of(lake_of_test, LINKS)} == set(environment.addresses)


def rows_of(lake: Lake, name: str) -> list[dict[str, Any]]:
    delta = lake.find(name)
    return [] if delta is None else list(delta.to_pyarrow_table(columns=["mailbox"]).to_pylist())


def test_commands_reach_it(
    environment: Emulator,
    lake_of_test: Lake,
    clean_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sync", "--quiet", "messages", "emails", "attachments"]) == 0
    assert lake_of_test.find(CONTENTS) is None
    (clean_environment / "spec.json").write_text(json.dumps(SPEC))
    monkeypatch.setenv("GMAIL_SPEC", str(clean_environment / "spec.json"))
    capsys.readouterr()
    assert main(["plan", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["mailboxes"]
    environment.usage.reset()
    # Named, it needs no spec.
    monkeypatch.delenv("GMAIL_SPEC")
    assert main(["sync", "--quiet", CONTENTS]) == 0
    assert (
        environment.usage.units[GET] == plan["units"]["attachments"] == plan["tables"][CONTENTS]["fetch"] * 20
    )
    monkeypatch.setenv("GMAIL_SPEC", str(clean_environment / "spec.json"))
    capsys.readouterr()
    assert main(["status", "--offline", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)["mailboxes"]
    assert status["tables"][CONTENTS]["rows"] == len(rows_of(lake_of_test, CONTENTS))
    assert main(["plan"]) == 0
    assert "0 attachments are fetched for 0 of these units" in " ".join(capsys.readouterr().out.split())
