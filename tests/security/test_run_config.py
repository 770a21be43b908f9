"""A user who can launch a run can't choose where secrets and mail are sent, nor read environment variables."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dagster_server import serving
from support.leaks import leaks, leaks_in_folder
from support.trap import Trap

from gmail_assets import GmailAccess, GmailResource, LakeLocation, LakeResource, gmail_definitions
from gmail_client.emulator import Emulator

AUDIT = Path(__file__).parents[1] / "lib" / "audit"
ROOT = Path(__file__).parents[2]

ROOTS = ("api_root", "oauth_root", "access", "location", "uri", "storage_options", "quota", "workers")
SECRETS = ("client_id", "client_secret", "refresh_token", "access_token", "service_account_file")


def source_types(field: Any, path: str = "") -> Iterator[str]:
    """The paths at which a config can name an environment variable."""
    config = getattr(field, "config_type", field)
    if type(config).__name__.endswith("SourceType"):
        yield path
    for name, inner in (getattr(config, "fields", None) or {}).items():
        yield from source_types(inner, f"{path}.{name}")
    for inner in getattr(config, "type_params", None) or ():
        yield from source_types(inner, path)


def run_config_types(definitions: dg.Definitions, job: str) -> list[str]:
    schema = definitions.resolve_job_def(job).run_config_schema
    return sorted(source_types(schema.run_config_schema_type))


@pytest.fixture
def definitions(bare: Path) -> dg.Definitions:
    return gmail_definitions(
        mailboxes=["ada@gmail.test"],
        gmail=GmailResource(GmailAccess(access_token="ya29.hush", api_root="http://127.0.0.1:9")),
        lake=LakeResource(LakeLocation(uri=str(bare / "lake"))),
    )


@pytest.mark.parametrize("job", ["gmail_all", "gmail_sync", "gmail_snapshots", "gmail_checks"])
def test_run_config_cannot_read_the_environment(definitions: dg.Definitions, job: str) -> None:
    # The folder of Dagster's IO manager, to which this product writes nothing.
    assert set(run_config_types(definitions, job)) <= {".resources.io_manager.config.base_dir"}


def test_the_search_for_such_fields_finds_them(bare: Path) -> None:
    class Config(dg.Config):
        text: str | None = None
        number: int = 1

    @dg.asset
    def one(config: Config) -> None: ...

    found = run_config_types(dg.Definitions([one], jobs=[dg.define_asset_job("job", "*")]), "job")
    assert {".ops.one.config.text", ".ops.one.config.number"} <= set(found)


@cache
def snapshots_job() -> dg.JobDefinition:
    return gmail_definitions(mailboxes=["ada@gmail.test"]).resolve_job_def("gmail_snapshots")


scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
values = st.recursive(
    scalars | st.fixed_dictionaries({"env": st.sampled_from(["HOME", "PATH"])}),
    lambda inner: st.dictionaries(st.sampled_from([*ROOTS, *SECRETS]), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["gmail", "gmail_lake"]),
    st.dictionaries(st.sampled_from([*ROOTS, *SECRETS]), values, min_size=1, max_size=3),
)
def test_any_config_of_our_resources_is_refused(key: str, config: dict[str, Any]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entr"):
        dg.validate_run_config(snapshots_job(), {"resources": {key: {"config": config}}})


def attacks(evil: str) -> Iterator[dict[str, Any]]:
    """Run configs that name another server, or a variable of the environment."""
    for name in ("api_root", "oauth_root"):
        yield {"resources": {"gmail": {"config": {name: evil}}}}
        yield {"resources": {"gmail": {"config": {"access": {name: evil}}}}}
        yield {"resources": {"gmail": {"config": {name: {"env": "EVIL"}}}}}
    for name in ("client_secret", "refresh_token", "quota"):
        yield {"resources": {"gmail": {"config": {name: {"env": "PLANTED"}}}}}
    yield {"resources": {"gmail_lake": {"config": {"uri": f"s3://evil/{evil}"}}}}
    yield {"resources": {"gmail_lake": {"config": {"storage_options": {"AWS_ENDPOINT_URL": evil}}}}}
    yield {"resources": {"gmail_lake": {"config": {"location": {"uri": evil}}}}}
    yield {"resources": {"access": {"config": {"api_root": evil}}}}
    yield {"resources": {"io_manager": {"config": {"base_dir": {"env": "PLANTED"}}}}}
    yield {"resources": {"io_manager": {"config": {"base_dir": evil}}}}
    yield {"loggers": {"console": {"config": {"log_level": {"env": "PLANTED"}, "name": evil}}}}
    yield {"execution": {"config": {"marker_to_close": {"env": "PLANTED"}}}}
    for name in ("replay_from", "time_budget_minutes", "full_refresh", "reconcile"):
        yield {"ops": {"gmail_mail": {"config": {name: {"env": "PLANTED"}}}}}
    yield {"ops": {"gmail_labels": {"config": {"api_root": evil}}}}
    yield {"ops": {"gmail_labels": {"inputs": {"x": {"value": {"env": "PLANTED"}}}}}}


@pytest.mark.slow
def test_a_page_of_another_site_can_launch_runs_and_gets_nothing(bare: Path, trap: Trap) -> None:
    home, log = bare / "home", bare / "connects.log"
    with Emulator(messages=3, seed=5, mean_json_kb=2.0) as gmail:
        secrets = {name: value for name, value in gmail.environment().items() if "ROOT" not in name}
        del secrets["GMAIL_USER_ID"], secrets["GMAIL_CLIENT_ID"]
        secrets["PLANTED"] = "planted-8d1f0c7e5b"
        environment = {
            **gmail.environment(),
            "GMAIL_LAKE": str(bare / "lake"),
            "GMAIL_QUOTA": "1200000",
            "GMAIL_CREDENTIALS_FILE": str(bare / "no-login.json"),
            "PLANTED": secrets["PLANTED"],
            "EVIL": trap.url,
            "CONNECT_LOG": str(log),
            "PYTHONPATH": os.pathsep.join([str(AUDIT), str(ROOT)]),
        }
        with serving(home, environment) as dagster:
            answers = [
                dagster.launch(job, "me", config)
                for config in attacks(trap.url)
                for job in ("gmail_snapshots", "gmail_sync")
            ]
            # Dagster does let the page launch a run: the refusals below are not because the server is unreachable.
            launched = [dagster.launch(job, "me", {}) for job in ("gmail_snapshots", "gmail_sync")]
            statuses = dagster.wait_for_runs()
            seen = {run: dagster.events(run).encode() for run in statuses}
        gmail_port = int(gmail.url.rpartition(":")[2])
    assert all(answer["__typename"] == "LaunchRunSuccess" for answer in launched), launched
    assert all(statuses[answer["run"]["runId"]] == "SUCCESS" for answer in launched)
    refused = [answer for answer in answers if answer["__typename"] == "RunConfigValidationInvalid"]
    assert len(refused) > 30
    assert trap.received == []
    connected = log.read_text().splitlines()
    assert any(str(gmail_port) in line for line in connected)
    assert [line for line in connected if str(trap.port) in line] == []
    assert [
        line for line in connected if line.startswith("(") and "127.0.0.1" not in line and "::1" not in line
    ] == []
    assert leaks(secrets, {"answers": repr(answers).encode(), **seen}) == []
    assert leaks_in_folder(secrets, [home, bare / "lake"]) == []
