"""Offsets in the checkpoint: their format, and those of version 1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_gmail import MemoryGmail
from support.streams import FLOWS, Streams

from gmail_client.errors import ConfigurationError, HistoryExpiredError
from lakeflow_entry.stream.offsets import NEW, LoadPosition, Offset
from lakeflow_entry.stream.packed_ids import pack, unpack

pytestmark = pytest.mark.usefixtures("gmail_in_memory")

NUMBERS = st.integers(1, 10**18)
IDS = NUMBERS.map(lambda number: f"{number:x}")


@given(
    st.builds(
        Offset,
        history_id=NUMBERS,
        seen=st.integers(0, 10**6),
        since=st.none() | NUMBERS,
        limit=st.none() | st.integers(1, 10**6),
        reload=st.booleans(),
        load=st.none()
        | st.builds(LoadPosition, st.just("") | IDS, st.just("") | IDS, IDS, st.integers(0, 99)),
        reloaded=st.none() | NUMBERS,
        known=st.none() | st.text(max_size=5),
        gone=st.none() | st.text(max_size=5),
        late_read_at=st.none() | NUMBERS,
        read_at=st.none() | NUMBERS,
        rows=st.none() | st.integers(0, 10**6),
        mailbox=st.none() | st.text(max_size=5),
        filters=st.none() | st.text(max_size=5),
    )
    | st.just(NEW)
)
def test_offsets_survive_their_json(offset: Offset) -> None:
    text = json.dumps(offset.to_json())
    again = Offset.parse(json.loads(text))
    assert again == offset
    assert json.dumps(again.to_json()) == text


@pytest.mark.parametrize(
    "value",
    [
        {"cursor": "x"},
        {"historyId": "soon"},
        {"historyId": "1", "place": "a"},
        {"version": 2, "historyId": "1", "position": "a"},
        {"version": "two", "historyId": "1"},
    ],
)
def test_foreign_offsets_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="not written by this connector"):
        Offset.parse(value)


def test_offsets_of_a_later_version_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="has version 3"):
        Offset.parse({"version": 3, "historyId": "1"})


KNOWN = (
    "eNoBcQCO//Te+dKd5r3lF8XLxpvfwP0Cmv+UrMWuwCrRz5CEwd+9E4nL7IXLtZURnsqCw9/KgR6S9q7/puGjPOKc9+7026kC5dHa2cCAzEK0k+"
    "vWgqmhBKLn4uersZQKpqzBjfHSywri/avAlI+CDNiAp5+UssIQKk1K3w=="
)
VERSION_1 = {
    '{"historyId": "291210"}': Offset(291210, version=1),
    '{"historyId": "291210", "seen": 9}': Offset(291210, seen=9, version=1),
    '{"historyId": "291210", "place": "19f7b57be7844c02/19f7b57be7844c02", "until": '
    '"19dfad029f794d20/19e088013857686d", "top": "1a18bf41e8944ce5", "taken": 3}': Offset(
        291210,
        load=LoadPosition(
            "19f7b57be7844c02/19f7b57be7844c02", "19dfad029f794d20/19e088013857686d", "1a18bf41e8944ce5", 3
        ),
        version=1,
    ),
    '{"historyId": "291240", "place": "18ab41aadcf5474b", "until": "", "top": "1a18bf0d2b6e0c5a"}': Offset(
        291240, load=LoadPosition("18ab41aadcf5474b", "", "1a18bf0d2b6e0c5a"), version=1
    ),
    '{"historyId": "291240", "reloaded": "291240"}': Offset(291240, reloaded=291240, version=1),
    '{"historyId": "291240", "place": "19ca7e6b8dc8f6fa", "until": "18ab41aadcf5474b", "top": "1a18bf0d2b6e0c5a", '
    '"taken": 4, "reloaded": "291240"}': Offset(
        291240,
        load=LoadPosition("19ca7e6b8dc8f6fa", "18ab41aadcf5474b", "1a18bf0d2b6e0c5a", 4),
        reloaded=291240,
        version=1,
    ),
    f'{{"historyId": "291210", "reloaded": "291240", "known": "{KNOWN}"}}': Offset(
        291210, reloaded=291240, known=KNOWN, version=1
    ),
}
"""Offsets as the code of version 1 wrote them, and what they mean."""


@pytest.mark.parametrize("text", VERSION_1)
def test_offsets_of_version_1_are_read(text: str) -> None:
    assert Offset.parse(json.loads(text)) == VERSION_1[text]


WITHOUT_IDENTITY = (
    '{"version": 2, "historyId": "812", "since": "790", "limit": 1000, "readAt": "1700000000", "rows": 5100}'
)
"""An offset of version 2 as releases wrote it before `mailbox` and `filters`."""


def test_offsets_without_an_identity_are_read_and_stay_as_they_are() -> None:
    offset = Offset.parse(json.loads(WITHOUT_IDENTITY))
    assert offset == Offset(812, since=790, limit=1_000, read_at=1_700_000_000, rows=5_100)
    assert json.dumps(offset.to_json()) == WITHOUT_IDENTITY


WITHOUT_READ_TIMES = (
    '{"version": 2, "historyId": "812", "since": "790", "limit": 1000, "loadedAt": "1700000000", "recheck": "790", '
    f'"late": "{KNOWN}"}}'
)
"""An offset of version 2 as releases wrote it before `readAt` and `rows`."""


def test_offsets_without_read_times_are_read_and_stay_as_they_are() -> None:
    offset = Offset.parse(json.loads(WITHOUT_READ_TIMES))
    assert offset == Offset(
        812, since=790, limit=1_000, loaded_at=1_700_000_000, recheck=790, late=KNOWN, rows=None
    )
    assert json.dumps(offset.to_json()) == WITHOUT_READ_TIMES


def test_ids_that_version_1_packed_are_read() -> None:
    assert len(unpack(KNOWN)) == 14


def loaded(reader: str, table: str, limit: int = 1_000) -> Streams:
    """Both flows up to date, with checkpoints of version 1."""
    streams = Streams(MemoryGmail(14), reader, table)
    streams.limit = limit
    streams.run()
    head = str(streams.gmail.head)
    streams.changes.offsets = [json.dumps({"historyId": head})]
    known = pack(streams.gmail.rows(table))
    streams.deletes.offsets = [json.dumps({"historyId": head, "known": known})]
    for flow in FLOWS:
        query = getattr(streams, flow)
        query.committed = 1
        query.sizes.clear()
    return streams


def write(streams: Streams) -> None:
    gmail = streams.gmail
    ids = list(gmail.messages)
    gmail.insert(("INBOX",))
    gmail.modify(ids[4:9], add=["STARRED"])
    for thread in gmail.thread_ids()[:2]:
        gmail.delete([one for one, message in gmail.messages.items() if message["threadId"] == thread])


def log_batch(streams: Streams, **end: Any) -> None:
    """Add a batch up to the head to the offset log of version 1, as if the process was killed then."""
    head = str(streams.gmail.head)
    streams.changes.offsets.append(json.dumps({"historyId": head, **end}))
    known = json.loads(streams.deletes.offsets[-1])["known"]
    left = unpack(known) & streams.gmail.rows(streams.table).keys()
    streams.deletes.offsets.append(json.dumps({"historyId": head, **end, "known": pack(left)}))


def test_a_checkpoint_of_version_1_resumes(reader: str, table: str) -> None:
    streams = loaded(reader, table)
    streams.run()
    assert streams.changes.sizes == streams.deletes.sizes == []
    write(streams)
    streams.run()
    streams.assert_equal()
    assert 0 < sum(streams.changes.sizes) < len(streams.gmail.rows(table))


def test_a_load_of_version_1_resumes(reader: str, table: str) -> None:
    gmail = MemoryGmail(14)
    streams = Streams(gmail, reader, table)
    streams.deletes.run()
    positions = sorted(gmail.rows(table), reverse=True)
    if table == "messages":
        positions = [f"{gmail.messages[one]['threadId']}/{one}" for one in positions]
        positions.sort(reverse=True)
    place, until = positions[2], positions[4]
    newest = max(gmail.rows(table))
    offset = {"historyId": str(gmail.head), "place": place, "until": until, "top": newest, "taken": 3}
    first = Streams(gmail, reader, table)
    first.run()
    delivered = [position.rpartition("/")[2] for position in positions[:3]]
    streams.target.rows = {key: first.target.rows[key] for key in delivered}
    streams.changes.offsets = [json.dumps(offset)]
    streams.changes.committed = 1
    streams.run()
    streams.assert_equal()
    assert sum(streams.changes.sizes) == len(positions) - 3


def test_a_record_partly_delivered_by_version_1_is_finished(reader: str, table: str) -> None:
    streams = loaded(reader, table, limit=2)
    streams.gmail.modify(list(streams.gmail.messages), add=["STARRED"])
    value = json.loads(streams.changes.offsets[0])
    streams.changes.offsets = [json.dumps({**value, "seen": 2})]
    streams.run()
    assert sum(streams.changes.sizes) == len(streams.gmail.rows(table)) - 2


@pytest.mark.parametrize("expires", [False, True])
def test_a_lost_batch_of_version_1_is_delivered_or_refused(reader: str, table: str, expires: bool) -> None:
    streams = loaded(reader, table)
    write(streams)
    log_batch(streams)
    if expires:
        streams.gmail.expire(streams.gmail.head)
        if reader == "framework":
            for query in (streams.changes, streams.deletes):
                with pytest.raises(HistoryExpiredError, match="full refresh"):
                    query.run()
            return
    streams.run()
    streams.assert_equal()


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_lost_reload_of_version_1_is_delivered_or_refused(reader: str, table: str, in_parts: bool) -> None:
    streams = loaded(reader, table)
    write(streams)
    streams.gmail.expire()
    rows = sorted(streams.gmail.rows(table), reverse=True)
    head = str(streams.gmail.head)
    log_batch(streams, reloaded=head)
    if in_parts:
        place, until = (f"{row}/{row}" if table == "messages" else row for row in (rows[2], rows[4]))
        load = {"place": place, "until": until, "top": rows[0], "taken": 3}
        streams.changes.offsets[1] = json.dumps({"historyId": head, **load, "reloaded": head})
    if reader == "framework":
        for query in (streams.changes, streams.deletes):
            with pytest.raises(HistoryExpiredError, match="full refresh"):
                query.run()
        return
    streams.run()
    streams.assert_equal()


def test_a_lost_batch_of_deletes_of_version_1_without_ids_asks_for_a_full_refresh(
    reader: str, table: str
) -> None:
    streams = loaded(reader, table)
    write(streams)
    log_batch(streams)
    streams.deletes.offsets = [
        json.dumps({"historyId": json.loads(text)["historyId"]}) for text in streams.deletes.offsets
    ]
    streams.gmail.expire(streams.gmail.head)
    with pytest.raises(HistoryExpiredError, match="full refresh"):
        streams.deletes.run()
