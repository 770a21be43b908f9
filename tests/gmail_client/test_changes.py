"""Reading the history: one change per message, and a cursor that does not skip records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from support.fake_gmail import FakeGmail, FakeRequest, FakeResponse, ManualClock, connect

from gmail_client.api import ApiCall, ApiResult, HistoryPage
from gmail_client.changes import ListedThread, list_message_ids, list_thread_heads, read_changes
from gmail_client.errors import HistoryExpiredError, NotFoundError, UnavailableError
from gmail_client.options import TableOptions


class History:
    """Pages of records, each with the head that Gmail would return."""

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


def test_the_cursor_does_not_pass_changes_made_while_the_pages_were_read() -> None:
    """It is documented that the head moves, but not whether later pages contain records after the first page's head."""
    history = History(([record(11, **added("a"))], 12), ([record(12, **added("b"))], 20))
    assert read_changes(history, 10).head == 12  # type: ignore[arg-type]


def test_the_cursor_is_at_the_last_record_where_that_is_beyond_the_first_page_s_head() -> None:
    history = History(([record(11, **added("a"))], 12), ([record(14, **added("b"))], 20))
    assert read_changes(history, 10).head == 14  # type: ignore[arg-type]


def test_an_empty_history_moves_the_cursor_to_the_head_and_never_back() -> None:
    assert read_changes(History(([], 30)), 10).head == 30  # type: ignore[arg-type]
    assert read_changes(History(([], 5)), 10).head == 10  # type: ignore[arg-type]


def test_a_limit_splits_no_record_and_the_next_slice_starts_after_it() -> None:
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


def test_the_last_record_that_names_a_thread_counts() -> None:
    def named(record_id: int, thread: str | None) -> dict[str, Any]:
        one = {"id": "a", "labelIds": ["INBOX"], **({"threadId": thread} if thread else {})}
        return record(record_id, labelsAdded=[{"message": one, "labelIds": ["INBOX"]}])

    history = History(([named(11, "t"), named(12, "u"), named(13, None)], 13))
    (change,) = read_changes(history, 10).messages.values()  # type: ignore[arg-type]
    assert (change.thread_id, change.history_id) == ("u", 13)


class Readable(History):
    """A history whose messages can be fetched: thread and labels by id; others are deleted."""

    def __init__(
        self, found: dict[str, tuple[str, list[str]]], *pages: tuple[list[dict[str, Any]], int]
    ) -> None:
        super().__init__(*pages)
        self.found = found
        self.read: list[str] = []

    def message_call(self, message_id: str, format: str) -> ApiCall:
        assert format == "minimal"
        return ApiCall("messages.get", f"/{message_id}", key=message_id)

    def get_many(self, calls: Iterable[ApiCall]) -> Iterator[ApiResult]:
        for call in calls:
            self.read.append(call.key)
            if call.key in self.found:
                thread, labels = self.found[call.key]
                named = {"threadId": thread} if thread else {}
                yield ApiResult(call, {"id": call.key, "labelIds": labels, **named}, None, 1)
            else:
                yield ApiResult(call, None, NotFoundError("gone", fix="-"), 1)


def test_a_message_named_without_an_event_is_fetched() -> None:
    bare = [{"id": name, "threadId": "t"} for name in ("a", "b", "c")]
    known = {"messages": bare[2:], "labelsAdded": [{"message": message("c", "INBOX"), "labelIds": ["INBOX"]}]}
    history = Readable({"a": ("t", ["STARRED"])}, ([record(11, messages=bare[:2]), record(12, **known)], 12))
    found = read_changes(history, 10).messages  # type: ignore[arg-type]
    assert history.read == ["a", "b"]
    assert (found["a"].labels, found["a"].deleted, found["a"].unclear) == (("STARRED",), False, True)
    assert (found["b"].deleted, found["b"].thread_id) == (True, "t")
    assert (found["c"].labels, found["c"].unclear) == (("INBOX",), False)


def test_state_given_by_a_later_record_is_not_fetched() -> None:
    bare = [{"id": name, "threadId": "t"} for name in ("a", "b")]
    later = record(
        12, messagesDeleted=[{"message": message("a")}], labelsAdded=[{"message": message("b", "INBOX")}]
    )
    history = Readable({}, ([record(11, messages=bare), later], 12))
    found = read_changes(history, 10).messages  # type: ignore[arg-type]
    assert history.read == []
    assert (found["a"].deleted, found["b"].labels) == (True, ("INBOX",))


def test_a_thread_id_is_read_from_the_messages_or_fetched() -> None:
    by_list = record(11, messages=[{"id": "a", "threadId": "t"}], messagesAdded=[{"message": {"id": "a"}}])
    alone = record(12, messagesAdded=[{"message": {"id": "b"}}])
    history = Readable({"b": ("u", ["INBOX"])}, ([by_list, alone], 12))
    found = read_changes(history, 10).messages  # type: ignore[arg-type]
    assert history.read == ["b"]
    assert (found["a"].thread_id, found["b"].thread_id, found["b"].labels) == ("t", "u", ("INBOX",))


def test_a_deleted_message_whose_thread_is_unknown_needs_a_reconciliation() -> None:
    history = Readable({}, ([record(11, messagesDeleted=[{"message": {"id": "a"}}])], 12))
    with pytest.raises(HistoryExpiredError, match="does not name the thread of the message a"):
        read_changes(history, 10)  # type: ignore[arg-type]


def test_a_message_that_nobody_names_a_thread_for_needs_a_reconciliation() -> None:
    bare = record(11, messages=[{"id": "a", "threadId": "t"}, {"id": "b"}])
    history = Readable({"a": ("", ["STARRED"]), "b": ("u", [])}, ([bare], 11))
    found = read_changes(history, 10).messages  # type: ignore[arg-type]
    assert (found["a"].thread_id, found["a"].labels, found["b"].thread_id) == ("t", ("STARRED",), "u")
    history = Readable({"a": ("t", []), "b": ("", [])}, ([bare], 11))
    with pytest.raises(HistoryExpiredError, match="does not name the thread of the message b"):
        read_changes(history, 10)  # type: ignore[arg-type]


def test_records_that_are_not_after_the_start_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    old = record(2, messagesDeleted=[{"message": message("a")}])

    class Unfiltered(History):
        def history(self, start: str) -> Iterator[HistoryPage]:
            for records, head in self.pages:
                yield HistoryPage(records, str(head), None)

    changes = read_changes(Unfiltered(([record(11, **added("b")), old], 12)), 10)  # type: ignore[arg-type]
    assert changes.messages.keys() == {"b"}
    assert "ignored record 2" in caplog.text


def test_a_message_added_and_changed_is_an_addition() -> None:
    star = {"labelsAdded": [{"message": message("a", "INBOX", "STARRED"), "labelIds": ["STARRED"]}]}
    history = History(([record(11, **added("a", "INBOX")), record(12, **star), record(13, **added("b"))], 13))
    changes = read_changes(history, 10)  # type: ignore[arg-type]
    assert (changes.messages["a"].arrived, changes.messages["b"].arrived) == (True, True)
    assert changes.messages["a"].moved == {"STARRED"}
    assert changes.records == 3
    only = read_changes(History(([record(12, **star)], 12)), 10)  # type: ignore[arg-type]
    assert not only.messages["a"].arrived


def test_a_listed_thread_has_its_history_id() -> None:
    class Threads:
        def list_threads(self, **_: Any) -> Iterator[list[dict[str, Any]]]:
            yield [{"id": "t", "historyId": "7", "snippet": "s"}, {"id": "u"}]

    heads = list_thread_heads(Threads(), TableOptions())  # type: ignore[arg-type]
    assert heads == {"t": ListedThread(7, "s"), "u": ListedThread(0, "")}


@pytest.mark.parametrize("listing", [list_message_ids, list_thread_heads])
@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize(("total", "hidden"), [(0, 0), (2, 2), (2, 0)])
def test_an_empty_listing_agrees_with_the_number_of_messages(
    listing: Any, everything: bool, total: int, hidden: int
) -> None:
    """Only a mailbox without messages has an empty listing; without spam and trash, one of spam and trash has too."""

    def handler(request: FakeRequest) -> FakeResponse:
        if request.path.endswith("/profile"):
            return FakeResponse(
                json={"emailAddress": "a@b.test", "historyId": "9", "messagesTotal": total, "threadsTotal": 0}
            )
        items = [{"id": f"18{n}", "threadId": "18"} for n in range(hidden)]
        shown = items if "includeSpamTrash" in request.params and request.path.endswith("/messages") else []
        return FakeResponse(json={"messages": shown, "resultSizeEstimate": 0})

    api = connect(FakeGmail(handler), ManualClock()).mailbox().api
    if total and (not hidden or (everything and listing is list_thread_heads)):
        with pytest.raises(UnavailableError, match="empty, but getProfile counts 2 messages"):
            listing(api, TableOptions(), everything=everything)
    else:
        assert len(listing(api, TableOptions(), everything=everything)) == (hidden if everything else 0)
    assert listing(api, TableOptions(q="from:ada"), everything=False) == {}
