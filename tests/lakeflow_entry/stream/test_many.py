"""One stream over many mailboxes: kills, mailboxes that come and go or are refused, and the form of its offsets."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples
from support.lakeflow import comparable
from support.memory_gmail import MemoryGmail
from support.streams import MAILBOXES, READERS, KilledError, Query, Target, flows

from gmail_client.errors import ConfigurationError, DelegationError, OptionError, ResponseError
from gmail_client.options import TableOptions
from gmail_client.schema import json_row
from lakeflow_entry.connection import Connection
from lakeflow_entry.datasource import GmailDataSource
from lakeflow_entry.mailbox_list import mailbox_list
from lakeflow_entry.stream.batch import Batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import DeletedRow
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.many import ManyOffset, ManyReader, _bounded
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.stream.packed_ids import MOST_CHARACTERS, pack

pytestmark = pytest.mark.usefixtures("gmail_in_memory")

NAMES = ("ada@example.com", "bo@example.com", "cy@example.com")
CONNECTION = {"client_id": "id", "client_secret": "secret", "refresh_token": "token", "user_id": NAMES[0]}


@pytest.fixture(autouse=True)
def _no_mailboxes_left() -> Iterator[None]:
    yield
    MAILBOXES.clear()


class ManyStreams:
    """Both flows of one table of several mailboxes into one target. The same ids are in each mailbox."""

    def __init__(self, reader: str, table: str, messages: int = 9) -> None:
        self.gmails = {name: MemoryGmail(messages + at) for at, name in enumerate(NAMES)}
        MAILBOXES.update(self.gmails)
        self.table = table
        self.listed: tuple[str, ...] = NAMES
        self.limit = 1_000
        self.target = Target(table)
        self.unknown: set[Any] = set()

        self.changes, self.deletes = flows(
            reader,
            lambda: {
                **CONNECTION,
                "mailboxes": ",".join(self.listed),
                "tablename": table,
                "format": "minimal",
                "max_records_per_batch": str(self.limit),
            },
            self.target,
        )

    def run(self, changes_die: int | None = None, deletes_die: int | None = None) -> None:
        for query, kill_after in ((self.changes, changes_die), (self.deletes, deletes_die)):
            with suppress(KilledError, DelegationError):
                query.run(kill_after)

    def offsets(self, query: Query) -> dict[str, Any]:
        return dict(json.loads(query.offsets[-1])["mailboxes"]) if query.offsets else {}

    def expire(self, name: str) -> None:
        """Let the history of a mailbox expire; see `support.streams.Streams.expire`."""
        self.gmails[name].expire()
        reached = int(self.offsets(self.deletes).get(name, {}).get("historyId", 0))
        self.unknown |= {
            key
            for key, row in self.target.rows.items()
            if key[0] == name and row["historySequence"] > reached
        }

    def truth(self) -> dict[Any, Any]:
        return {
            (name, key): row
            for name, gmail in self.gmails.items()
            for key, row in gmail.rows(self.table).items()
        }

    def assert_equal(self) -> None:
        truth = self.truth()
        assert truth.keys() <= self.target.rows.keys()
        assert self.target.rows.keys() - truth.keys() <= self.unknown
        for (name, key), row in truth.items():
            expected = {"mailbox": name, **json_row(self.table, row)}
            assert comparable(self.target.rows[name, key]) == comparable(expected), (name, key)


def write(gmail: MemoryGmail, chance: random.Random) -> None:
    ids = list(gmail.messages)
    some = chance.sample(ids, min(len(ids), 2))
    kind = chance.randrange(4) if len(ids) > 4 else 0
    if kind == 0:
        gmail.insert(("INBOX",), chance.choice([None, *gmail.thread_ids()[:1]]))
    elif kind == 1:
        gmail.modify(some, add=["STARRED"])
    elif kind == 2:
        gmail.modify(some[:1], add=["TRASH"], remove=["INBOX"])
    else:
        gmail.delete(some)


@dataclass(frozen=True)
class FlowRun:
    """One run of both flows: the mailboxes that are listed and refused, and the events before it."""

    seed: int = 1
    writes: int = 3
    listed: tuple[str, ...] = NAMES
    refused: tuple[str, ...] = ()
    expires: str | None = None
    changes_die: int | None = None
    deletes_die: int | None = None
    limit: int = 1_000


SOME = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
STEPS = st.none() | st.integers(0, 22)
RUNS = st.lists(
    st.builds(
        FlowRun,
        st.integers(0, 999),
        st.integers(0, 4),
        SOME.filter(bool),
        SOME.filter(lambda names: len(names) < 2),
        st.none() | st.sampled_from(NAMES),
        STEPS,
        STEPS,
        st.sampled_from([1, 3, 8, 1_000]),
    ),
    min_size=1,
    max_size=4,
)
KILLED = FlowRun(changes_die=8, deletes_die=6, limit=3)


@pytest.mark.parametrize(
    ("table", "reader"),
    [
        ("messages", "stream reader"),
        ("threads", "simple reader"),
        pytest.param("messages", "framework"),
        pytest.param("threads", "stream reader", marks=pytest.mark.slow),
        pytest.param("threads", "framework", marks=pytest.mark.slow),
    ],
)
@examples(15)
@given(several=RUNS)
@example(several=[KILLED, replace(KILLED, listed=NAMES[:1]), replace(KILLED, refused=NAMES[1:2])])
@example(
    several=[
        FlowRun(expires=NAMES[1]),
        FlowRun(refused=NAMES[:1], expires=NAMES[0]),
        FlowRun(listed=NAMES[2:]),
    ]
)
def test_the_target_equals_all_mailboxes_after_random_kills(
    table: str, reader: str, several: list[FlowRun]
) -> None:
    streams = ManyStreams(reader, table)
    streams.deletes.run()  # both flows start with the pipeline's first run
    for one in several:
        chance = random.Random(one.seed)
        for _ in range(one.writes):
            write(chance.choice(list(streams.gmails.values())), chance)
        if one.expires:
            streams.expire(one.expires)
        streams.limit = one.limit
        if reader != "framework" or not (streams.changes.died or streams.deletes.died):
            streams.listed = (
                one.listed
            )  # the framework does not pass the end of a batch that has to be repeated
        for name in one.refused:
            if name in one.listed:  # else a second kill could hide what a repeated batch lacks
                del MAILBOXES[name]
        streams.run(one.changes_die, one.deletes_die)
        MAILBOXES.update(streams.gmails)
    streams.listed = NAMES
    streams.run()
    streams.run()
    streams.assert_equal()


@pytest.mark.parametrize(("limit", "messages"), [(10, 30), (2, 9)])  # 2 is less than a row of each mailbox
@pytest.mark.parametrize("reader", READERS)
def test_a_batch_holds_no_more_rows_than_its_limit(reader: str, limit: int, messages: int) -> None:
    streams = ManyStreams(reader, "messages", messages=messages)
    streams.limit = limit
    streams.run()
    assert max(streams.changes.sizes) <= limit
    streams.assert_equal()


def test_a_batch_has_a_partition_for_each_mailbox() -> None:
    streams = ManyStreams("stream reader", "messages")
    source = GmailDataSource({**CONNECTION, "tablename": "messages", "mailboxes": ",".join(NAMES)})
    assert source.schema().fieldNames()[0] == "mailbox"
    reader: Any = source.streamReader(source.schema())
    end = reader.latestOffset({}, reader.getDefaultReadLimit())
    parts = reader.partitions({}, end)
    assert [address for _, _, address in (part.value for part in parts)] == sorted(NAMES)
    assert {
        row["mailbox"] for part in parts[1:2] for one in reader.read(part) for row in one.to_pylist()
    } == {NAMES[1]}
    assert list(end["mailboxes"]) == sorted(NAMES)
    assert streams.gmails.keys() == end["mailboxes"].keys()


def test_a_refused_mailbox_is_logged_once_and_named_in_the_offset(caplog: pytest.LogCaptureFixture) -> None:
    streams = ManyStreams("stream reader", "messages")
    del MAILBOXES[NAMES[1]]
    with caplog.at_level(logging.WARNING):
        streams.changes.run()
    said = [record.getMessage() for record in caplog.records if "can't be read" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"{NAMES[1]} can't be read")
    assert json.loads(streams.changes.offsets[-1])["refused"] == [NAMES[1]]
    assert {key[0] for key in streams.target.rows} == {NAMES[0], NAMES[2]}
    MAILBOXES.update(streams.gmails)
    streams.changes.run()
    assert "refused" not in json.loads(streams.changes.offsets[-1])
    streams.assert_equal()


def test_the_ids_of_a_refused_mailbox_differ_from_those_of_an_empty_one() -> None:
    MAILBOXES.update({NAMES[0]: MemoryGmail(1), NAMES[1]: MemoryGmail()})
    names = '["messages"]'
    source = GmailDataSource(
        {**CONNECTION, "tablename": "_gmail_ids", "tablenamelist": names, "mailboxes": ",".join(NAMES)}
    )
    reader: Any = source.reader(source.schema())
    found = [
        tuple(row.values())
        for part in reader.partitions()
        for one in reader.read(part)
        for row in one.to_pylist()
    ]
    (message,) = MAILBOXES[NAMES[0]].messages
    assert found == [(NAMES[0], message), (NAMES[0], None), (NAMES[1], None), (None, NAMES[2])]


@pytest.mark.parametrize("reader", READERS)
def test_a_mailbox_without_an_address_does_not_stop_the_others(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = ManyStreams(reader, "messages")
    opened = Connection.mailbox

    class Nameless(SimpleNamespace):
        @property
        def address(self) -> str:
            raise DelegationError("No profile.")

    def mailbox(connection: Connection, user_id: str | None = None, client: Any = None) -> Any:
        found = opened(connection, user_id, client)
        return Nameless(api=found.api) if user_id == NAMES[1] else found

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "mailbox", mailbox)
        streams.changes.run()
    assert {key[0] for key in streams.target.rows} == {NAMES[0], NAMES[2]}
    streams.changes.run()
    streams.assert_equal()


@pytest.mark.parametrize("reader", READERS)
def test_a_stream_whose_mailboxes_are_all_refused_fails(reader: str) -> None:
    streams = ManyStreams(reader, "messages")
    MAILBOXES.clear()
    with pytest.raises(DelegationError, match=r"^ada@example\.com is not readable"):
        streams.changes.run()


@pytest.mark.parametrize("reader", READERS)
def test_a_removed_mailbox_continues_where_it_was(reader: str) -> None:
    streams = ManyStreams(reader, "messages")
    streams.run()
    streams.listed = NAMES[:2]
    streams.gmails[NAMES[2]].insert(("INBOX",))
    streams.gmails[NAMES[1]].insert(("INBOX",))
    streams.run()
    assert len([key for key in streams.target.rows if key[0] == NAMES[2]]) < len(
        streams.gmails[NAMES[2]].messages
    )
    streams.listed = NAMES
    streams.changes.sizes.clear()
    streams.run()
    assert sum(streams.changes.sizes) == 1
    streams.assert_equal()


@pytest.mark.parametrize("reader", READERS)
def test_a_checkpoint_of_one_mailbox_is_continued(reader: str) -> None:
    streams = ManyStreams(reader, "messages")
    MAILBOXES["id"] = streams.gmails[NAMES[0]]
    options = {**CONNECTION, "tablename": "messages", "isdeleteflow": "false", "format": "minimal"}
    single = Query(lambda: READERS[reader](options), streams.target.upsert)
    single.run()
    alone = len(streams.target.rows)
    streams.changes.offsets = list(single.offsets)
    streams.changes.committed = single.committed
    streams.changes.run()
    assert sum(streams.changes.sizes) == sum(len(streams.gmails[name].messages) for name in NAMES[1:])
    assert alone == len(streams.gmails[NAMES[0]].messages)


def test_a_mailbox_that_a_repeated_batch_lacks_is_read_once_it_is_listed_again() -> None:
    gmails = {name: MemoryGmail(3) for name in NAMES[:2]}
    options = TableOptions.parse("messages", {})

    def opened(name: str) -> ChangeReader:
        if name not in gmails:
            raise DelegationError(f"{name} is not readable.")
        return ChangeReader(gmails[name], "messages", options)

    start = ManyOffset({name: Offset(gmail.head) for name, gmail in gmails.items()})
    late = gmails[NAMES[1]].insert(("INBOX",))
    end, planned = ManyReader(opened, 10).plan(start, NAMES[:2], confirmed=False)
    assert list(planned) == [NAMES[1]]
    after_a_crash = ManyReader(opened, 10)
    away = gmails.pop(NAMES[1])
    assert after_a_crash.between(start, end, NAMES[:1]) == {}
    gmails[NAMES[1]] = away
    _, contents = after_a_crash.plan(end, NAMES[:2], confirmed=False)
    batch = contents[NAMES[1]]
    assert isinstance(batch, Batch)
    assert batch.threads == {late: (late,)}


def test_a_repeated_batch_has_the_rows_of_a_mailbox_that_is_not_listed_any_more() -> None:
    gmails = {name: MemoryGmail(3) for name in NAMES[:2]}
    options = TableOptions.parse("messages", {})

    def reader() -> ManyReader:
        return ManyReader(lambda name: ChangeReader(gmails[name], "messages", options), 10)

    start = ManyOffset({name: Offset(gmail.head) for name, gmail in gmails.items()})
    late = gmails[NAMES[1]].insert(("INBOX",))
    for names, repeated in ((NAMES[:2], False), (NAMES[:1], True)):
        _, contents = reader().plan(start, names, confirmed=False, repeated=repeated)
        batch = contents[NAMES[1]]
        assert isinstance(batch, Batch)
        assert batch.threads == {late: (late,)}


def test_a_repeated_comparison_of_a_delete_flow_has_its_rows() -> None:
    gmail = MemoryGmail(3)
    gmail.insert(("INBOX",))
    options = TableOptions.parse("messages", {})

    def reader() -> ManyReader:
        return ManyReader(lambda name: DeleteReader(gmail, "messages", options), 10)

    # The history after the batch before is gone, but that after the offset is not.
    expired = Offset(gmail.head, reload=True, known=pack([*gmail.messages, "abc"]))
    start = ManyOffset({NAMES[0]: expired})
    end, contents = reader().plan(start, NAMES[:1], confirmed=False)
    assert (end.mailboxes[NAMES[0]].history_id or 0) < gmail.head
    assert contents == {NAMES[0]: [DeletedRow("abc", gmail.head)]}
    assert reader().between(start, end, NAMES[:1]) == contents


@pytest.mark.parametrize("reader", READERS)
def test_an_error_while_reading_names_its_mailbox(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = ManyStreams(reader, "messages")

    def cut_off(*given: Any, **more: Any) -> Any:
        raise ResponseError("The response is cut off.")

    monkeypatch.setattr(streams.gmails[NAMES[1]], "get_many", cut_off)
    with pytest.raises(ResponseError, match=rf"^{re.escape(NAMES[1])}: The response is cut off"):
        streams.changes.run()


def test_a_checkpoint_of_an_unknown_mailbox_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not say which one"):
        ManyOffset.parse(Offset(7).to_json(), None)
    with pytest.raises(ConfigurationError, match="version 9"):
        ManyOffset.parse({"version": 9, "mailboxes": {}}, None)
    with pytest.raises(ConfigurationError, match="is that of a stream of many mailboxes") as caught:
        Offset.parse(ManyOffset({"a@b.test": Offset(7)}).to_json())
    assert "Set mailboxes" in str(caught.value)


@given(
    positions=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2**40)),
    following=st.none() | st.sampled_from(NAMES),
    refused=st.sets(st.sampled_from(NAMES)),
)
def test_offsets_are_written_and_read(
    positions: dict[str, int], following: str | None, refused: set[str]
) -> None:
    offset = ManyOffset(
        {name: Offset(at) for name, at in positions.items()}, following, tuple(sorted(refused))
    )
    text = json.dumps(offset.to_json())
    if not positions and not refused:
        assert text == "{}"
        return
    assert ManyOffset.parse(json.loads(text), None) == offset
    assert json.dumps(ManyOffset.parse(json.loads(text), None).to_json()) == text


def test_the_ids_of_delete_flows_are_bounded_together() -> None:
    chance = random.Random(1)
    many = pack(f"{chance.getrandbits(60):x}" for _ in range(9_000))
    assert many is not None
    offsets = {f"{at}@b.test": Offset(1, known=many) for at in range(9)}
    kept = [offset.known for offset in _bounded({**offsets, "z@b.test": Offset(1, known="few")}).values()]
    assert 0 < sum(len(known or "") for known in kept) <= MOST_CHARACTERS
    assert "few" in kept
    assert None in kept


@pytest.mark.parametrize("value", ["ada", "mailto:ada@b.test", "domain:", "group:nobody"])
def test_an_entry_that_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="Option 'mailboxes' contains"):
        mailbox_list(value)


def test_me_is_a_mailbox_of_reads_with_a_report_only() -> None:
    from lakeflow_entry.datasource import GmailDataSource

    options = {"tableName": "labels", "mailboxes": "me", "access_token": "t", "quota": "1000"}
    source = GmailDataSource({**options, "report": "true"})
    assert [part.value for part in source.reader(source.schema()).partitions()] == ["me"]
    with pytest.raises(OptionError, match="'me', which is not an address"):
        GmailDataSource(options).schema()


def test_entries_of_the_directory_are_told_from_addresses() -> None:
    listed = mailbox_list("Ada@B.test, domain:b.test,group:all@b.test, ada@b.test,all")
    assert listed.addresses == ("ada@b.test",)
    assert listed.directory == ("domain:b.test", "group:all@b.test", "all")
    assert not mailbox_list(None)
