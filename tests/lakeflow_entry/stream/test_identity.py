"""A stream refuses the checkpoint of another mailbox, of other filters or of other content, instead of mixing rows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from support.memory_gmail import MemoryGmail
from support.streams import FILTERS, FLOWS, MAILBOXES, READERS, KilledError, Query, Streams, Target

from gmail_client.deletion import MassDeletionError
from gmail_client.minimize import HASH_KEY
from gmail_client.options import TableOptions
from lakeflow_entry.stream.identity import StreamChangedError, filters_of, start_date_in
from lakeflow_entry.stream.offsets import Offset

NOW, DAY = 1_700_000_000, 86_400
"""The time of `MemoryGmail`, and a day, in seconds."""

pytestmark = pytest.mark.usefixtures("gmail_in_memory")


@pytest.mark.parametrize(
    ("before", "after"), [("inbox", "all"), ("all", "search"), ("all", "spam and trash")]
)
def test_changed_filters_are_refused_until_they_are_set_back(
    reader: str, table: str, before: str, after: str
) -> None:
    streams = Streams(MemoryGmail(14), reader, table, before)
    streams.run()
    streams.filters = FILTERS[after]
    streams.gmail.insert(("INBOX",))
    for flow in FLOWS:
        with pytest.raises(
            StreamChangedError, match=rf"(?s)The filters of {table} changed .* full refresh"
        ) as caught:
            getattr(streams, flow).run()
        assert len(str(caught.value).splitlines()) == 2
    streams.filters = FILTERS[before]
    streams.run()
    streams.assert_equal()


def test_a_batch_to_repeat_is_not_read_with_other_filters(reader: str, table: str) -> None:
    for step in range(12):
        streams = Streams(MemoryGmail(14), reader, table, "inbox")
        streams.run()
        streams.gmail.insert(("INBOX",))
        streams.gmail.delete(list(streams.gmail.messages)[:1])
        streams.run(step, step)
        streams.filters = FILTERS["search"]
        for flow in FLOWS:
            with pytest.raises(StreamChangedError):
                getattr(streams, flow).run()
        streams.filters = FILTERS["inbox"]
        streams.run()
        streams.assert_equal()


def other_mailbox() -> MemoryGmail:
    """The mailbox of somebody else, whose history ids are those of the first one by chance."""
    gmail = MemoryGmail()
    gmail.address = "b@example.com"
    gmail.head = 400
    gmail.insert(("INBOX",))
    return gmail


def test_another_mailbox_is_refused(reader: str, table: str) -> None:
    streams = Streams(MemoryGmail(14), reader, table)
    streams.run()
    MAILBOXES["id"] = other_mailbox()
    for flow in FLOWS:
        with pytest.raises(StreamChangedError, match=r"reads the mailbox b@example.com, .* a@example.com"):
            getattr(streams, flow).run()
    MAILBOXES["id"] = streams.gmail
    streams.run()
    streams.assert_equal()


def test_checkpoints_of_earlier_releases_continue_and_get_an_identity(reader: str, table: str) -> None:
    streams = Streams(MemoryGmail(14), reader, table, "inbox")
    streams.run()
    for flow in FLOWS:
        query = getattr(streams, flow)
        offset = json.loads(query.offsets[-1])
        assert (offset.pop("mailbox"), offset.pop("filters")) == ("a@example.com", "labelIds=INBOX")
        assert offset.pop("content", None) == ("format=minimal" if flow == "changes" else None)
        query.offsets, query.committed = [json.dumps(offset)], 1
    streams.run()
    assert "filters" not in streams.changes.offsets[-1]
    streams.gmail.insert(("INBOX",))
    streams.run()
    streams.assert_equal()
    for flow in FLOWS:
        assert json.loads(getattr(streams, flow).offsets[-1])["filters"] == "labelIds=INBOX"
    assert json.loads(streams.changes.offsets[-1])["content"] == "format=minimal"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"format": "metadata"}, "format from minimal to metadata"),
        ({"excludecolumns": "sizeEstimate,snippet"}, "excludeColumns from none to sizeEstimate,snippet"),
        ({"hash": "addresses"}, "hash from none to addresses"),
    ],
)
def test_changed_content_options_are_refused_until_they_are_set_back(
    reader: str, table: str, changed: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HASH_KEY, "k" * 32)
    streams = Streams(MemoryGmail(8), reader, table)
    streams.run()
    streams.gmail.insert(("INBOX",))
    streams.filters = changed
    with pytest.raises(StreamChangedError, match=rf"options of {table} changed: {named};") as caught:
        streams.changes.run()
    assert "full refresh" in caught.value.fix
    streams.deletes.run()
    streams.filters = {"maxresults": "3", "keepunknownfields": "false"}
    streams.run()
    streams.assert_equal()


def test_another_hash_key_is_refused_unless_the_planning_process_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HASH_KEY, "k" * 32)
    streams = Streams(MemoryGmail(4), "simple reader", "messages")
    streams.filters = {"hash": "addresses"}
    streams.run()
    monkeypatch.setenv(HASH_KEY, "l" * 32)
    with pytest.raises(StreamChangedError, match="changed: GMAIL_HASH_KEY is another key;"):
        streams.run()
    assert "llll" not in streams.changes.offsets[-1]
    monkeypatch.delenv(HASH_KEY)
    streams.run()


@pytest.mark.parametrize("filters", [{}, {"labelids": "INBOX"}, {"q": "is:inbox"}])
def test_a_later_start_date_deletes_the_rows_before_it_and_reads_nothing_again(
    reader: str, table: str, filters: dict[str, str]
) -> None:
    for step in (None, 0, 1, 3, 6):
        streams = Streams(MemoryGmail(40), reader, table)
        streams.filters = {**filters, "startdate": str(NOW - 30 * DAY)}
        streams.run()
        before = set(streams.target.rows)
        streams.gmail.insert(("INBOX",))
        streams.filters = {**filters, "startdate": str(NOW - 10 * DAY)}
        streams.gmail.calls.clear()
        streams.changes.sizes.clear()
        streams.run(step, step)
        streams.run()
        assert sum(streams.changes.sizes) <= 2  # the new message, once more if the batch was repeated
        stayed = set(streams.target.rows)
        labels = ["INBOX"] if filters else []
        # The last day before the date is deleted by the next move.
        for after, least in ((10, stayed.issuperset), (11, stayed.issubset)):
            dated = {
                message["id" if table == "messages" else "threadId"]
                for message in streams.gmail.rows("messages", labels).values()
                if int(message["internalDate"]) // 1000 >= NOW - after * DAY
            }
            assert least(dated), (step, after)
        assert before - stayed
        streams.filters = {**filters, "startdate": str(NOW - 20 * DAY)}
        with pytest.raises(StreamChangedError, match="Only startDate can be moved forward"):
            streams.deletes.run()
        streams.filters = {**filters, "startdate": str(NOW - 9 * DAY)}
        streams.gmail.delete([next(iter(streams.gmail.rows("messages", ("INBOX",))))])
        streams.run()
        for flow in FLOWS:
            assert json.loads(getattr(streams, flow).offsets[-1])["filters"].endswith(
                f"startDate={NOW - 9 * DAY}"
            )


@pytest.mark.parametrize("reconciled", ["true", "false"])
@pytest.mark.parametrize("age", [20, 1])
def test_the_checkpoint_notes_a_later_start_date_also_if_no_row_leaves(reconciled: str, age: int) -> None:
    gmail = MemoryGmail()
    left, stayed = gmail.insert((), age_days=age), gmail.insert((), age_days=1)
    streams = Streams(gmail, "stream reader", "messages")
    streams.filters = {"startdate": str(NOW - 30 * DAY), "reconciled": reconciled}
    streams.run()
    streams.filters["startdate"] = str(NOW - 10 * DAY)
    streams.run()
    assert streams.target.rows.keys() == {stayed} | ({left} if age == 1 else set())
    streams.gmail.calls.clear()
    streams.run()
    assert "messages.list" not in streams.gmail.calls
    assert json.loads(streams.deletes.offsets[-1])["filters"] == f"startDate={NOW - 10 * DAY}"


def test_a_start_date_in_the_future_deletes_nothing_of_a_large_table(reader: str) -> None:
    gmail = MemoryGmail()
    for _ in range(101):
        gmail.insert(("INBOX",), age_days=1)
    streams = Streams(gmail, reader, "messages")
    streams.filters = {"startdate": str(NOW - 9 * DAY)}
    streams.run()
    streams.filters = {"startdate": str(NOW + 9 * DAY)}
    with pytest.raises(MassDeletionError, match="would delete 101 of 101 rows"):
        streams.deletes.run()
    assert not streams.target.deleted


def test_a_start_date_is_read_from_the_filters_of_an_offset() -> None:
    assert start_date_in("labelIds=INBOX startDate=1738281600") == 1738281600
    assert start_date_in("startDate=1738281600") == 1738281600
    assert start_date_in("q=from:ada startDate=x") is None
    assert start_date_in("") is None
    assert start_date_in(None) is None


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({}, {"startdate": "2025-01-31"}, "changed from none to startDate=2025-01-31,"),
        (
            {"labelids": "INBOX", "startdate": "1738281601"},
            {"labelids": "INBOX", "startdate": "2025-01-31"},
            "from labelIds=INBOX startDate=1738281601 to labelIds=INBOX startDate=2025-01-31,",
        ),
    ],
)
def test_the_error_shows_dates_as_they_are_set(
    before: dict[str, str], after: dict[str, str], shown: str
) -> None:
    streams = Streams(MemoryGmail(4), "simple reader", "messages")
    streams.filters = before
    streams.run()
    streams.filters = after
    with pytest.raises(StreamChangedError) as caught:
        streams.run()
    assert shown in str(caught.value)


def test_the_check_costs_no_unit_in_runs_that_end(reader: str, table: str) -> None:
    if reader == "simple reader":
        pytest.skip("it reads no profile otherwise")
    streams = Streams(MemoryGmail(14), reader, table)
    streams.run()
    streams.gmail.insert(("INBOX",))
    streams.gmail.calls.clear()
    streams.changes.run()
    assert streams.gmail.calls.count("getProfile") == 1


def test_filters_that_mean_the_same_are_the_same() -> None:
    one = TableOptions.parse("messages", {"labelIds": "INBOX,STARRED", "startDate": "2025-01-31"})
    two = TableOptions.parse(
        "messages",
        {"labelIds": '["STARRED", "INBOX"]', "startDate": 1738281600, "maxResults": 7, "format": "raw"},
    )
    assert filters_of(one) == filters_of(two) == "labelIds=INBOX,STARRED startDate=1738281600"
    assert (
        filters_of(TableOptions.parse("messages", {"q": "in:spam b,a"}))
        == "includeSpamTrash=true q=in:spam b,a"
    )
    assert filters_of(TableOptions()) == ""
    assert Offset.parse({"historyId": "1", "filters": ""}).filters == ""


NAMES = ("ada@example.com", "bo@example.com")


def test_changed_filters_stop_a_stream_of_many_mailboxes_even_if_one_is_new(reader: str, table: str) -> None:
    MAILBOXES.update({name: MemoryGmail(6) for name in NAMES})
    options: dict[str, Any] = {"tablename": table, "format": "minimal", "isdeleteflow": "false"}
    options |= {"client_id": "id", "client_secret": "secret", "refresh_token": "token", "mailboxes": NAMES[0]}
    query = Query(lambda: READERS[reader](options), Target(table).upsert)
    query.run()
    MAILBOXES[NAMES[0]].insert(("INBOX",))
    with suppress(KilledError):
        query.run(3)
    options |= {"mailboxes": ",".join(NAMES), "labelids": "INBOX"}
    with pytest.raises(StreamChangedError, match="The filters of"):
        query.run()
    del options["labelids"]
    query.run()
    assert json.loads(query.offsets[-1])["mailboxes"].keys() == set(NAMES)


def test_a_checkpoint_of_one_mailbox_names_its_part_of_many(reader: str) -> None:
    MAILBOXES.update({"id": MemoryGmail(6), "a@example.com": MemoryGmail(6), NAMES[1]: MemoryGmail(4)})
    options: dict[str, Any] = {"tablename": "messages", "format": "minimal", "isdeleteflow": "false"}
    options |= {"client_id": "id", "client_secret": "secret", "refresh_token": "token"}
    query = Query(lambda: READERS[reader](options), Target("messages").upsert)
    query.run()
    query.sizes.clear()
    options["mailboxes"] = f"a@example.com,{NAMES[1]}"
    query.run()
    assert sum(query.sizes) == 4
    assert json.loads(query.offsets[-1])["mailboxes"].keys() == {"a@example.com", NAMES[1]}
