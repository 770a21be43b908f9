"""The two limits of a mass deletion."""

from __future__ import annotations

import pickle

import pytest

from gmail_client.deletion import DELETED_AT, MassDeletionError, check_mass_deletion
from gmail_client.errors import GmailError


def check(deletions: int, rows: int) -> None:
    check_mass_deletion("messages", "a@b.test", deletions=deletions, rows=rows, confirm="--allow-mass-delete")


@pytest.mark.parametrize(("deletions", "rows"), [(0, 0), (100, 100), (100, 101), (101, 505), (1_000, 5_000)])
def test_a_hundred_rows_or_a_fifth_of_them_may_be_deleted(deletions: int, rows: int) -> None:
    check(deletions, rows)


@pytest.mark.parametrize(("deletions", "rows"), [(101, 101), (101, 504), (1_001, 5_000)])
def test_more_than_both_is_refused(deletions: int, rows: int) -> None:
    with pytest.raises(
        MassDeletionError, match=f"messages with a@b.test would delete {deletions} of {rows} rows"
    ) as raised:
        check(deletions, rows)
    assert raised.value.fix.endswith("then run once with --allow-mass-delete.")
    assert not raised.value.retryable
    assert isinstance(raised.value, GmailError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_the_column_has_one_name() -> None:
    from gmail_assets.delta.lake import with_mailbox
    from gmail_client.schema import SCHEMAS

    assert with_mailbox(SCHEMAS["messages"], keep_deleted=True).names[-1] == DELETED_AT == "_deletedAt"
