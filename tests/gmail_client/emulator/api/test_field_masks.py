"""Partial responses."""

from __future__ import annotations

from typing import Any

import pytest

from gmail_client.emulator import ApiError
from gmail_client.emulator.api.field_masks import apply, parse

MESSAGE = {
    "id": "1",
    "labelIds": ["A"],
    "payload": {
        "mimeType": "x",
        "headers": [{"name": "n", "value": "v"}],
        "body": {"size": 1, "data": "ZA=="},
    },
}
LIST = {"messages": [{"id": "1", "threadId": "2"}], "nextPageToken": "t", "resultSizeEstimate": 1}


@pytest.mark.parametrize(
    ("mask", "value", "schema", "kept"),
    [
        ("id", MESSAGE, "Message", {"id": "1"}),
        ("id, labelIds", MESSAGE, "Message", {"id": "1", "labelIds": ["A"]}),
        ("payload/body/size", MESSAGE, "Message", {"payload": {"body": {"size": 1}}}),
        (
            "payload(mimeType,headers/name),id",
            MESSAGE,
            "Message",
            {"id": "1", "payload": {"mimeType": "x", "headers": [{"name": "n"}]}},
        ),
        (
            "payload/headers(name),id",
            MESSAGE,
            "Message",
            {"id": "1", "payload": {"headers": [{"name": "n"}]}},
        ),
        (
            "payload/mimeType,payload/body/size",
            MESSAGE,
            "Message",
            {"payload": {"mimeType": "x", "body": {"size": 1}}},
        ),
        ("payload,payload/mimeType", MESSAGE, "Message", {"payload": MESSAGE["payload"]}),
        ("*", MESSAGE, "Message", MESSAGE),
        ("payload/*", MESSAGE, "Message", {"payload": MESSAGE["payload"]}),
        (
            "messages/id,nextPageToken",
            LIST,
            "ListMessagesResponse",
            {"messages": [{"id": "1"}], "nextPageToken": "t"},
        ),
        ("messages(id,threadId)", LIST, "ListMessagesResponse", {"messages": LIST["messages"]}),
        ("snippet", MESSAGE, "Message", {}),
    ],
)
def test_masks(mask: str, value: dict[str, Any], schema: str, kept: dict[str, Any]) -> None:
    assert apply(parse(mask, schema), value) == kept


@pytest.mark.parametrize(
    "mask",
    ["nothing", "payload/nothing", "id,", "(id)", "payload(", "payload)", "id,,id", "payload/(id)", "a b!"],
)
def test_wrong_masks(mask: str) -> None:
    with pytest.raises(ApiError, match="Invalid field selection"):
        parse(mask, "Message")
