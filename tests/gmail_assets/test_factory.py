"""The definitions as Dagster loads them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from support.lake import assert_lake_equals_mailbox
from support.matrix import slow_except

from gmail_assets import GmailAccess, GmailResource, LakeLocation, LakeResource, gmail_definitions
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS


def specs_of(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


@pytest.mark.usefixtures("clean_environment")
def test_an_asset_for_each_table_in_one_group_partitioned_by_mailbox():
    definitions = gmail_definitions(mailboxes=["a@gmail.test", "b@gmail.test"])
    dg.Definitions.validate_loadable(definitions)
    specs = specs_of(definitions)
    account = specs.pop("gmail/account")
    assert account.kinds == {"gmail"}
    assert account.group_name == "gmail"
    assert specs.keys() == {f"gmail/{name}" for name in (*CATALOGUE, *VIEWS)}
    for name, spec in specs.items():
        assert spec.group_name == "gmail"
        assert spec.kinds == {"gmail", "deltalake"}
        assert not spec.owners
        upstream = {dependency.asset_key.path[-1] for dependency in spec.deps}
        assert ("account" in upstream) == (name.removeprefix("gmail/") in CATALOGUE)
        assert spec.partitions_def is not None
        assert spec.partitions_def.get_partition_keys() == ["a@gmail.test", "b@gmail.test"]


@pytest.mark.usefixtures("clean_environment")
def test_every_column_is_described():
    specs = specs_of(gmail_definitions())
    del specs["gmail/account"]
    for name, spec in specs.items():
        schema = spec.metadata["dagster/column_schema"]
        assert schema.columns[0].name == "mailbox"
        table = {**CATALOGUE, **VIEWS}[name.removeprefix("gmail/")]
        top = [column for column in schema.columns if "." not in column.name]
        assert len(top) == len(table.schema) + 1
        assert all(column.description for column in schema.columns)
        assert spec.description


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    ("given", "pool"), [({}, "gmail"), ({"group_name": "work"}, "work"), ({"pool": "p"}, "p")]
)
def test_every_step_that_calls_gmail_is_in_the_pool(given: dict[str, str], pool: str):
    job = gmail_definitions(**given).resolve_job_def(f"{given.get('group_name', 'gmail')}_all")
    pools = {node.definition.name: node.definition.pools for node in job.graph.nodes}
    without_gmail = {name for name, found in pools.items() if not found}
    assert without_gmail == {"gmail_views", "gmail_views_checks"}
    assert all(found == {pool} for name, found in pools.items() if name not in without_gmail)


@pytest.mark.usefixtures("clean_environment")
def test_the_definitions_that_the_workspace_loads():
    from gmail_assets.definitions import defs

    dg.Definitions.validate_loadable(defs)
    assert defs.executor is dg.in_process_executor
    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"gmail_all", "gmail_sync", "gmail_snapshots"}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "gmail_changes",
        "default_automation_condition_sensor",
    }
    assert [schedule.name for schedule in repository.schedule_defs] == ["gmail_daily_snapshots"]


@pytest.mark.usefixtures("clean_environment")
def test_merges_into_a_project_that_has_resources_executor_and_jobs_of_its_own():
    @dg.asset(deps=[dg.AssetKey(["raw", "mail", "messages"])])
    def senders(lake: dg.ResourceParam[str]) -> None: ...

    own = dg.Definitions(assets=[senders], resources={"lake": "theirs"}, executor=dg.multiprocess_executor)
    merged = dg.Definitions.merge(own, gmail_definitions(key_prefix=["raw", "mail"], group_name="mail"))
    dg.Definitions.validate_loadable(merged)
    assert "raw/mail/messages" in specs_of(merged)
    assert {job.name for job in merged.get_repository_def().get_all_jobs()} >= {"mail_all", "mail_sync"}


@pytest.mark.usefixtures("clean_environment")
def test_two_sets_of_mailboxes_in_one_project():
    first = gmail_definitions(key_prefix="home", group_name="home", mailboxes=["a@gmail.test"])
    second = gmail_definitions(key_prefix="work", group_name="work", mailboxes=["b@gmail.test"])
    both = dg.Definitions.merge(first, second)
    dg.Definitions.validate_loadable(both)
    assert len(specs_of(both)) == 2 * (len(CATALOGUE) + len(VIEWS) + 1)


@pytest.mark.usefixtures("clean_environment")
def test_the_pipeline_spec_selects_tables_options_and_names():
    definitions = gmail_definitions(
        spec={
            "connection_name": "unused",
            "objects": [
                {
                    "table": {
                        "source_table": "messages",
                        "destination_schema": "crm",
                        "destination_table": "mail",
                        "table_configuration": {"q": "newer_than:7d", "maxResults": "100", "deletes": "keep"},
                    }
                },
                {"table": {"source_table": "labels"}},
            ],
        },
        key_prefix=["raw", "gmail"],
    )
    dg.Definitions.validate_loadable(definitions)
    specs = specs_of(definitions)
    assert specs.keys() == {"raw/gmail/account", "raw/crm/mail", "raw/gmail/labels"}
    assert specs["raw/crm/mail"].metadata["options"] == "q=newer_than:7d, maxResults=100, deletes=keep"
    assert specs["raw/gmail/labels"].metadata["options"] == "defaults"
    assert specs["raw/crm/mail"].metadata["dagster/table_name"] == "mail"


@pytest.mark.usefixtures("clean_environment")
def test_snapshots_alone_need_no_sensor():
    definitions = gmail_definitions(spec={"objects": [{"table": {"source_table": "labels"}}]})
    dg.Definitions.validate_loadable(definitions)
    assert not definitions.sensors
    (checks,) = definitions.asset_checks
    assert {key.asset_key.path[-1] for key in checks.check_keys} == {"labels"}


@pytest.mark.usefixtures("clean_environment")
def test_spec_and_mailboxes_come_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "spec.yaml").write_text("objects: [{table: {source_table: profile}}]\n")
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    monkeypatch.setenv("GMAIL_MAILBOXES", "a@gmail.test, b@gmail.test")
    specs = specs_of(gmail_definitions())
    assert specs.keys() == {"gmail/account", "gmail/profile"}
    spec = specs["gmail/profile"]
    assert spec.partitions_def.get_partition_keys() == ["a@gmail.test", "b@gmail.test"]


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("GMAIL_SPEC", "nowhere.yaml", "nowhere.yaml"),
        ("GMAIL_QUOTA", "lots", "GMAIL_QUOTA"),
        ("GMAIL_SENSOR", "perhaps", "GMAIL_SENSOR is 'perhaps'"),
        ("GMAIL_SENSOR_INITIAL_LOAD", "2", "GMAIL_SENSOR_INITIAL_LOAD is '2'"),
        ("GMAIL_SENSOR_QUIET_MINUTES", "-1", "GMAIL_SENSOR_QUIET_MINUTES is '-1'"),
    ],
)
@pytest.mark.usefixtures("clean_environment")
def test_a_bad_setting_fails_the_loading_and_is_named(monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=complaint) as error:
        gmail_definitions()
    assert error.value.fix


@pytest.mark.usefixtures("clean_environment")
def test_sensor_and_schedule_are_off_by_default(monkeypatch):
    def statuses() -> tuple[object, object]:
        repository = gmail_definitions().get_repository_def()
        sensor = repository.get_sensor_def("gmail_changes")
        return sensor.default_status, repository.schedule_defs[0].default_status

    assert statuses() == (dg.DefaultSensorStatus.STOPPED, dg.DefaultScheduleStatus.STOPPED)
    monkeypatch.setenv("GMAIL_SENSOR", "true")
    monkeypatch.setenv("GMAIL_SCHEDULE", "true")
    assert statuses() == (dg.DefaultSensorStatus.RUNNING, dg.DefaultScheduleStatus.RUNNING)


@pytest.mark.usefixtures("clean_environment")
def test_the_schedule_requests_runs_over_all_mailboxes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GMAIL_MAILBOXES_PER_RUN", "2")
    definitions = gmail_definitions(mailboxes=["a@gmail.test", "b@gmail.test", "c@gmail.test"])
    schedule = definitions.get_repository_def().schedule_defs[0]
    with dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 1, 4, 17, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    ) as context:
        requests = schedule.evaluate_tick(context).run_requests
    assert requests[0].tags["dagster/asset_partition_range_start"] == "a@gmail.test"
    assert requests[0].tags["dagster/asset_partition_range_end"] == "b@gmail.test"
    assert requests[1].partition_key == "c@gmail.test"
    assert len({request.run_key for request in requests}) == 2


@pytest.mark.parametrize("same_lake", slow_except([True, False], [True]))
def test_two_accounts_in_one_code_location(
    mailbox_server: Emulator, clean_environment: Path, monkeypatch, same_lake: bool
):
    def account(name: str, address: str) -> dg.Definitions:
        client = mailbox_server.environment(address)
        monkeypatch.setenv(f"{name.upper()}_SECRET", client["GMAIL_CLIENT_SECRET"])
        monkeypatch.setenv(f"{name.upper()}_TOKEN", client["GMAIL_REFRESH_TOKEN"])
        access = GmailAccess(
            client_id=client["GMAIL_CLIENT_ID"],
            client_secret=dg.EnvVar(f"{name.upper()}_SECRET"),
            refresh_token=dg.EnvVar(f"{name.upper()}_TOKEN"),
            api_root=mailbox_server.url,
            oauth_root=mailbox_server.url,
            quota="1200000",
        )
        lake = clean_environment / ("lake" if same_lake else f"lake-{name}")
        return gmail_definitions(
            group_name=name,
            key_prefix=name,
            mailboxes=[address],
            gmail=GmailResource(access),
            lake=LakeResource(LakeLocation(uri=str(lake))),
        )

    first, second = mailbox_server.addresses
    tables = [entry for entry in Spec.default().tables if entry.source_table != "delegates"]
    both = dg.Definitions.merge(account("home", first), account("work", second))
    dg.Definitions.validate_loadable(both)
    with dg.DagsterInstance.ephemeral() as instance:
        for name, address in (("home", first), ("work", second)):
            result = both.resolve_job_def(f"{name}_all").execute_in_process(
                partition_key=address, instance=instance
            )
            assert result.success
    for name, address in (("home", first), ("work", second)):
        lake = Lake(str(clean_environment / ("lake" if same_lake else f"lake-{name}")))
        assert_lake_equals_mailbox(lake, mailbox_server, tables, address)
        assert lake.table("messages").mailboxes() == (sorted([first, second]) if same_lake else [address])
