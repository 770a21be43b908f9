"""`gmail-assets login` and `logout` against the emulator's consent page."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.consent_page import decide

from gmail_client.emulator import Emulator
from gmail_client.settings import Settings, credentials_file

Run = Callable[..., object]

BROWSER = """\
import sys
sys.path.insert(0, {root!r})
import requests
from support.consent_page import decide
requests.get(decide(sys.argv[1]), timeout=10).raise_for_status()
"""


@pytest.fixture
def browser(without_login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake browser, found by `webbrowser`, that gives consent."""
    script = without_login / "browser.py"
    script.write_text(BROWSER.format(root=str(Path(__file__).parents[3] / "lib")), "utf-8")
    monkeypatch.setenv("BROWSER", f"{sys.executable} {script} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)


@pytest.mark.usefixtures("browser")
def test_login_then_rows_then_logout(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    result = run("login")
    assert result.code == 0, result.err
    path = credentials_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"Logged in as {gmail.addresses[0]}" in result.out
    assert "expires after 7 days" in result.out
    assert run("sync", "labels", "--quiet").code == 0
    _assert_no_secret(result.out + result.err, path)
    token = json.loads(path.read_text("utf-8"))["refresh_token"]

    gone = run("logout")
    assert gone.code == 0
    assert "Revoked" in gone.out
    assert not path.exists()
    assert token not in gone.out + gone.err
    again = run("sync", "labels")
    assert again.code == 2
    assert "gmail-assets login" in again.err
    assert run("logout", "--json").json == {"file": str(path), "removed": False, "revoked": False}


@pytest.mark.usefixtures("browser")
def test_login_with_a_client_file_and_again_with_the_stored_client(
    gmail: Emulator,
    place: Path,
    run,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.delenv("GMAIL_CLIENT_ID")
    monkeypatch.delenv("GMAIL_CLIENT_SECRET")
    assert run("login").code == 2
    (place / "client.json").write_text(json.dumps(gmail.client_json()), "utf-8")
    first = run("login", "--client-file", "client.json", "--json")
    assert first.code == 0, first.err
    assert first.json["address"] == gmail.addresses[0]
    assert run("login").code == 0
    assert Settings().credentials().client_id == gmail.environment()["GMAIL_CLIENT_ID"]


@pytest.mark.usefixtures("browser")
def test_the_secret_comes_from_standard_input(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    secret = gmail.environment()["GMAIL_CLIENT_SECRET"]
    monkeypatch.delenv("GMAIL_CLIENT_SECRET")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
    result = run("login", "--client-secret", "-")
    assert result.code == 0, result.err
    assert "process list" not in result.err
    _assert_no_secret(result.out + result.err, credentials_file())


@pytest.mark.usefixtures("without_login")
def test_the_secret_prompt_does_not_echo(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty", reason="POSIX terminals")
    client_id, secret = (gmail.environment()[f"GMAIL_CLIENT_{part}"] for part in ("ID", "SECRET"))
    for part in ("ID", "SECRET"):
        monkeypatch.delenv(f"GMAIL_CLIENT_{part}")
    command = [sys.executable, "-m", "gmail_assets.cli", "login", "--no-browser", "--timeout", "30"]
    terminal, inner = pty.openpty()
    process = subprocess.Popen([*command, "--client-id", client_id], stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    output = _until(terminal, rb"Client secret \(not shown\):")
    os.write(terminal, f"{secret}\n".encode())
    output += _until(terminal, rb"http://\S+/o/oauth2/v2/auth\?\S+\s.*press Enter")
    (url,) = re.findall(r"http://\S+/o/oauth2/v2/auth\?\S+", output)
    os.write(terminal, f"{decide(url)}\n".encode())
    output += _until(terminal, rb"Logged in as .*the first rows")
    assert process.wait(30) == 0
    os.close(terminal)
    _assert_no_secret(output, credentials_file())


def _until(terminal: int, pattern: bytes) -> str:
    """The output of a terminal until it matches the pattern."""
    output = b""
    while not re.search(pattern, output, re.DOTALL):
        try:
            output += os.read(terminal, 4096)
        except OSError:  # the program ended
            raise AssertionError(output.decode()) from None
    return output.decode()


@pytest.mark.usefixtures("browser")
def test_print_env_stores_nothing_and_prints_what_the_settings_read(run) -> None:  # type: ignore[no-untyped-def]
    result = run("login", "--print-env")
    assert result.code == 0
    assert not credentials_file().exists()
    assert [line.partition("=")[0] for line in result.out.splitlines()] == [
        "GMAIL_CLIENT_ID",
        "GMAIL_CLIENT_SECRET",
        "GMAIL_REFRESH_TOKEN",
        "GMAIL_API_ROOT",
        "GMAIL_OAUTH_ROOT",
    ]


@pytest.mark.usefixtures("browser")
def test_another_account_than_the_expected_one_is_refused(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    result = run("login", "--account", "nobody@gmail.test")
    assert result.code == 3
    assert f"logged in as {gmail.addresses[0]}, not nobody@gmail.test" in result.err
    assert not credentials_file().exists()


@pytest.mark.usefixtures("browser")
def test_a_lake_of_another_account_is_reported_at_login(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    first, second = gmail.addresses
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.refresh_token(second))
    assert run("sync", "labels", "--quiet").code == 0
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    result = run("login")
    assert result.code == 0
    assert f"contains the mail of {second}" in result.err
    assert f"this login is for {first}" in result.err


@pytest.mark.usefixtures("browser")
def test_a_token_in_the_environment_that_takes_precedence_is_reported(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.other")
    result = run("login")
    assert result.code == 0
    assert "takes precedence over this login" in result.err


@pytest.mark.usefixtures("without_login")
def test_without_a_browser_the_callback_is_pasted_or_received(gmail: Emulator) -> None:
    for pasted in (True, False):
        process = subprocess.Popen(
            [sys.executable, "-m", "gmail_assets.cli", "login", "--no-browser", "--timeout", "30"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert process.stdin is not None
        url = ""
        while not url:
            found = re.search(r"http://\S+/o/oauth2/v2/auth\?\S+", process.stderr.readline())
            url = found[0] if found else ""
        landed = decide(url)
        if pasted:
            process.stdin.write(f"{landed}\n")
            process.stdin.flush()
        else:
            requests.get(landed, timeout=10).raise_for_status()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert f"Logged in as {gmail.addresses[0]}" in out
        assert parse_qs(urlsplit(landed).query)["code"][0] not in out + err
        _assert_no_secret(out + err, credentials_file())


@pytest.mark.usefixtures("without_login")
@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["--client-file", "none.json"], 2, "No such file"),
        (["--client-file", "c.json", "--client-id", "x"], 2, "contradict each other"),
        (["--json", "--print-env"], 2, "contradict each other"),
        (["--client-secret", "wrong"], 3, "its secret is wrong"),
        (["--client-secret", "wrong"], 3, "visible in the process list"),
        (["--port", "99999"], 2, "Can't listen on port 99999"),
        (["--no-browser", "--timeout", "0.1"], 3, "No response from the browser"),
        (["--port", "many"], 2, "is not a valid integer"),
    ],
)
def test_bad_input_is_a_clear_error(run, arguments: list[str], code: int, output: str) -> None:  # type: ignore[no-untyped-def]
    result = run("login", *arguments)
    assert result.code == code
    assert output in result.err
    assert "Traceback" not in result.err
    assert not credentials_file().exists()


@pytest.mark.usefixtures("without_login")
def test_an_unselected_scope_is_named() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gmail_assets.cli", "login", "--no-browser", "--timeout", "30"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = ""
    while not url:
        found = re.search(r"http://\S+/o/oauth2/v2/auth\?\S+", process.stderr.readline())
        url = found[0] if found else ""
    requests.get(decide(url, scopes=False), timeout=10)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "the scope https://www.googleapis.com/auth/gmail.readonly was not granted" in err
    assert "select the checkbox" in err
    assert not credentials_file().exists()


def test_logout_can_keep_the_consent(gmail: Emulator, without_login: Path, run) -> None:  # type: ignore[no-untyped-def]
    token = gmail.environment()["GMAIL_REFRESH_TOKEN"]
    path = credentials_file()
    path.parent.mkdir()
    path.write_text(json.dumps({"refresh_token": token}), "utf-8")
    assert run("logout", "--keep-consent", "--json").json["revoked"] is False
    assert not path.exists()
    assert gmail.usage.calls.get("oauth.revoke", 0) == 0


def test_logout_revokes_at_the_login_endpoint_and_keeps_the_file_if_it_is_unreachable(
    gmail: Emulator,
    without_login: Path,
    run,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    path = credentials_file()
    path.parent.mkdir()
    stored = {"refresh_token": "1//secret", "oauth_root": "http://127.0.0.1:9"}
    path.write_text(json.dumps(stored), "utf-8")
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", gmail.url)
    result = run("logout")
    assert result.code == 1
    assert gmail.usage.calls.get("oauth.revoke", 0) == 0
    assert path.exists()
    assert "1//secret" not in result.out + result.err


def _assert_no_secret(text: str, path: Path) -> None:
    stored = json.loads(path.read_text("utf-8"))
    assert stored["refresh_token"] not in text
    assert stored["client_secret"] not in text
