"""Runs of the same Dagster assets without a server: one run for each mailbox, in this process.

`run_mailbox` materializes tables of one mailbox and tells what became of each. The runs are kept in the Dagster
instance that DAGSTER_HOME names, where there is one; else in memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from gmail_assets.assets import asset_keys, mail_step_name
from gmail_assets.factory import gmail_definitions
from gmail_assets.failures import ERROR_KEY
from gmail_assets.operations.interrupts import watching_for_interrupts
from gmail_client.errors import ConfigurationError
from gmail_client.settings import Settings
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table

__all__ = ["CheckOutcome", "Runner", "SyncRun", "TableFailure"]

_KEY_PREFIX = ["gmail"]
_SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}


@dataclass(frozen=True, slots=True)
class TableFailure:
    """A step that failed: the name of the error's class, and what it says."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One asset check: of which table, which, whether it passed, what it says."""

    table: str
    check: str
    passed: bool
    says: str


@dataclass(slots=True)
class SyncRun:
    """What became of one mailbox.

    Attributes:
        mailbox: Its configured name.
        run_id: Dagster's run.
        tables: Materialization metadata by table, as plain values.
        failures: What failed, by step.
        checks: What the asset checks found.
        interrupted: A person stopped it.
    """

    mailbox: str
    run_id: str
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, TableFailure] = field(default_factory=dict)
    checks: list[CheckOutcome] = field(default_factory=list)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every table that was brought is complete: no time budget cut it short."""
        return all(metadata.get("complete", True) for metadata in self.tables.values())


class Runner:
    """Materializes tables as the environment describes them.

    Args:
        spec: Which tables; GMAIL_SPEC, else all ten, where not given.

    Raises:
        ConfigurationError: The spec or a setting can't be right.
    """

    def __init__(self, spec: Spec | None = None) -> None:
        settings = Settings()
        self.spec = spec if spec is not None else Spec.load(settings.spec)
        self.mailboxes = settings.mailbox_names

    def tables(self, names: Sequence[str]) -> list[str]:
        """The named tables, or all of the spec's; in the catalogue's order.

        Raises:
            UnknownTableError: Not one of the ten.
        """
        for name in names:
            table(name)
        in_spec = [entry.source_table for entry in self.spec.tables]
        return [name for name in CATALOGUE if name in (names or in_spec)]

    def run_mailbox(
        self, mailbox: str, tables: Sequence[str], *, mail_config: Mapping[str, Any] | None = None
    ) -> SyncRun:
        """One run.

        Args:
            mailbox: An address, or `me`; it need not be among the configured ones.
            tables: Names of tables; one that the spec leaves out is read with default options.
            mail_config: Run config of the step that brings messages and threads (`SyncConfig`).
        """
        missing = [name for name in tables if name not in {entry.source_table for entry in self.spec.tables}]
        spec = (
            self.spec
            if not missing
            else self.spec.model_copy(
                update={
                    "tables": (
                        *self.spec.tables,
                        *(e for e in Spec.default().tables if e.source_table in missing),
                    )
                }
            )
        )
        definitions = gmail_definitions(spec=spec, key_prefix=_KEY_PREFIX, mailboxes=[mailbox])
        keys = asset_keys(spec, _KEY_PREFIX)
        by_key = {key: name for name, key in keys.items()}
        run_config: dict[str, Any] = {"loggers": _SILENT}
        if any(CATALOGUE[name].cursor for name in tables) and mail_config:
            run_config["ops"] = {mail_step_name(_KEY_PREFIX): {"config": dict(mail_config)}}
        with _instance() as instance, watching_for_interrupts() as interrupted:
            result = definitions.resolve_job_def("gmail_all").execute_in_process(
                partition_key=mailbox,
                asset_selection=[keys[name] for name in tables],
                instance=instance,
                run_config=run_config,
                raise_on_error=False,
            )
            run = SyncRun(mailbox, result.run_id, interrupted=interrupted())
        for event in result.get_asset_materialization_events():
            if event.asset_key is not None:
                run.tables[by_key[event.asset_key]] = {
                    name: value.value
                    for name, value in event.materialization.metadata.items()
                    if isinstance(value.value, str | int | float)
                }
        for evaluation in result.get_asset_check_evaluations():
            run.checks.append(
                CheckOutcome(
                    by_key[evaluation.asset_key],
                    evaluation.check_name,
                    evaluation.passed,
                    evaluation.description or "",
                )
            )
        for event in result.all_events:
            if event.is_step_failure and event.step_key is not None:
                failure = _failure(event)
                run.interrupted = run.interrupted or failure.error == "DagsterExecutionInterruptedError"
                run.failures[_step_text(event.step_key)] = failure
        if not result.success and not run.failures:
            run.failures["run"] = TableFailure("Error", _run_failure(result))
        return run


def _instance() -> dg.DagsterInstance:
    # Ctrl-C may come while a connection is closed; its pool would print a traceback before it passes that on.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return dg.DagsterInstance.ephemeral()
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigurationError(
            f"Dagster's instance in DAGSTER_HOME={home!r} can't be opened: {' '.join(str(error).split())}",
            fix="Set DAGSTER_HOME to the absolute path of a folder that is there, or unset it.",
        ) from None


def _step_text(step: str) -> str:
    """What a step brings, in words for a person: the tables of the mail step, else the table."""
    name = step.removeprefix("_".join([*_KEY_PREFIX, ""]))
    return ", ".join(CHANGE_TABLES) if step == mail_step_name(_KEY_PREFIX) else name


def _run_failure(result: dg.ExecuteInProcessResult) -> str:
    return next(
        (event.message for event in reversed(result.all_events) if event.is_failure and event.message),
        "The run failed before its first step.",
    )


def _failure(event: dg.DagsterEvent) -> TableFailure:
    data = event.step_failure_data
    if data.user_failure_data is not None:
        error = data.user_failure_data.metadata.get(ERROR_KEY)
        return TableFailure(
            str(error.value) if error else "Failure", data.user_failure_data.description or ""
        )
    info = data.error
    if info is None:
        return TableFailure("Error", "It failed and did not say why.")
    while info.cause is not None:  # behind Dagster's own wrappers
        info = info.cause
    name = (info.cls_name or "Error").rpartition(".")[2]
    return TableFailure(name, info.message.strip().removeprefix(f"{info.cls_name}: "))
