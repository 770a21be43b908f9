"""Nothing in mail, labels, Gmail's errors or names controls a terminal, forges a log line or turns text around."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gmail_assets.cli import main
from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.emulator import Emulator, Fault

HOSTILE = (
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",  # OSC 8: a link
    "\x1b]52;c;ZXZpbA==\x07",  # OSC 52: the clipboard
    "\x1b]0;title\x07\x1bP1;1|17/78\x1b\\",  # the window's title, DCS
    "\x1b[2J\x1b[31m\x9b2J\x9d52;c;eA==\x9c",  # CSI and OSC, as C0 and as C1
    "\x00\x07\x08\x0b\x0c\x7f\x85",
    "\r\nFORGED: all tables match",
    "\u202egnp.exe\u202c \u2066a\u2069\u200f",  # bidirectional overrides, isolates and marks
    "\u2028\u2029",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link]",  # rich's markup
    "%s {0} ${HOME} $(id)",
)
TEXT = " ".join(HOSTILE)

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

SCENARIOS: dict[str, list[Fault]] = {
    "mail and labels": [],
    "profile refused": [Fault("getProfile", status=403, reason="forbidden", message=TEXT)],
    "listings refused": [
        Fault("messages.list", status=400, reason="invalidArgument", message=TEXT),
        Fault("threads.list", status=403, reason="forbidden", message=TEXT),
        Fault("labels.list", status=403, reason="accessNotConfigured", message=TEXT),
    ],
    "contents refused": [
        Fault("messages.get", status=400, reason="invalidArgument", message=TEXT),
        Fault("threads.get", status=400, reason="invalidArgument", message=TEXT),
        Fault("settings.getVacation", status=403, reason="forbidden", message=TEXT),
    ],
    "odd answers": [
        Fault("labels.list", kind="patch", patch={"labels": [{"id": TEXT, "name": TEXT, "type": TEXT}]}),
        Fault("settings.sendAs.list", kind="patch", patch={"sendAs": [{"sendAsEmail": TEXT}]}),
        Fault("messages.get", kind="patch", patch={"historyId": TEXT, "labelIds": [TEXT]}),
        Fault("threads.get", kind="patch", patch={"historyId": TEXT}),
    ],
    "odd profile": [
        Fault(
            "getProfile", kind="patch", patch={"emailAddress": TEXT, "historyId": TEXT, "messagesTotal": TEXT}
        )
    ],
    "token refused": [Fault("oauth.token", status=400, reason=TEXT, message=TEXT)],
}
MATRIX = [
    ["check"],
    ["plan"],
    ["sync"],
    ["status"],
    ["status", "--offline"],
    ["verify", "--thorough"],
    ["doctor"],
    ["conformance"],
    ["mailboxes"],
    ["vacuum"],
    ["forget", TEXT, "--yes"],
    ["forget", "me", "--message", TEXT, "--yes"],
    ["login", "--no-browser", "--timeout", "0.1", "--account", TEXT],
    ["logout"],
    ["--version"],
    ["completion", "bash"],
]
FLAGS: list[list[str]] = [[], ["--json"], ["--verbose"], ["--quiet"]]
NO_FLAGS = ("completion", "--version")


def assert_safe(text: str) -> None:
    found = _UNSAFE.search(text)
    assert found is None, repr(text[max(found.start() - 80, 0) : found.end() + 80])
    assert not [line for line in text.splitlines() if line.startswith("FORGED")]


@pytest.fixture
def gmail(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A mailbox with hostile labels and mail."""
    with Emulator(messages=12, seed=5, mean_json_kb=2.0) as emulator:
        mailbox = emulator.mailbox()
        for number, text in enumerate(HOSTILE):
            label = mailbox.create_label(f"{number} {text}")
            mail = f"From: {text!r} <a@example.test>\nSubject: x\n\n{text}".encode("utf-8", "replace")
            mailbox.modify(mailbox.insert(mail, ["INBOX"]), [label], [])
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GMAIL_QUOTA", "1200000")
        monkeypatch.setenv("DAGSTER_HOME", str(bare / "home"))
        monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(bare / "login.json"))
        (bare / "home").mkdir()
        yield emulator


@pytest.fixture
def loaded(gmail: Emulator) -> Emulator:
    """The mailbox, loaded once without faults."""
    assert main(["sync", "--quiet"]) == 0
    return gmail


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait before a retry."""
    monkeypatch.setattr("gmail_client.http.transport.pause", lambda clock, seconds, stop: None)
    monkeypatch.setattr("gmail_assets.failures.MAX_RETRIES", 0)


def test_the_matrix_has_every_command() -> None:
    left_out = {"emulator", "bundle"}  # they print addresses of their own and paths
    assert {str(command.name) for command in COMMANDS} - left_out <= {words[0] for words in MATRIX}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_command_is_safe(
    loaded: Emulator,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    scenario: str,
) -> None:
    patient(monkeypatch)
    for fault in SCENARIOS[scenario]:
        loaded.faults.add(fault)
    said = 0
    for words in MATRIX:
        for flags in FLAGS if words[0] not in NO_FLAGS else [[]]:
            loaded.mailbox().insert(b"Subject: more\n\nx", ["INBOX"])
            capfd.readouterr()
            main([*words, *flags])
            out, err = capfd.readouterr()
            assert_safe(out)
            assert_safe(err)
            said += len(out + err)
            if flags == ["--json"] and out.strip():
                assert isinstance(json.loads(out), dict)
    assert said > 1000
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert len(runs) >= 3
        for run in runs:
            for entry in instance.all_logs(run.run_id):
                for text in texts(json.loads(dg.serialize_value(entry))):
                    assert_safe(text)


def texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in (*value, *value.values()) for text in texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in texts(item))


@pytest.mark.usefixtures("gmail")
def test_arguments_are_shown_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    # A file name that a shell's * puts on the command line can be chosen by somebody else.
    for words in (["sync", TEXT], ["sync", f"--{TEXT}"], [TEXT], ["verify", "--sample", TEXT]):
        assert main(words) == 2
        _, err = capfd.readouterr()
        assert "Usage" in err
        assert not _UNSAFE.search(err)


@pytest.mark.parametrize(
    "where",
    [
        "GMAIL_USER_ID",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("GMAIL_LAKE", "GMAIL_SPEC", "GMAIL_QUOTA", "GMAIL_API_ROOT")
        ),
    ],
)
def test_settings_are_shown_escaped(
    gmail: Emulator, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv(where, TEXT.replace("\x00", ""))
    for words in (["check"], ["plan"], ["status"], ["check", "--json"], ["status", "--offline", "--verbose"]):
        main(words)
        out, err = capfd.readouterr()
        assert not _UNSAFE.search(out + err)


def test_an_unexpected_exception_is_shown_escaped(
    bare: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError(TEXT)

    monkeypatch.setattr("gmail_assets.cli.environment.Environment.load", fail)
    assert main(["check"]) == 1
    _, err = capfd.readouterr()
    assert "Traceback" in err
    assert "RuntimeError" in err
    assert not _UNSAFE.search(err)


@pytest.mark.slow
def test_a_terminal_gets_no_sequence_but_rich_s_own(loaded: Emulator) -> None:
    # One fault only: the error that is shown does not depend on the random sample of `verify`.
    loaded.faults.add(SCENARIOS["odd answers"][0])
    command = [sys.executable, "-m", "gmail_assets.cli", "verify", "--thorough", "--mailbox", "me"]
    code, shown = _on_a_terminal(command)
    assert (code, "evil.example" in shown) == (ExitCode.FAILURE, True), shown
    # Colors, cursor and line control; no operating system command, no device control, no C1.
    assert set(re.findall("\x1b(.)", shown)) <= {"["}
    assert not re.search("[\x80-\x9f\u202a-\u202e\u2066-\u2069\x00\x07\x08]", shown)
    assert "\x1b[2J" not in shown


def _on_a_terminal(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command with a pseudo-terminal as output."""
    pty = pytest.importorskip("pty", reason="POSIX terminals")
    terminal, inner = pty.openpty()
    shown = b""
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, env={**os.environ, "TERM": "xterm"}
        ) as process:
            # `inner` stays open here: if its last descriptor were closed while the kernel is about to block in a read,
            # that read would fail with EIO although the last output is not read yet.
            while True:
                ended = process.poll() is not None
                if select.select([terminal], [], [], 0.1)[0]:
                    shown += os.read(terminal, 65536)
                elif ended:
                    return process.returncode, shown.decode()
    finally:
        os.close(inner)
        os.close(terminal)
