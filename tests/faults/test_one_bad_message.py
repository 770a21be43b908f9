"""Trouble with one message is that message's: the others are stored, it is noted with a reason, and comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.chaos import client_of
from support.hostile import BROKEN, recorded, serve
from support.lake import assert_lake_equals_mailbox, stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.client import Mailbox
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ForbiddenError, GmailError, NoMailboxError
from gmail_client.spec import SpecTable

TABLES = [SpecTable.parse({"source_table": name}) for name in ("messages", "threads")]


def ids(lake: Lake) -> set[str]:
    """Ids of the stored messages, which both tables hold alike."""
    messages = {row["id"] for row in stored_rows(lake, "messages")}
    threads = {member["id"] for row in stored_rows(lake, "threads") for member in row["messages"]}
    assert messages == threads
    return messages


def unfetched(lake: Lake) -> dict[str, str]:
    """The reason by message id; both tables lack the same."""
    delta = lake.find("_gmail_unfetched")
    rows = [] if delta is None else delta.to_pyarrow_table().to_pylist()
    by_table = [
        {row["id"]: row["error"] for row in rows if row["table"] == table.source_table} for table in TABLES
    ]
    assert by_table[0].keys() == by_table[1].keys()
    return by_table[0]


def with_one_broken(how: str, broken: str) -> Mailbox:
    """The mailbox, with one message that is broken, also in its thread."""

    def change(path: str, document: dict[str, Any]) -> Any:
        if path == f"messages/{broken}":
            return BROKEN[how](document)
        if path.startswith("threads/"):
            for place, message in enumerate(document["messages"]):
                if message["id"] == broken:
                    changed = BROKEN[how](message)
                    document["messages"][place] = changed
                    return document if isinstance(changed, dict) else changed
        return document

    return serve(change)


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_message_is_noted_with_a_reason_and_the_others_are_stored(how: str, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    gets = [document for path, document in recorded().items() if path.startswith("messages/")]
    visible = {message["id"] for message in gets if not {"SPAM", "TRASH"} & set(message["labelIds"])}
    broken = min(visible)
    results = sync(with_one_broken(how, broken), lake, TABLES)
    assert all(result.complete and result.unfetched == 1 for result in results.values())
    assert ids(lake) == visible - {broken}
    assert unfetched(lake).keys() == {broken}
    assert unfetched(lake)[broken].startswith("messages.get: ")
    sync(serve(lambda path, document: document), lake, TABLES)
    assert ids(lake) == visible
    assert unfetched(lake) == {}


@pytest.mark.parametrize("where", ["every get", "getProfile"])
def test_a_run_fails_if_every_get_or_the_profile_is_refused(where: str, tmp_path: Path) -> None:
    with Emulator(messages=130, seed=2, mean_json_kb=1.0) as gmail:
        methods = ("messages.get", "threads.get") if where == "every get" else ("getProfile",)
        for method in methods:
            gmail.faults.add(Fault(method=method, status=403, reason="forbidden"))
        with pytest.raises(ForbiddenError):
            sync(client_of(gmail).mailbox(), Lake(str(tmp_path)), TABLES)


@pytest.mark.parametrize(
    "method", ["getProfile", "messages.list", "threads.list", "messages.get", "threads.get"]
)
def test_one_failed_precondition_ends_no_run(method: str, tmp_path: Path) -> None:
    with Emulator(messages=30, seed=2, mean_json_kb=1.0) as gmail:
        gmail.faults.add(Fault(method=method, kind="precondition", times=1))
        lake = Lake(str(tmp_path))
        results = sync(client_of(gmail).mailbox(), lake, TABLES)
        assert all(result.complete and not result.unfetched for result in results.values())
        assert_lake_equals_mailbox(lake, gmail, TABLES)
        assert gmail.usage.fetched_twice == {}


def test_failed_preconditions_of_two_percent_cost_no_row(tmp_path: Path) -> None:
    with Emulator(messages=250, seed=2, mean_json_kb=1.0) as gmail:
        for method in ("messages.get", "threads.get", "messages.list", "history.list"):
            gmail.faults.add(Fault(method=method, kind="precondition", share=0.02, seed=4))
        lake = Lake(str(tmp_path))
        assert sync(client_of(gmail).mailbox(), lake, TABLES)["messages"].complete
        gmail.faults.clear()
        assert_lake_equals_mailbox(lake, gmail, TABLES)
        assert gmail.usage.fetched_twice == {}


def test_lasting_failed_preconditions_mean_no_mailbox_only_if_the_profile_has_them(tmp_path: Path) -> None:
    with Emulator(messages=10, seed=2, mean_json_kb=1.0) as gmail:
        gmail.faults.add(Fault(method="messages.list", kind="precondition"))
        with pytest.raises(GmailError) as refused:
            sync(client_of(gmail).mailbox(), Lake(str(tmp_path / "a")), TABLES)
        assert not isinstance(refused.value, NoMailboxError)
        gmail.faults.add(Fault(method="getProfile", kind="precondition"))
        with pytest.raises(NoMailboxError):
            sync(client_of(gmail).mailbox(), Lake(str(tmp_path / "b")), TABLES)
