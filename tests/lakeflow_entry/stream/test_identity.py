"""A stream refuses the checkpoint of another mailbox or of other filters, instead of mixing rows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from support.memory_gmail import MemoryGmail
from support.streams import FILTERS, FLOWS, MAILBOXES, READERS, KilledError, Query, Streams, Target

from gmail_client.options import TableOptions
from lakeflow_entry.stream.identity import StreamChangedError, filters_of
from lakeflow_entry.stream.offsets import Offset

pytestmark = pytest.mark.usefixtures("gmail_in_memory")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["messages", "threads"])
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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
        query.offsets, query.committed = [json.dumps(offset)], 1
    streams.run()
    assert "filters" not in streams.changes.offsets[-1]
    streams.gmail.insert(("INBOX",))
    streams.run()
    streams.assert_equal()
    for flow in FLOWS:
        assert json.loads(getattr(streams, flow).offsets[-1])["filters"] == "labelIds=INBOX"


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
