"""Any JSON in any field of any response ends in rows or a `GmailError`, and does not affect other messages."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.hostile import BROKEN, JSON, places, recorded, replaced, serve

from gmail_client.client import Mailbox
from gmail_client.errors import GmailError
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages
from gmail_client.schema import SCHEMAS, json_row, to_batch
from gmail_client.tables import CATALOGUE

LISTS = ["messages", "threads", "drafts", "labels", "history"]


def use(mailbox: Mailbox) -> None:
    """Read everything from a mailbox; each read ends in rows or a `GmailError`."""
    tables = {name: TableOptions(skip_refused=True) for name in ("messages", "threads")}
    for name in CATALOGUE:
        try:
            for page in read_pages(mailbox.api, name, tables.get(name), lambda text: None):
                assert to_batch(name, page).schema == SCHEMAS[name]
                for row in page:
                    assert pa.array([json_row(name, row)], pa.struct(list(SCHEMAS[name])))
        except GmailError as error:
            problem = str(error)
        else:
            problem = ""
        assert len(problem) < 2_000
    for ask in (lambda: mailbox.address, mailbox.history_id, lambda: list(mailbox.changes(1))):
        try:
            assert ask() is not None
        except GmailError as error:
            problem = str(error)
        assert len(problem) < 2_000


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, tuple[Any, ...], Any]:
    path = draw(st.sampled_from(sorted(recorded())))
    place = draw(st.sampled_from(sorted(places(recorded()[path]), key=str)))
    return path, place, draw(JSON.filter(lambda value: value is not ... or place != ()))


@examples(40)
@given(change=changes())
def test_any_json_in_any_field_gives_rows_or_a_gmail_error(
    change: tuple[str, tuple[Any, ...], Any],
) -> None:
    path, place, value = change
    use(serve(lambda request, document: replaced(document, place, value) if request == path else document))


def test_unchanged_responses_are_read() -> None:
    mailbox = serve(lambda path, document: document)
    for name in CATALOGUE.keys() - {"delegates"}:
        assert list(mailbox.rows(name)), name
    assert {change.kind for change in mailbox.changes(1)} == {"added", "updated", "deleted"}


def gets(collection: str) -> list[str]:
    return sorted(path for path in recorded() if path.startswith(f"{collection}/"))


@pytest.mark.parametrize("how", BROKEN)
def test_the_other_messages_are_stored(how: str) -> None:
    broken = gets("messages")[2]

    def change(path: str, document: dict[str, Any]) -> Any:
        holds = path.startswith("threads/") and any(
            f"messages/{message['id']}" == broken for message in document["messages"]
        )
        return BROKEN[how](document) if path == broken or holds else document

    rows = list(serve(change).rows("messages", {"skip_refused": True}))
    assert {f"messages/{row['id']}" for row in rows} == {
        f"messages/{item['id']}" for item in recorded()["messages"]["messages"]
    } - {broken}
    to_batch("messages", rows)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("internalDate", 1_700_000_000_000, "1700000000000"),
        ("sizeEstimate", "77", 77),
        ("labelIds", ["INBOX", "INBOX"], ["INBOX"]),
        ("threadId", None, "of its thread"),
    ],
)
def test_values_with_a_clear_meaning_are_stored(field: str, value: Any, expected: Any) -> None:
    def change(path: str, document: dict[str, Any]) -> Any:
        for message in document.get("messages", []) if path.startswith("threads/") else [document]:
            if path.startswith(("messages/", "threads/")):
                message[field] = value
        return document

    batch = pa.Table.from_batches(serve(change).read("messages"))
    assert batch.num_rows == len(recorded()["messages"]["messages"])
    expected_values = thread_ids() if field == "threadId" else [str(expected)]
    assert set(map(str, batch[field].to_pylist())) <= set(expected_values)


def thread_ids() -> list[str]:
    return [path.removeprefix("threads/") for path in gets("threads")]


@pytest.mark.parametrize("table", ["labels", "drafts"])
@pytest.mark.parametrize("how", ["forbidden", "empty", "another id"])
def test_a_label_or_draft_that_cannot_be_read_keeps_its_row(table: str, how: str) -> None:
    broken, warnings = gets(table)[0], list[str]()
    mailbox = serve(lambda path, document: BROKEN[how](document) if path == broken else document)
    rows = [row for page in read_pages(mailbox.api, table, None, warnings.append) for row in page]
    (row,) = [row for row in rows if f"{table}/{row['id']}" == broken]
    assert row in recorded()[table][table]
    assert [row["id"] for row in rows] == [item["id"] for item in recorded()[table][table]]
    assert len(warnings) == 1
    assert broken.rpartition("/")[2] in warnings[0]
