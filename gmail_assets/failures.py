"""Turn errors of the Gmail client into Dagster failures (permanent) or retry requests (transient).

An error that concerns the whole mailbox fails one step; the steps after it in the same run are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from gmail_assets.error_policy import MAX_RETRIES, concerns_whole_mailbox, retry_wait
from gmail_client.errors import GmailError

__all__ = ["ERROR_KEY", "StepContext", "dagster_failures", "skip_after_failure"]

ERROR_KEY = "gmail/error"
"""Metadata key of a failed step: class name of the error that caused it."""

_MAILBOX_KEY = "gmail/whole_mailbox"
"""Metadata key of a failed step: whether the error concerns all tables of the mailbox."""

StepContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@contextmanager
def dagster_failures(
    context: StepContext, report: Callable[[GmailError], None] = lambda error: None
) -> Iterator[None]:
    """Convert a `GmailError` of the block into a failure with its message, or into a retry request.

    Args:
        context: The context of the step.
        report: Called with an error that fails the step.

    Raises:
        dagster.Failure: The error is permanent, or the retries are used up.
        dagster.RetryRequested: The error is transient; waits until the retry time that Gmail named, at most five
            minutes.
    """
    raised: Exception | None = None
    try:
        yield
    except GmailError as error:
        raised = _converted(error, context)
        if isinstance(raised, dg.Failure):
            report(error)
    if raised is not None:
        # Without a cause, so that Dagster shows this text first and once.
        raise raised from None


def _converted(error: GmailError, context: StepContext) -> dg.Failure | dg.RetryRequested:
    retries = context.retry_number
    if error.retryable and retries < MAX_RETRIES:
        wait = retry_wait(error)
        context.log.warning(f"{error}\nRetry {retries + 1} of {MAX_RETRIES} in {wait:.0f} s.")
        return dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=wait)
    return dg.Failure(
        description=str(error),
        metadata={ERROR_KEY: type(error).__name__, _MAILBOX_KEY: concerns_whole_mailbox(error)},
        allow_retries=False,
    )


def skip_after_failure(context: dg.AssetExecutionContext) -> bool:
    """Whether an earlier step of this run failed with an error that concerns the whole mailbox.

    The step then returns without output, and Dagster skips the steps that depend on it.
    """
    for entry in context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        failure = None if event is None else event.step_failure_data.user_failure_data
        key = None if failure is None else failure.metadata.get(_MAILBOX_KEY)
        if event is not None and key is not None and key.value is True:
            context.log.warning(f"Skipped, because the step {event.step_key} failed for the whole mailbox.")
            return True
    return False
