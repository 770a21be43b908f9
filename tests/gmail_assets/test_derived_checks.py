"""A failed check of the derived tables has the next sync compare all their rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.views import ADA, Tables, message

from gmail_assets.check_outcomes import CheckSubject
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.derived_checks import DerivedChecks
from gmail_client.client import Mailbox
from gmail_client.spec import Spec
from gmail_client.views import VIEWS


def no_gmail(name: str) -> Mailbox:
    raise AssertionError("these checks only read the lake")


@pytest.mark.parametrize("name", VIEWS)
def test_lost_rows_are_computed_by_the_sync_after_the_check(tmp_path: Path, name: str) -> None:
    tables = Tables(tmp_path)
    tables.add(*(message(f"m{n}", "INBOX", attachments=1) for n in range(4)))
    tables.derive()
    tables.begin_run()
    view = tables.lake.view(VIEWS[name])
    lost = view.delta.to_pyarrow_table().select(VIEWS[name].primary_key).slice(0, 1)
    PartitionWriter(view, ADA, VIEWS[name].primary_key).merge(lost.slice(0, 0), lost)
    tables.add(message("n", "UNREAD"))
    tables.derive_changes()
    checks = DerivedChecks(Spec.default())
    subject = CheckSubject(ADA, tables.lake, no_gmail, lambda table: None)
    failed = {
        key.table for key, outcome in checks.evaluate(subject, checks.functions).items() if not outcome.passed
    }
    assert name in failed
    tables.derive_changes()
    tables.check()
    assert all(outcome.passed for outcome in checks.evaluate(subject, checks.functions).values())
