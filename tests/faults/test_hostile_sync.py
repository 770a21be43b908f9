"""Any JSON in any field of any response: a sync ends in rows or a `GmailError`, and the next valid sync repairs it."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples
from support.hostile import JSON, places, recorded, replaced, serve

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, UnavailableError
from gmail_client.spec import SpecTable

TABLES = [SpecTable.parse({"source_table": name}) for name in ("messages", "threads")]
PATHS = sorted(
    path
    for path in recorded()
    if path in ("profile", "history", "messages", "threads") or path.startswith(("messages/", "threads/"))
)
Change = tuple[str, tuple[Any, ...], Any]


def honest() -> Mailbox:
    return serve(lambda path, document: document)


def earlier() -> Mailbox:
    """The mailbox before the recorded history, according to its profile."""
    start = min(int(record["id"]) for record in recorded()["history"]["history"]) - 1

    def change(path: str, document: dict[str, Any]) -> Any:
        if path == "history":
            document = {"historyId": str(start)}
        return {**document, "historyId": str(start)} if path == "profile" else document

    return serve(change)


def run(mailbox: Mailbox, lake: Lake, **named: Any) -> None:
    sync(mailbox, lake, TABLES, sample=random.Random(1), allow_mass_delete=True, **named)


def rows(lake: Lake) -> dict[str, dict[str, Any]]:
    """The keys of each table's rows, with their labels."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("messages", "threads"):
        delta = lake.find(name)
        stored = [] if delta is None else delta.to_pyarrow_table().to_pylist()
        keys = [row["id"] for row in stored]
        assert all(isinstance(key, str) and key for key in keys)
        assert len(keys) == len(set(keys))
        found[name] = {
            row["id"]: sorted(row["labelIds"] or ())
            if name == "messages"
            else {member["id"]: sorted(member["labelIds"] or ()) for member in row["messages"]}
            for row in stored
        }
        for row in stored:
            members = [] if name == "messages" else [member["id"] for member in row["messages"]]
            assert len(members) == len(set(members))
            assert name == "messages" or members
    return found


@cache
def synced() -> tuple[Path, dict[str, dict[str, Any]]]:
    """A lake that was synced before the recorded history, and its rows after a sync without faults."""
    place = Path(_FOLDER.name)
    run(earlier(), Lake(str(place / "before")))
    shutil.copytree(place / "before", place / "after")
    run(honest(), Lake(str(place / "after")), reconcile=True)
    return place / "before", rows(Lake(str(place / "after")))


_FOLDER = TemporaryDirectory(prefix="hostile-")


@st.composite
def changes(draw: st.DrawFn) -> Change:
    path = draw(st.sampled_from(PATHS))
    place = draw(st.sampled_from(sorted(places(recorded()[path]), key=str)))
    return path, place, draw(JSON.filter(lambda value: value is not ... or place != ()))


def survive(change: Change, mode: str) -> None:
    path, place, value = change
    hostile = serve(
        lambda request, document: _replaced(document, place, value) if request == path else document
    )
    before, expected = synced()
    with TemporaryDirectory() as folder:
        lake = Lake(f"{folder}/lake")
        if mode != "load":
            shutil.copytree(before, f"{folder}/lake")
        problem = "none"
        try:
            run(hostile, lake, reconcile=mode == "reconcile")
        except GmailError as error:
            problem = str(error)
        assert 0 < len(problem) < 2_000
        rows(lake)
        # One sync without faults is enough.
        run(honest(), lake, reconcile=True)
        assert rows(lake) == expected


def _replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    try:
        return replaced(document, place, value)
    except (KeyError, IndexError):
        return document  # a record before the start


MODES = st.sampled_from(["load", "incremental", "reconcile"])


@examples(12)
@example(change=("profile", ("historyId",), "9" * 18), mode="incremental")
@example(change=("messages", ("messages", 0, "threadId"), ...), mode="load")
@example(change=("messages", ("messages", 6, "threadId"), 0), mode="load")
@example(change=("messages", ("messages", 6, "threadId"), 0), mode="reconcile")
@example(change=("history", ("history", 0, "id"), "abc"), mode="incremental")
@given(change=changes(), mode=MODES)
def test_tables_are_repaired_by_a_sync_after_hostile_responses(change: Change, mode: str) -> None:
    survive(change, mode)


@pytest.mark.slow
@examples(400)
@given(change=changes(), mode=MODES)
def test_any_json_in_any_field_many_times(change: Change, mode: str) -> None:
    survive(change, mode)


def moved(message_id: str, thread_id: str) -> Mailbox:
    """A mailbox that shows a message in another thread, in every response."""
    source = recorded()[f"messages/{message_id}"]["threadId"]
    message = {**recorded()[f"messages/{message_id}"], "threadId": thread_id}

    def change(path: str, document: dict[str, Any]) -> Any:
        if path == f"messages/{message_id}":
            return message
        if path == f"threads/{source}":
            kept = [one for one in document["messages"] if one["id"] != message_id]
            return {**document, "messages": kept}
        if path == f"threads/{thread_id}":
            return {**document, "messages": [*document["messages"], message]}
        for one in document.get("messages", ()) if path == "messages" else ():
            one["threadId"] = thread_id if one["id"] == message_id else one["threadId"]
        if path == "history":
            document["history"] = []
        return document

    return serve(change)


@pytest.mark.parametrize("into", ["a new thread", "another thread"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone in its thread", "one of two in its thread"])
def test_a_message_under_a_wrong_thread_is_repaired_by_a_reconciliation(
    tmp_path: Path, alone: bool, into: str
) -> None:
    listed = recorded()["messages"]["messages"]
    sizes = Counter(one["threadId"] for one in listed)
    message = next(one for one in listed if (sizes[one["threadId"]] == 1) == alone)
    other = next(one["threadId"] for one in listed if one["threadId"] != message["threadId"])
    target = "19aaaaaaaaaaaaaa" if into == "a new thread" else other
    lake = Lake(str(tmp_path))
    run(moved(message["id"], target), lake)
    expected = synced()[1]
    wrong = rows(lake)["threads"]
    assert message["id"] in wrong[target]
    assert wrong != expected["threads"]
    run(honest(), lake, reconcile=True)
    assert rows(lake) == expected


@pytest.mark.parametrize(
    ("empty", "stored"),
    [
        (["messages"], True),
        (["threads"], True),
        (["messages", "threads"], True),
        (["messages"], False),
        (["messages", "threads"], False),
    ],
)
def test_an_empty_listing_of_a_mailbox_with_messages_deletes_and_ends_nothing(
    tmp_path: Path, empty: list[str], stored: bool
) -> None:
    mailbox = serve(lambda path, document: {"resultSizeEstimate": 0} if path in empty else document)
    before, expected = synced()
    if stored:
        shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    lake = Lake(str(tmp_path))
    with pytest.raises(UnavailableError, match=r"list: the listing is empty, but getProfile counts \d"):
        run(mailbox, lake, reconcile=stored)
    assert rows(lake) == (rows(Lake(str(before))) if stored else {"messages": {}, "threads": {}})
    run(honest(), lake, reconcile=stored)
    assert rows(lake) == expected


def test_valid_responses_sync_and_repair_nothing() -> None:
    before, expected = synced()
    assert len(expected["messages"]) >= 5
    assert len(expected["threads"]) >= 3
    assert rows(Lake(str(before)))["messages"] != {}
