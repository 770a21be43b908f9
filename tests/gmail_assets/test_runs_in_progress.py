"""Which mailboxes Dagster works on, whatever started the run and however it names them."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from gmail_assets.runs_in_progress import LOAD_TAG, REQUEST_TAG, RequestedRuns, RunsInProgress, request_name
from gmail_assets.sensor_cursor import Requested

NAMES = ["e@x.test", "d@x.test", "c@x.test", "b@x.test", "a@x.test"]
PARTITIONS = dg.StaticPartitionsDefinition(NAMES)
AT = 1_000_000.0


@dg.asset(partitions_def=PARTITIONS, config_schema={"mailboxes": dg.Field([str], default_value=[])})
def mail(context: dg.AssetExecutionContext) -> None:
    for mailbox in context.op_execution_context.op_config["mailboxes"]:
        if mailbox == "b@x.test":
            raise dg.Failure("revoked")
        context.log_event(dg.AssetMaterialization(mail.key, partition=mailbox))


DEFINITIONS = dg.Definitions(
    [mail], jobs=[dg.define_asset_job("job", [mail], executor_def=dg.in_process_executor)]
)


@dg.op(config_schema=dg.Field(dg.Any, is_required=False))
def other(context: dg.OpExecutionContext) -> None: ...


@dg.job
def foreign() -> None:
    other()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def listed(*mailboxes: str) -> dict[str, Any]:
    return {"ops": {"mail": {"config": {"mailboxes": list(mailboxes)}}}}


@pytest.mark.parametrize(
    ("tags", "config", "expected"),
    [
        ({"dagster/partition": "c@x.test"}, {}, {"c@x.test"}),
        (
            {
                "dagster/asset_partition_range_start": "d@x.test",
                "dagster/asset_partition_range_end": "b@x.test",
            },
            {},
            {"d@x.test", "c@x.test", "b@x.test"},
        ),
        ({}, listed("a@x.test", "e@x.test"), {"a@x.test", "e@x.test"}),
        (
            {"dagster/asset_partition_range_start": "gone", "dagster/asset_partition_range_end": "b@x.test"},
            {},
            set(),
        ),
        ({}, {"ops": {"other": {"config": {"mailboxes": 3}}}}, set()),
        ({}, {"ops": {"other": {"config": "text"}}}, set()),
        ({}, {}, set()),
    ],
)
def test_mailboxes_of_a_run(
    instance: dg.DagsterInstance, tags: dict[str, str], config: dict[str, Any], expected: set[str]
):
    ours = "mail" in config.get("ops", {}) or expected
    job = DEFINITIONS.resolve_job_def("job") if ours else foreign
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=tags, run_config=config)
    assert RunsInProgress.of(instance, NAMES).mailboxes == expected
    instance.delete_run(run.run_id)
    assert RunsInProgress.of(instance, NAMES) == RunsInProgress()


def test_first_loads_are_counted(instance: dg.DagsterInstance):
    job = DEFINITIONS.resolve_job_def("job")
    for tags in ({LOAD_TAG: "true"}, {LOAD_TAG: "true"}, {}):
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert RunsInProgress.of(instance, NAMES).loads == 2


def test_each_mailbox_of_a_run_has_an_outcome_of_its_own(instance: dg.DagsterInstance):
    requested = Requested(1, 2, 1, AT)
    runs = RequestedRuns(instance, mail.key)
    assert runs.outcome("c@x.test", requested) == "none"
    DEFINITIONS.resolve_job_def("job").execute_in_process(
        run_config=listed("c@x.test", "b@x.test"),
        tags={REQUEST_TAG: request_name(AT)},
        instance=instance,
        raise_on_error=False,
    )
    runs = RequestedRuns(instance, mail.key)
    assert runs.outcome("c@x.test", requested) == "succeeded"
    assert runs.outcome("b@x.test", requested) == "failed"
    assert runs.outcome("a@x.test", Requested(1, 2, 1, AT + 1)) == "none"
