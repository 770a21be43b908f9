"""Errors of the client become failures or retry requests of Dagster steps."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from gmail_assets import gmail_definitions
from gmail_assets.checks import SYNCED
from gmail_assets.error_policy import MAX_RETRIES
from gmail_assets.failures import ERROR_KEY, dagster_failures
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import (
    ConcurrencyError,
    CredentialsError,
    DailyLimitError,
    RateLimitError,
    UnavailableError,
)


def step(retry: int = 0) -> Any:
    """The parts of a step's context that `dagster_failures` uses."""
    return SimpleNamespace(retry_number=retry, log=logging.getLogger(__name__))


@pytest.mark.parametrize("kind", [CredentialsError, DailyLimitError])
def test_a_permanent_error_fails_at_once_with_its_own_text(kind):
    with pytest.raises(dg.Failure) as caught, dagster_failures(step()):
        raise kind("It is over.", fix="Start again.")
    assert caught.value.description == "It is over.\nFix: Start again."
    assert caught.value.allow_retries is False
    assert caught.value.metadata[ERROR_KEY].value == kind.__name__
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("kind", "wait", "shortest", "longest"),
    [
        (UnavailableError, None, 60, 60),
        (ConcurrencyError, None, 60, 60),
        (RateLimitError, 90, 30, 90),
        (RateLimitError, -90, 1, 1),
        (UnavailableError, 9000, 300, 300),
    ],
)
def test_a_transient_error_is_retried_after_a_delay(kind, wait, shortest, longest):
    retry_at = None if wait is None else time.time() + wait
    with pytest.raises(dg.RetryRequested) as caught, dagster_failures(step()):
        raise kind("Not now.", retry_at=retry_at)
    assert shortest <= caught.value.seconds_to_wait <= longest
    assert caught.value.max_retries > 0


def test_after_the_last_retry_a_transient_error_fails_with_its_own_text():
    with pytest.raises(dg.Failure) as caught, dagster_failures(step(MAX_RETRIES)):
        raise UnavailableError("Not now.", fix="Try again later.")
    assert caught.value.description == "Not now.\nFix: Try again later."
    assert caught.value.metadata[ERROR_KEY].value == "UnavailableError"


def run_all(environment: Emulator) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Run the job of all tables; the result, and the tables that were materialized."""
    job = gmail_definitions().resolve_job_def("gmail_all")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            partition_key=environment.addresses[0], instance=instance, raise_on_error=False
        )
    events = result.get_asset_materialization_events()
    return result, [event.asset_key.path[-1] for event in events if event.asset_key]


def test_an_error_of_the_whole_mailbox_fails_one_step_without_causes(environment: Emulator):
    environment.revoke_tokens()
    result, materialized = run_all(environment)
    assert not result.success
    assert materialized == []
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data.description.startswith("No access token: invalid_grant")
    assert "\nFix: " in failure.user_failure_data.description
    assert failure.error.message.startswith("dagster._core.definitions.events.Failure: No access token")
    assert failure.error.cause is None
    assert failure.error.context is None
    assert len([event for event in result.all_events if event.is_step_skipped]) >= 2, "the checks"


def test_the_check_synced_shows_the_error_of_a_failed_sync_and_its_fix(environment: Emulator):
    environment.revoke_tokens()
    job = gmail_definitions().resolve_job_def("gmail_sync")
    with dg.DagsterInstance.ephemeral() as instance:
        failed = job.execute_in_process(
            partition_key=environment.addresses[0], instance=instance, raise_on_error=False
        )
        of_type = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        entries = instance.all_logs(failed.run_id, of_type=of_type)
    assert not failed.success
    (shown,) = (entry.dagster_event.asset_check_evaluation_data for entry in entries)
    assert shown.asset_check_key == dg.AssetCheckKey(dg.AssetKey(["gmail", "messages"]), SYNCED)
    assert not shown.passed
    assert shown.partition == environment.addresses[0]
    assert shown.description.startswith("No access token: invalid_grant")
    assert "\nFix: " in shown.description


def test_an_error_of_one_table_leaves_the_others(environment: Emulator):
    environment.faults.add(Fault(method="settings.filters.list", status=403, reason="domainPolicy"))
    environment.faults.add(Fault(method="messages.list", status=400, reason="invalidArgument"))
    result, materialized = run_all(environment)
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["gmail_mail"]
    assert {"labels", "drafts", "profile", "send_as"} <= set(materialized)


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError), dagster_failures(step()):
        _ = 1 / 0
