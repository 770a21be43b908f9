"""`gmail-assets conformance` on the emulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.operations import conformance
from gmail_client.emulator import Emulator, Fault


def test_it_passes_on_the_emulator_and_writes_a_record(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    before = gmail.mailbox().message_ids()
    result = run("conformance", "--record", "record.json", "--yes")
    assert result.code == 0, result.out + result.err
    assert "passed  Verify after the reconciliation: " in result.out
    assert "failed" not in result.out
    assert gmail.mailbox().message_ids() == before
    record = json.loads((place / "record.json").read_text("utf-8"))
    assert record["answers"]["writes.draft_update"] == {"answer": "new", "seen": "1"}
    assert not (place / "lake").exists()


def test_a_login_that_only_reads_fails_with_the_fix(
    gmail: Emulator, run, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.refresh_token())
    before = gmail.mailbox().head
    result = run("conformance", "--json")
    assert result.code == ExitCode.DIFFERENCES
    (step,) = result.json["steps"]
    assert "may not change the mailbox" in step["problem"]
    assert "login --scope modify" in step["fix"]
    assert gmail.mailbox().head == before


def test_a_mailbox_that_is_used_is_refused(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(conformance, "MAX_MESSAGES", 10)
    result = run("conformance")
    assert result.code == ExitCode.INVALID_INPUT
    assert "--force" in result.err


def test_no_access_is_one_plain_error(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.faults.add(Fault("getProfile", status=403, reason="accessNotConfigured"))
    result = run("conformance")
    assert result.code == ExitCode.NO_ACCESS
    assert result.err.count("Fix:") == 1
