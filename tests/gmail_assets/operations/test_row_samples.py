"""A sampled row compared with a new read: which values count as a difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gmail_assets.operations.row_samples import SampledRow

ROW: dict[str, Any] = {
    "id": "a",
    "historyId": "5",
    "historySequence": 5,
    "labelIds": ["INBOX", "UNREAD"],
    "snippet": "text",
    "payload": {"body": {"attachmentId": "x", "size": 3}, "parts": [{"partsJson": None}]},
}


def nested(attachment: str, size: int = 3) -> dict[str, Any]:
    deep = json.dumps(
        [{"body": {"attachmentId": attachment, "size": size}, "parts": [{"filename": "a.pdf"}]}]
    )
    return {"payload": {"body": {"attachmentId": attachment, "size": 3}, "parts": [{"partsJson": deep}]}}


@pytest.mark.parametrize(
    ("ours", "theirs", "differing"),
    [
        ({}, {}, []),
        ({"historyId": "4", "historySequence": 4}, {}, []),
        ({"labelIds": ["UNREAD", "INBOX"]}, {}, []),
        ({"labelIds": ["INBOX"]}, {}, ["labelIds"]),
        ({"labelIds": ["INBOX", "UNREAD", "UNREAD"]}, {}, ["labelIds"]),
        ({"labelIds": None}, {"labelIds": []}, []),
        ({"snippet": "other"}, {}, ["snippet"]),
        (nested("x"), nested("y"), []),
        (nested("x"), nested("y", size=4), ["payload"]),
        ({"mailbox": "a@b.test", "_deletedAt": None}, {}, []),
    ],
)
def test_fields_of_a_message(ours: dict[str, Any], theirs: dict[str, Any], differing: list[str]) -> None:
    assert SampledRow("messages", "a", {**ROW, **ours}, {**ROW, **theirs}).differing() == differing
    one = SampledRow("threads", "t", {"messages": [{**ROW, **ours}]}, {"messages": [{**ROW, **theirs}]})
    assert one.differing() == [f"messages.{name}" for name in differing]


def test_messages_missing_on_one_side_are_left_to_the_listing() -> None:
    other = {**ROW, "id": "b"}
    assert SampledRow("threads", "t", {"messages": [ROW]}, {"messages": [ROW, other]}).differing() == []
    assert SampledRow("threads", "t", {"messages": [ROW, other]}, {"messages": [ROW]}).differing() == []


def test_a_row_that_was_not_fetched_has_no_fields_to_compare() -> None:
    assert SampledRow("messages", "a", ROW, absent="Gmail has no such id").differing() == []
