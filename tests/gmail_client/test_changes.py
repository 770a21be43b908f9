"""Draining the history: one change for each message, and a cursor that passes nothing unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gmail_client.api import HistoryPage
from gmail_client.changes import read_changes


class History:
    """Pages of records, each with the head that Gmail would name."""

    def __init__(self, *pages: tuple[list[dict[str, Any]], int]) -> None:
        self.pages = pages

    def history(self, start: str) -> Iterator[HistoryPage]:
        for records, head in self.pages:
            yield HistoryPage([r for r in records if int(r["id"]) > int(start)], str(head), None)


def record(record_id: int, **events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": str(record_id), **events}


def message(message_id: str, *labels: str, thread: str = "t") -> dict[str, Any]:
    return {"id": message_id, "threadId": thread, **({"labelIds": list(labels)} if labels else {})}


def added(message_id: str, *labels: str) -> dict[str, Any]:
    return {"messagesAdded": [{"message": message(message_id, *labels)}]}


def test_the_cursor_does_not_pass_what_came_while_the_pages_were_read() -> None:
    """Whether later pages hold what came after the first is not documented; that the head moves on is."""
    history = History(([record(11, **added("a"))], 12), ([record(12, **added("b"))], 20))
    assert read_changes(history, 10).head == 12  # type: ignore[arg-type]


def test_the_cursor_is_at_the_last_record_where_that_is_beyond_the_first_page_s_head() -> None:
    history = History(([record(11, **added("a"))], 12), ([record(14, **added("b"))], 20))
    assert read_changes(history, 10).head == 14  # type: ignore[arg-type]


def test_an_empty_history_moves_the_cursor_to_the_head_and_never_back() -> None:
    assert read_changes(History(([], 30)), 10).head == 30  # type: ignore[arg-type]
    assert read_changes(History(([], 5)), 10).head == 10  # type: ignore[arg-type]


def test_a_limit_parts_no_record_and_the_rest_begins_after_it() -> None:
    pages = [record(11, **added("a")), record(12, **added("b"))], 14
    history = History(pages, ([record(12, **added("c")), record(13, **added("d"))], 14))
    first = read_changes(history, 10, limit=2)  # type: ignore[arg-type]
    assert (first.messages.keys(), first.head, first.more) == ({"a", "b", "c"}, 12, True)
    rest = read_changes(history, first.head, limit=2)  # type: ignore[arg-type]
    assert (rest.messages.keys(), rest.head, rest.more) == ({"d"}, 14, False)


@pytest.mark.parametrize(
    ("records", "before", "after"),
    [
        (
            [record(1, labelsAdded=[{"message": message("a", "X", "Y"), "labelIds": ["Y"]}])],
            ["Z"],
            ("X", "Y"),
        ),
        ([record(1, labelsAdded=[{"message": message("a"), "labelIds": ["Y"]}])], ["Z"], ("Z", "Y")),
        ([record(1, labelsRemoved=[{"message": message("a"), "labelIds": ["Z"]}])], ["Z"], ()),
        ([record(1, labelsRemoved=[{"message": message("a"), "labelIds": ["Z"]}])], None, None),
        (
            [
                record(1, labelsAdded=[{"message": message("a", "X"), "labelIds": ["X"]}]),
                record(2, labelsRemoved=[{"message": message("a"), "labelIds": ["X"]}]),
            ],
            None,
            (),
        ),
        (
            [
                record(1, labelsRemoved=[{"message": message("a"), "labelIds": ["X"]}]),
                record(2, labelsAdded=[{"message": message("a"), "labelIds": ["X"]}]),
            ],
            ["X"],
            ("X",),
        ),
    ],
)
def test_labels_follow_the_records(
    records: list[dict[str, Any]], before: list[str] | None, after: tuple[str, ...] | None
) -> None:
    changes = read_changes(History((records, 9)), 0)  # type: ignore[arg-type]
    assert changes.messages["a"].labels_after(before) == after


def test_the_last_record_that_names_a_thread_says_it() -> None:
    def named(record_id: int, thread: str | None) -> dict[str, Any]:
        one = {"id": "a", "labelIds": ["INBOX"], **({"threadId": thread} if thread else {})}
        return record(record_id, labelsAdded=[{"message": one, "labelIds": ["INBOX"]}])

    history = History(([named(11, "t"), named(12, "u"), named(13, None)], 13))
    (change,) = read_changes(history, 10).messages.values()  # type: ignore[arg-type]
    assert (change.thread_id, change.history_id) == ("u", 13)
