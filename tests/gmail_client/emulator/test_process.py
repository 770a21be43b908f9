"""The emulator in a separate process, from the command line and with `EmulatorProcess`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import requests

from gmail_client.emulator import Behavior, Emulator, EmulatorProcess, Fault
from gmail_client.emulator.__main__ import main, make_parser
from gmail_client.http.clock import ScaledClock

HIDDEN_OPTIONS = ("--help", "--json", "--end-with-input")
"""For programs that start it."""


def test_a_process_and_its_admin_routes(tmp_path: Path) -> None:
    arguments = {"messages": 15, "mailboxes": 2, "seed": 3}
    with (
        EmulatorProcess(
            **arguments,
            clock=ScaledClock(50),
            behavior=Behavior(ghost_label=True, listing_order="oldest"),
            journal=tmp_path / "journal",
            service_account_file=tmp_path / "key.json",
        ) as process,
        requests.Session() as session,
    ):
        environment = process.environment()
        assert environment["GMAIL_API_ROOT"] == process.url
        assert Path(environment["GMAIL_SERVICE_ACCOUNT_FILE"]).is_file()
        with Emulator(**arguments, behavior=Behavior(ghost_label=True)) as twin:
            assert process.addresses == twin.addresses
            assert process.truth("messages", format="raw") == twin.truth("messages", format="raw")
            assert process.truth("labels", q="x", label_ids=["INBOX"]) == twin.truth("labels")
        session.headers["Authorization"] = f"Bearer {process.access_token()}"
        listed = session.get(
            f"{process.url}/gmail/v1/users/me/messages?includeSpamTrash=true", timeout=10
        ).json()
        mailbox = process.mailbox()
        assert [item["id"] for item in listed["messages"]] == mailbox.write("message_ids")
        message_id = mailbox.write("insert", mail=mailbox.write("random_mail"), label_ids=["INBOX"])
        assert mailbox.write("label_ids", message_id=message_id) == ["INBOX"]
        assert process.usage()["calls"] == {"messages.list": 1}
        assert process.usage()["mailboxUnits"] == {process.addresses[0]: 5}
        process.reset_usage()
        assert process.usage()["totalCalls"] == 0
        process.add_fault(Fault("getProfile", kind="precondition", times=1))
        profile = f"{process.url}/gmail/v1/users/me/profile"
        assert [session.get(profile, timeout=10).status_code for _ in range(2)] == [400, 200]
        process.clear_faults()
        head = session.get(profile, timeout=10).json()["historyId"]
        history = f"{process.url}/gmail/v1/users/me/history?startHistoryId={head}"
        process.expire_history(upto=head)
        assert session.get(history, timeout=10).status_code == 200
        process.expire_history()
        assert session.get(history, timeout=10).status_code == 404
        with pytest.raises(RuntimeError, match="upto is at most the head"):
            process.expire_history(upto=10**15)
        first = process.time()
        assert process.time() > first
        process.revoke_tokens()
        assert session.get(profile, timeout=10).status_code == 401
        with pytest.raises(RuntimeError, match="no operation 'explode'; there are"):
            mailbox.write("explode")
        with pytest.raises(RuntimeError, match="404"):
            mailbox.write("trash", message_id="ffff")
        with pytest.raises(RuntimeError, match="no table"):
            process.truth("mails")


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator(messages=0) as gmail:
        port = gmail.url.rpartition(":")[2]
        assert main(["--port", port]) == 1
        output = capsys.readouterr().err
        assert output.startswith(f"gmail emulator: port {port} cannot be used: ")
        assert output.count("\n") == 1
        with pytest.raises(RuntimeError, match=f"port {port} cannot be used"):
            EmulatorProcess(port=int(port))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--quota", "fast"], "quota is current, legacy, none or units"),
        (["--mailboxes", "0"], "mailboxes is at least 1"),
        (["--mbox", "/nowhere/x.mbox"], "mbox: there is no file"),
        (["--behavior", "colour=red"], "unknown behavior 'colour'"),
        (["--behavior", "ghost_label=maybe"], "ghost_label is true or false"),
        (["--behavior", "empty_pages=-1"], "empty_pages is a number from 0"),
        (["--behavior", "history_message_fields=none"], "history_message_fields is one of all, ids, id"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert says in capsys.readouterr().err


def test_the_printed_environment(tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "one.eml").write_bytes(b"Subject: mine\r\n\r\nHello\r\n")
    command = [sys.executable, "-m", "gmail_client.emulator", "--messages", "0", "--eml", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "# Mailboxes: ada.ashdown@gmail.test\n"
        lines = [process.stdout.readline() for _ in range(6)]
        found = dict(line.removeprefix("export ").rstrip().split("=", 1) for line in lines)
        assert set(found) == {
            "GMAIL_CLIENT_ID",
            "GMAIL_CLIENT_SECRET",
            "GMAIL_REFRESH_TOKEN",
            "GMAIL_USER_ID",
            "GMAIL_API_ROOT",
            "GMAIL_OAUTH_ROOT",
        }
        truth = requests.get(f"{found['GMAIL_API_ROOT']}/_emulator/truth?table=messages", timeout=10).json()
        assert [row["snippet"] for row in truth] == ["Hello"]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_the_process_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "gmail_client.emulator", "--messages", "0", "--end-with-input"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_behavior_round_trips() -> None:
    behavior = Behavior(ghost_label=True, empty_pages=4, listing_order="shuffled", max_results_above="refuse")
    assert Behavior.parse(behavior.words()) == behavior
    assert Behavior().words() == []
    assert make_parser().parse_args([]).quota == "current"


def test_admin_routes_only_for_names_of_this_machine() -> None:
    with Emulator(messages=1) as gmail:
        url = f"{gmail.url}/_emulator/usage"
        assert requests.get(url, timeout=10).status_code == 200
        assert requests.get(url, headers={"Host": "evil.example"}, timeout=10).status_code == 400
        assert requests.post(f"{gmail.url}/_emulator/nothing", json={}, timeout=10).status_code == 400
        wrong = requests.post(f"{gmail.url}/_emulator/faults", json={"kinds": 1}, timeout=10)
        assert "unknown keys" in wrong.json()["error"]


def test_the_docs_page_names_every_behavior_and_option() -> None:
    page = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text()
    missing = [field.name for field in fields(Behavior) if f"| `{field.name}` |" not in page]
    options = [action.option_strings[-1] for action in make_parser()._actions]
    missing += [option for option in options if option not in page and option not in HIDDEN_OPTIONS]
    assert missing == []
