"""Rebuilding rows of threads in Arrow equals an implementation in plain Python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
from gmail_client.schema import SCHEMAS, message_array, to_batch

LABELS = st.lists(st.sampled_from(["INBOX", "UNREAD", "TRASH", "SPAM", "Label_1"]), unique=True, max_size=3)


def message(message_id: str, thread_id: str, labels: list[str], date: int, history: int) -> dict[str, Any]:
    return {
        "id": message_id,
        "threadId": thread_id,
        "labelIds": labels,
        "snippet": f"snippet of {message_id}",
        "historyId": str(history),
        "internalDate": str(date),
        "payload": {"partId": "", "headers": [{"name": "X", "value": message_id}], "body": {"size": 0}},
    }


@st.composite
def mailboxes(draw: st.DrawFn) -> tuple[dict[str, list[dict[str, Any]]], list[ThreadEdit]]:
    threads: dict[str, list[dict[str, Any]]] = {}
    edits = []
    for index in range(draw(st.integers(0, 6))):
        thread_id = f"t{index}"
        stored = [
            message(
                f"{thread_id}m{n}",
                thread_id,
                draw(LABELS),
                draw(st.integers(0, 50)),
                draw(st.integers(1, 99)),
            )
            for n in range(draw(st.integers(0, 4)))
        ]
        if stored:
            threads[thread_id] = stored
        names = [m["id"] for m in stored]
        if draw(st.booleans()):
            edits.append(
                ThreadEdit(
                    thread_id,
                    put=[
                        message(
                            name, thread_id, draw(LABELS), draw(st.integers(0, 50)), draw(st.integers(1, 99))
                        )
                        for name in draw(
                            st.lists(
                                st.sampled_from([*names, f"{thread_id}n1", f"{thread_id}n2"]), unique=True
                            )
                        )
                    ],
                    labels={
                        name: (tuple(draw(LABELS)), draw(st.integers(1, 99)))
                        for name in draw(st.lists(st.sampled_from([*names, "unknown"]), unique=True))
                    },
                    drop=set(draw(st.lists(st.sampled_from([*names, "unknown"]), unique=True))),
                    history_id=draw(st.integers(0, 99)),
                    snippet=draw(st.none() | st.just("said by Gmail")),
                )
            )
    return threads, edits


def expected(stored: list[dict[str, Any]], sequence: int, edit: ThreadEdit) -> dict[str, Any] | None:
    members = {m["id"]: dict(m) for m in [*stored, *edit.put]}
    for name, (labels, history) in edit.labels.items():
        if name in members:
            members[name]["labelIds"] = list(labels)
            members[name]["historyId"] = str(max(history, int(members[name]["historyId"])))
    ordered = sorted(
        (m for name, m in members.items() if name not in edit.drop),
        key=lambda m: (int(m["internalDate"]), m["id"]),
    )
    if not ordered:
        return None
    shown = [m for m in ordered if not {"TRASH", "SPAM"} & set(m["labelIds"])] or ordered
    head = max(sequence, edit.history_id)
    return {
        "id": edit.thread_id,
        "snippet": edit.snippet if edit.snippet is not None else shown[-1]["snippet"],
        "historyId": str(head) if head else None,
        "messages": ordered,
    }


@settings(deadline=None, max_examples=60)
@given(mailboxes())
def test_rebuilt_rows_equal_those_of_plain_python(
    case: tuple[dict[str, list[dict[str, Any]]], list[ThreadEdit]],
) -> None:
    threads, edits = case
    stored = pa.Table.from_batches(
        [
            to_batch(
                "threads",
                [{"id": t, "historyId": "50", "messages": m} for t, m in threads.items()],
            )
        ],
        SCHEMAS["threads"],
    )
    content = [message for edit in edits for message in edit.put]
    places = iter(range(len(content)))
    placed = [replace(edit, put=[next(places) for _ in edit.put]) for edit in edits]
    rows, emptied = rebuild(stored, placed, message_array(content))
    wanted = [
        expected(threads.get(edit.thread_id, []), 50 if edit.thread_id in threads else 0, edit)
        for edit in edits
    ]
    assert emptied == [edit.thread_id for edit, row in zip(edits, wanted, strict=True) if row is None]
    present = [row for row in wanted if row is not None]
    model = to_batch("threads", present).to_pylist()
    assert rows.to_pylist() == model
    assert rows.schema.equals(SCHEMAS["threads"])
