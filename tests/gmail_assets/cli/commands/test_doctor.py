"""`gmail-assets doctor` prints what agrees, what differs and what that means."""

from __future__ import annotations

import pytest

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.conformance.probes import PROBES
from gmail_client.emulator import Emulator, Fault


def test_every_question_is_printed_with_its_answer(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.faults.add(Fault("messages.get", kind="patch", patch={"sizeEstimate": 7}))
    result = run("doctor")
    assert result.code == 0, result.err
    for probe in PROBES:
        assert probe.question in result.out
    different = result.out.partition("Different from what is expected")[2]
    assert "Is sizeEstimate the length of the raw message? no; expected: yes" in different
    assert "For your tables: size_bytes in emails is an estimate." in different
    assert f"{len(PROBES)} questions: " in different


def test_the_json_has_every_finding(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.usage.reset()
    (mailbox,) = run("doctor", "--json").json["mailboxes"]
    assert [finding["id"] for finding in mailbox["findings"]] == [probe.id for probe in PROBES]
    assert gmail.usage.total_units <= mailbox["units"] <= 300
    assert all(finding["reason"] for finding in mailbox["findings"] if finding["status"] == "unknown")


def test_no_credentials_are_one_plain_error(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    result = run("doctor")
    assert result.code == ExitCode.INVALID_INPUT
    assert result.err.count("Fix:") == 1


def test_what_was_learned_before_a_refusal_is_printed(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.faults.add(Fault("threads.get", status=403, reason="dailyLimitExceeded"))
    result = run("doctor")
    assert result.code == ExitCode.INCOMPLETE
    assert "In which order are messages listed? newest" in result.out
    assert "The reading ended early." in result.err


def test_a_revoked_token_is_no_access(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.revoke_tokens()
    result = run("doctor")
    assert result.code == ExitCode.NO_ACCESS
    assert f"{len(PROBES)} not answered" in result.out


def test_what_was_learned_before_ctrl_c_is_printed(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from gmail_client.http.exchange import Exchange

    get = Exchange.get

    def interrupted(exchange, method, *arguments, **named):  # type: ignore[no-untyped-def]
        if method == "threads.get":
            raise KeyboardInterrupt
        return get(exchange, method, *arguments, **named)

    monkeypatch.setattr(Exchange, "get", interrupted)
    result = run("doctor")
    assert result.code == ExitCode.INTERRUPTED
    assert "Interrupted" in result.err
    assert "In which order are messages listed? newest" in result.out
