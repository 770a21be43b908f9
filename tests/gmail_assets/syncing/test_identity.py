"""A mailbox is recognized by most of its ids: a few that two people share don't merge their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing.identity import StoredIds
from gmail_client.errors import NotFoundError

ADA = "ada@example.test"


class Mailbox:
    """Messages with these ids, one thread each, newest last."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = texts(ids)
        self.requested = 0

    def message_call(self, message_id: str, format_: str) -> str:
        return message_id

    def list_messages(self, **options: Any) -> Iterator[list[dict[str, str]]]:
        yield [{"id": one, "threadId": one} for one in reversed(self.ids[-500:])]

    def get_many(self, calls: Sequence[str]) -> Iterator[SimpleNamespace]:
        self.requested += len(calls)
        missing = NotFoundError("it is not there", fix="", status=404)
        for one in calls:
            yield SimpleNamespace(error=None if one in self.ids else missing)


def texts(ids: Sequence[int]) -> list[str]:
    return [f"{one:016x}" for one in ids]


def is_same(mailbox: Mailbox, stored: Sequence[int]) -> bool:
    ids = StoredIds(Lake("unused"))
    ids._read[ADA] = {"messages": pa.array(texts(stored), pa.string())}
    return ids.is_same(mailbox, ADA)  # type: ignore[arg-type]


MANY = [10 * number for number in range(3_000)]


@pytest.mark.parametrize(
    ("present", "stored"),
    [
        (MANY, MANY),
        (MANY, MANY[:2_700]),  # most of the newest are not stored yet
        (MANY, MANY[:2_000]),  # none of them is
        ([one for one in MANY if one % 30], MANY),  # a third was deleted
        (MANY, MANY[::7]),  # a search is stored
        (MANY[:3], MANY[:3]),
        (MANY[1:4], MANY[:5]),  # a small one, of which two fifths were deleted
        (MANY[:1], MANY[:1]),
    ],
)
def test_a_mailbox_is_recognized(present: list[int], stored: list[int]) -> None:
    assert is_same(Mailbox(present), stored)


def test_few_ids_that_were_stored_since_the_oldest_listed_one_need_no_further_request() -> None:
    mailbox = Mailbox(MANY)
    assert is_same(mailbox, MANY[:2_560])  # the newest 500 are listed, and 60 of them are stored
    assert mailbox.requested == 0


@pytest.mark.parametrize(
    "shared",
    [MANY[-1:], MANY[-2:], MANY[1::4], MANY[2_700:2_790]],
)
def test_another_mailbox_with_some_equal_ids_is_not(shared: list[int]) -> None:
    other = Mailbox(sorted({*shared, *(one + 1 for one in MANY)}))
    assert not is_same(other, MANY)
    assert other.requested <= 3


def test_a_quiet_mailbox_is_not_taken_for_an_active_one_because_of_one_common_mail() -> None:
    assert not is_same(Mailbox([one + 1 for one in MANY] + [30_010]), [*range(1_002, 2_002, 10), 30_010])


def test_other_errors_are_not_taken_for_an_answer() -> None:
    mailbox = Mailbox([])
    mailbox.get_many = lambda calls: iter([SimpleNamespace(error=PermissionError("refused"))])  # type: ignore[method-assign]
    with pytest.raises(PermissionError):
        is_same(mailbox, MANY)
