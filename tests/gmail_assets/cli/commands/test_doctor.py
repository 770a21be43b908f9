"""`gmail-assets doctor` prints which behaviors agree, which differ, and the consequences."""

from __future__ import annotations

import io
import json
from pathlib import Path

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


def test_a_record_is_shown_and_written_only_if_confirmed(
    place: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    result = run("doctor", "--record", "record.json")
    assert '"answers": {' in result.out
    assert "not written" in result.err
    assert not (place / "record.json").exists()
    result = run("doctor", "--record", "record.json", "--yes")
    assert result.code == 0
    text = (place / "record.json").read_text("utf-8")
    assert text in result.out
    assert json.loads(text)["answers"]["history.expired"] == {"answer": "404 notFound", "seen": "1"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--record", "here.txt"),
        ("--record", "no-folder/record.json"),
        ("--record", "new.json", "--mailbox", "a@gmail.test", "--mailbox", "b@gmail.test"),
    ],
)
def test_a_record_that_cannot_be_written_is_refused_before_anything_is_read(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run, arguments: tuple[str, ...]
) -> None:
    (place / "here.txt").write_text("mine", "utf-8")
    gmail.usage.reset()
    result = run("doctor", *arguments)
    assert result.code == ExitCode.INVALID_INPUT
    assert gmail.usage.total_units == 0
    assert (place / "here.txt").read_text("utf-8") == "mine"


def test_expiry_notes_the_history_id_beside_the_login_file(place: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run("doctor", "--expiry")
    assert result.code == 0, result.err
    assert "Today's history id is stored." in result.out
    assert (place / "login" / "history_notes.json").exists()
