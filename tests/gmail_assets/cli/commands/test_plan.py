"""`gmail-assets plan` prints the cost of the following sync."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gmail_client.emulator import Emulator

FILTERED = """
objects:
  - table: {source_table: messages, table_configuration: {q: "newer_than:3000d", labelIds: INBOX}}
  - table: {source_table: threads, table_configuration: {labelIds: INBOX}}
"""
ONE = """
objects:
  - table: {source_table: messages, table_configuration: {includeSpamTrash: "true"}}
"""


def _planned_and_spent(gmail: Emulator, run) -> tuple[dict[str, Any], int]:  # type: ignore[no-untyped-def]
    result = run("plan", "--json")
    assert result.code == 0, result.err
    (plan,) = result.json["mailboxes"]
    gmail.usage.reset()
    assert run("sync", "--quiet").code == 0
    content = ("messages.get", "threads.get")
    spent = sum(units for method, units in gmail.usage.units.items() if method in content)
    total = sum(gmail.usage.units.values())
    # Asset checks read the mailbox again after the run.
    assert plan["units"]["total"] <= total <= plan["units"]["total"] + 120
    return plan, spent


@pytest.mark.parametrize("spec", [None, FILTERED, ONE])
def test_a_first_load_costs_what_was_planned(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run, monkeypatch, spec: str | None
) -> None:
    if spec:
        (place / "spec.yaml").write_text(spec, "utf-8")
        monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    plan, spent = _planned_and_spent(gmail, run)
    assert {table["mode"] for table in plan["tables"].values()} <= {"first load", "snapshot"}
    assert plan["units"]["content"] == spent > 0
    assert plan["messages"] == 60
    assert plan["asked_units"] <= 40


def test_the_plan_writes_nothing(place: Path, run) -> None:  # type: ignore[no-untyped-def]
    assert run("plan").code == 0
    assert not (place / "lake").exists()


def test_incremental_sync_and_reconciliation_cost_what_was_planned(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "--quiet").code == 0
    mailbox = gmail.mailbox()
    new = [mailbox.insert(b"Subject: new\r\n\r\nText", label_ids=["INBOX"]) for _ in range(3)]
    plan, spent = _planned_and_spent(gmail, run)
    assert plan["tables"]["messages"] == {
        "mode": "changes since the last sync",
        "rows": plan["tables"]["messages"]["rows"],
        "fetch": 3,
        "from_lake": 0,
    }
    assert plan["units"]["content"] == spent == 60

    mailbox.modify(new[0], add=["STARRED"])
    mailbox.insert(b"Subject: newer\r\n\r\nText", label_ids=["INBOX"])
    gmail.expire_history()
    result = run("plan", "--json").json["mailboxes"][0]
    assert result["tables"]["threads"]["mode"] == "reconciliation"
    gmail.usage.reset()
    assert run("sync", "--quiet").code == 0
    content = gmail.usage.units.get("messages.get", 0) + gmail.usage.units.get("threads.get", 0)
    assert result["units"]["content"] == content

    nothing, spent = _planned_and_spent(gmail, run)
    assert nothing["units"]["content"] == spent == 0
    assert nothing["up_to_date"]
    assert nothing["units"]["total"] == sum(gmail.usage.units.values()) == 1


def test_many_mailboxes_are_summed_and_a_failing_one_hides_no_other(
    gmail: Emulator, place: Path, run, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_USER_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(gmail.service_account_file(place / "key.json")))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join([*gmail.addresses, "nobody@gmail.test"]))
    monkeypatch.delenv("GMAIL_QUOTA")
    result = run("plan")
    assert result.code == 3
    assert "total" in result.out
    assert "6,000 units per minute and user" in result.out
    assert "nobody@gmail.test: No access token" in result.err


@pytest.mark.slow
def test_hours_follow_from_the_quota(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GMAIL_QUOTA", "100")
    plan = run("plan", "--json").json["mailboxes"][0]
    assert plan["minutes"] == pytest.approx(plan["units"]["total"] / 100, abs=0.01)


def test_verbose_shows_the_parts(run) -> None:  # type: ignore[no-untyped-def]
    result = run("plan", "--verbose")
    assert "content" in result.out
    assert "forwarding_addresses" in result.out
