"""Names from users and Gmail, in SQL, paths and URLs of the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pytest
from support.egress import egress
from support.matrix import slow_except

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep, keep_up
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages
from gmail_client import Credentials, GmailClient
from gmail_client.errors import GmailError
from gmail_client.schema import to_batch
from gmail_client.spec import SpecTable

NAMES = (
    "o'brien@example.test",
    "' OR '1'='1",
    "'; DROP TABLE t; --",
    'a" OR "1"="1',
    "\\' OR 1=1 --",
    "a\\",
    "a/**/b",
    "$$",
    "$1",
    "?",
    ":x",
    "%s%n",
    "{0}",
    "{{ x }}",
    "${HOME}",
    "`id`",
    "$(id)",
    "| id",
    "a\nb",
    "a\tb",
    "a\x1b[2Jb",
    "a\u202eb",
    "../../up",
    "..",
    ".",
    "/etc/passwd",
    "C:\\x",
    "~root",
    "mailbox=b",
    "a=b/c=d",
    "%2e%2e%2f",
    "%00",
    "a?b#c&d",
    "me/../x",
    "__HIVE_DEFAULT_PARTITION__",
    "null",
    "-rf",
)
VICTIM = "victim@example.test"


def rows(*ids: str, labels: tuple[str, ...] = ("INBOX",)) -> pa.Table:
    made = [{"id": one, "threadId": "t", "labelIds": list(labels), "historyId": "5"} for one in ids]
    return pa.Table.from_batches([to_batch("messages", made)])


def partition(lake: Lake, address: str) -> MailboxPartition:
    return MailboxPartition(lake.table("messages", keep_deleted=True), address, "all", "full")


def labels_update(*ids: str) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("labelIds", pa.list_(pa.field("element", pa.string())))])
    return pa.Table.from_pylist([{"id": one, "labelIds": ["STARRED"]} for one in ids], schema=schema)


def stored(lake: Lake, address: str) -> list[str]:
    return sorted(partition(lake, address).members()["id"].to_pylist())


def _append(lake: Lake, name: str) -> None:
    mine = partition(lake, name)
    mine.append(rows("4"), mine.state.synced(9))
    assert stored(lake, name) == ["1", "2", "3", "4"]
    assert partition(lake, name).state.cursor == 9


def _read(lake: Lake, name: str) -> None:
    assert partition(lake, name).rows(["1", "x"])["mailbox"].to_pylist() == [name]


def _count(lake: Lake, name: str) -> None:
    assert partition(lake, name).count() == 3


def _merge(lake: Lake, name: str) -> None:
    mine = partition(lake, name)
    mine.merge(updates=labels_update("1"), removed=["2"], state=mine.state.synced(7))
    assert partition(lake, name).state.cursor == 7


def _replace(lake: Lake, name: str) -> None:
    partition(lake, name).replace(rows("9"))
    assert stored(lake, name) == ["9"]


def _clear(lake: Lake, name: str) -> None:
    mine = partition(lake, name)
    mine.clear(mine.state.loading(5))
    assert partition(lake, name).state.load_start == 5


def _status(lake: Lake, name: str) -> None:
    status = partition_statuses(lake, name, [SpecTable(source_table="messages", deletes="keep")])
    assert set(status) == {"messages"}


def _registry(lake: Lake, name: str) -> None:
    registry = MailboxRegistry(lake)
    registry.check_name("other", VICTIM)
    registry.check_name(name, name)
    assert registry.address_of(name) == name
    assert registry.address_of("other") == VICTIM


def _unfetched(lake: Lake, name: str) -> None:
    unfetched = UnfetchedMessages(lake)
    unfetched.replace(VICTIM, "messages", {"v": Unfetched("t", "why")})
    unfetched.replace(name, "messages", {name: Unfetched(name, name)})
    assert unfetched.of_table(name, "messages")[name].error == name
    unfetched.replace(name, "messages", {})
    assert unfetched.of_table(name, "messages") == {}
    assert set(unfetched.of_table(VICTIM, "messages")) == {"v"}


def _tidy(lake: Lake, name: str) -> None:
    table = lake.table("messages", keep_deleted=True)
    assert keep_up(table, name, Upkeep(1, timedelta(0), timedelta(0)))
    assert stored(lake, name) == ["1", "2", "3"]


def _location(lake: Lake, name: str) -> None:
    lake.table("messages", keep_deleted=True)
    folders = [path for path in Path(lake.location("messages")).iterdir() if path.name != "_delta_log"]
    assert all(path.is_dir() and path.name.startswith("mailbox=") for path in folders)
    assert name in {unquote(unquote(path.name.removeprefix("mailbox="))) for path in folders} | {
        unquote(path.name.removeprefix("mailbox=")) for path in folders
    }


OPERATIONS: tuple[Callable[[Lake, str], None], ...] = (
    _append,
    _read,
    _count,
    _merge,
    _replace,
    _clear,
    _status,
    _registry,
    _unfetched,
    _tidy,
    _location,
)


@pytest.mark.parametrize("name", slow_except(NAMES, ("' OR '1'='1", "a/**/b", "%00", "a\\")))
def test_a_hostile_mailbox_stays_in_its_own_rows_and_in_the_lake(tmp_path: Path, name: str) -> None:
    for number, operation in enumerate(OPERATIONS):
        lake = Lake(str(tmp_path / f"home-{number}" / "lake"))
        for address in (VICTIM, name):
            mine = partition(lake, address)
            mine.append(rows("1", "2", "3"), mine.state.synced(5))
        operation(lake, name)
        assert stored(lake, VICTIM) == ["1", "2", "3"], operation.__name__
        assert partition(lake, VICTIM).state.cursor == 5
        assert [path.name for path in (tmp_path / f"home-{number}").iterdir()] == ["lake"]
        tables = {path.name for path in Path(lake.uri).iterdir()}
        assert tables <= {"messages", "_gmail_mailboxes", "_gmail_unfetched"}


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_mailbox_stays_one_part_of_the_address(name: str) -> None:
    client = GmailClient(Credentials.from_access_token("ya29.x"))
    with egress() as sent:
        try:
            mailbox = client.mailbox(name)
        except GmailError:
            return
        mailbox.api.profile()
    assert sent
    for request in sent:
        parts = request.path.split("/")
        assert parts[:4] == ["", "gmail", "v1", "users"]
        assert len(parts) == 6
        # requests decodes escapes of characters that need no escape.
        assert unquote(parts[4]) == name or parts[4] == quote(name, safe="")


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_id_stays_one_part_of_the_address(name: str) -> None:
    mailbox = GmailClient(Credentials.from_access_token("ya29.x")).mailbox()
    with egress() as sent:
        call = mailbox.api.message_call(name, "full")
        target = call.target.partition("?")[0]
    assert not sent
    assert target.count("/") == len(["", "gmail", "v1", "users", "me", "messages", "x"]) - 1, target
    assert unquote(target.rpartition("/")[2]) == name
