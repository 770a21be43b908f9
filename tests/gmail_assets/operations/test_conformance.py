"""`run_conformance` runs the product against a mailbox, and leaves nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.chaos import client_of

from gmail_assets.operations import conformance
from gmail_assets.operations.conformance import run_conformance
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ConfigurationError


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=8, seed=4) as emulator:
        yield emulator


def state(gmail: Emulator) -> dict[str, Any]:
    mailbox = gmail.mailbox()
    return {message_id: mailbox.label_ids(message_id) for message_id in mailbox.message_ids()}


def test_all_steps_pass_and_nothing_stays(gmail: Emulator) -> None:
    before = state(gmail)
    names: list[str] = []
    run = run_conformance(client_of(gmail).mailbox("me"), progress=names.append)
    assert [(step.name, step.problem) for step in run.steps] == [(name, "") for name in names[:-1]]
    assert len(run.steps) == 10
    results = {step.name: step.result for step in run.steps}
    # 38 messages without the one in spam and the one in the trash, and the generated ones that are hidden.
    hidden = sum(bool({"SPAM", "TRASH"}.intersection(labels)) for labels in before.values())
    assert results["Full load"].startswith(f"messages: {8 - hidden + 31 - 2}, threads: ")
    assert run.examination is not None
    assert run.examination.count("differs") == 0
    assert state(gmail) == before
    assert (run.cleaned.labels, run.leftovers.labels) == (1, 0)


def test_a_step_that_fails_does_not_stop_the_others(gmail: Emulator) -> None:
    before = state(gmail)
    gmail.faults.add(Fault("threads.list", status=501, reason="notImplemented", message="not here"))
    run = run_conformance(client_of(gmail).mailbox("me"))
    failed = [step.name for step in run.steps if step.problem]
    assert "Full load" in failed
    assert run.failed
    assert run.examination is not None
    assert all(step.fix for step in run.steps if step.problem)
    assert state(gmail) == before


def test_a_server_without_writes_is_tested_with_what_it_has(gmail: Emulator) -> None:
    gmail.faults.add(Fault("labels.create", status=404, reason="notFound", message="no such method"))
    before = state(gmail)
    run = run_conformance(client_of(gmail).mailbox("me"))
    assert [step.name for step in run.steps if step.problem] == ["Create messages, labels and a draft"]
    assert "Verify after the reconciliation" in [step.name for step in run.steps]
    assert run.examination is not None
    assert state(gmail) == before


def test_a_copy_that_is_wrong_is_noticed(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    real = conformance.sync

    def forgetful(mailbox: Any, lake: Any, tables: Any, **named: Any) -> Any:
        results = real(mailbox, lake, tables, **named)
        if not named["reconcile"]:
            table = lake.find("messages")
            table.delete("array_position(\"labelIds\", 'STARRED') IS NOT NULL")
        return results

    monkeypatch.setattr(conformance, "sync", forgetful)
    run = run_conformance(client_of(gmail).mailbox("me"))
    problems = {step.name: step.problem for step in run.steps}
    assert "unexplained differences" in problems["Verify"]
    assert problems["Verify after the reconciliation"] == ""


def test_a_mailbox_with_many_messages_is_refused_unless_forced(
    gmail: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "MAX_MESSAGES", 7)
    before = state(gmail)
    gmail.usage.reset()
    with pytest.raises(ConfigurationError, match="not a throw-away account"):
        run_conformance(client_of(gmail).mailbox("me"))
    assert state(gmail) == before
    assert gmail.usage.total_units == 1
    monkeypatch.setattr(conformance, "MAX_MESSAGES", 500)
    monkeypatch.setattr(conformance._Steps, "run", lambda steps: None)
    assert not run_conformance(client_of(gmail).mailbox("me"), force=True).failed


def test_ctrl_c_cleans_up_and_keeps_what_was_done(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(gmail)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(conformance, "verify_mailbox", interrupted)
    run = run_conformance(client_of(gmail).mailbox("me"))
    assert run.interrupted
    assert [step.name for step in run.steps] == ["Create messages, labels and a draft", "Full load"]
    assert state(gmail) == before


def test_what_a_killed_run_left_is_removed_first(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(gmail)

    class Killed(BaseException):
        pass

    def killed(*arguments: Any, **named: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(conformance, "sync", killed)
        with pytest.raises(Killed):
            run_conformance(client_of(gmail).mailbox("me"))
    assert len(state(gmail)) > len(before)
    monkeypatch.setattr(conformance._Steps, "run", lambda steps: None)
    assert run_conformance(client_of(gmail).mailbox("me")).leftovers.labels == 1
    assert state(gmail) == before


def test_a_clean_up_that_is_refused_says_how_to_go_on(gmail: Emulator) -> None:
    gmail.faults.add(Fault("labels.delete", status=403, reason="domainPolicy"))
    run = run_conformance(client_of(gmail).mailbox("me"))
    assert run.steps[-1].name == "Clean up"
    assert "again" in run.steps[-1].fix
    gmail.faults.clear()
    assert run.failed
