"""Mailboxes without anything to do are found for one unit each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from gmail_assets.delta.forgotten import forget
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages
from gmail_assets.operations.unchanged import UnchangedMailboxes
from gmail_assets.syncing import snapshot, sync
from gmail_assets.views import ViewSources, derive
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES
from gmail_client.views import VIEWS

SPEC = Spec.default()
TABLES = [*CHANGE_TABLES, "labels", "profile", "delegates", *VIEWS]
HOUR = 3600


def load(lake: Lake, *, derived: bool = True) -> str:
    mailbox = GmailClient.from_settings().mailbox("me")
    sync(mailbox, lake, [entry for entry in SPEC.tables if entry.source_table in CHANGE_TABLES])
    for entry in SPEC.tables:
        if entry.source_table in TABLES and entry.source_table not in CHANGE_TABLES:
            snapshot(mailbox, lake, entry)
    if derived:
        derive(lake, mailbox.address, ViewSources.of(SPEC))
    return mailbox.address


def unchanged(lake: Lake, **options: float) -> list[str]:
    state = UnchangedMailboxes(lake, SPEC, TABLES, **{"snapshot_seconds": HOUR, **options})
    client = GmailClient.from_settings(retry_seconds=0)
    return state.find(client, ["me"], jobs=2)


def test_nothing_to_do_costs_one_unit(environment: Emulator, lake_of_test: Lake):
    assert unchanged(lake_of_test) == []  # nothing is loaded yet, and nothing is asked
    assert environment.usage.total_units == 0
    load(lake_of_test)
    versions = log_of(lake_of_test)
    before = environment.usage.total_units
    assert unchanged(lake_of_test) == ["me"]
    assert environment.usage.total_units == before + 1
    assert log_of(lake_of_test) == versions


def test_each_unchanged_mailbox_costs_one_unit(
    lake_of_test: Lake, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(mailboxes=6, messages=2, seed=5) as gmail:
        gmail.service_account_file(clean_environment / "key.json")
        monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(clean_environment / "key.json"))
        monkeypatch.setenv("GMAIL_API_ROOT", gmail.url)
        monkeypatch.setenv("GMAIL_OAUTH_ROOT", gmail.url)
        client = GmailClient.from_settings()
        mail = [entry for entry in SPEC.tables if entry.source_table in CHANGE_TABLES]
        for address in gmail.addresses:
            sync(client.mailbox(address), lake_of_test, mail)
        changed = gmail.addresses[3]
        gmail.mailbox(changed).insert(b"Subject: new\r\n\r\nText", ["INBOX"])
        gmail.usage.reset()
        state = UnchangedMailboxes(lake_of_test, SPEC, CHANGE_TABLES, snapshot_seconds=HOUR)
        found = state.find(client, gmail.addresses, jobs=4)
        assert found == [address for address in gmail.addresses if address != changed]
        assert gmail.usage.mailbox_units == dict.fromkeys(gmail.addresses, 1)


def log_of(lake: Lake) -> dict[str, int]:
    assert lake.folder is not None
    return {path.parent.name: DeltaTable(path.parent).version() for path in lake.folder.glob("*/_delta_log")}


def new_mail(gmail: Emulator, lake: Lake) -> None:
    gmail.mailbox().insert(gmail.mailbox().random_mail(), ["INBOX"])


def derived_late(gmail: Emulator, lake: Lake) -> None:
    new_mail(gmail, lake)
    load(lake, derived=False)


def finding(gmail: Emulator, lake: Lake) -> None:
    partition = partition_statuses(lake, gmail.addresses[0], SPEC.tables)["messages"].partition
    partition.commit(partition.state.counted(3))


def restored(gmail: Emulator, lake: Lake) -> None:
    DeltaTable(lake.location("messages")).restore(0)


def restored_view(gmail: Emulator, lake: Lake) -> None:
    DeltaTable(lake.location("emails")).restore(0)


def refused_message(gmail: Emulator, lake: Lake) -> None:
    UnfetchedMessages(lake).replace(gmail.addresses[0], "messages", {"1": Unfetched("1", "503")})


def erased(gmail: Emulator, lake: Lake) -> None:
    forget(lake, gmail.addresses[0])


def no_answer(gmail: Emulator, lake: Lake) -> None:
    gmail.faults.add(Fault(status=503))


def another_account(gmail: Emulator, lake: Lake) -> None:
    gmail.faults.add(Fault(method="getProfile", kind="patch", patch={"emailAddress": gmail.addresses[1]}))


@pytest.mark.parametrize(
    "event",
    [
        *(new_mail, derived_late, finding, restored, restored_view),
        *(refused_message, erased, no_answer, another_account),
    ],
)
def test_what_needs_a_run(event: Callable[[Emulator, Lake], None], environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    event(environment, lake_of_test)
    assert unchanged(lake_of_test) == []


def test_a_snapshot_is_read_again_after_some_time(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    assert unchanged(lake_of_test, snapshot_seconds=-1) == []


LOADED_IF_UNCHANGED = {
    *("click", "gmail_assets", "gmail_client"),
    *("pyarrow", "cloudpickle", "dateutil", "six"),
    *("deltalake", "arro3"),
    *("pydantic", "pydantic_core", "pydantic_settings", "annotated_types", "dotenv"),
    *("typing_extensions", "typing_inspection"),
    *("requests", "urllib3", "certifi", "idna", "google", "cryptography"),
}
"""The packages that a sync with nothing to do imports. A further one costs CPU time in each process."""


@pytest.mark.parametrize("changed", [False, True])
def test_the_command_line_imports_only_what_it_needs(
    environment: Emulator, lake_of_test: Lake, changed: bool
):
    program = (
        "import sys, json; from gmail_assets.cli import main; code = main();"
        "loaded = {name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names;"
        "print(json.dumps([code, sorted(loaded)]))"
    )
    load(lake_of_test)
    if changed:
        new_mail(environment, lake_of_test)
    command = [sys.executable, "-c", program, "sync", "--json", *CHANGE_TABLES, *VIEWS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    result, ends = done.stdout.rsplit("\n", 2)[:2]
    code, loaded = json.loads(ends)
    assert code == 0
    own = {name for name in loaded if not name.startswith("_") and name != "cython_runtime"}
    assert own - LOADED_IF_UNCHANGED == ({"rich"} if changed else set())
    (mailbox,) = json.loads(result)["mailboxes"]
    assert mailbox["unchanged"] is not changed
    assert mailbox["run_id"] is None
    assert not changed or mailbox["tables"]["emails"]["rows_written"] == 1
