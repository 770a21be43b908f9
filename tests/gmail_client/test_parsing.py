"""Validation of Gmail's JSON: values that are unchanged, values that are converted, and error messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gmail_client.errors import ResponseError
from gmail_client.parsing import parse_json, parse_response
from gmail_client.quota import PRICES
from gmail_client.schema import SCHEMAS, to_batch
from gmail_client.unknown_fields import COLUMN, MAX_NESTING

MESSAGE: dict[str, Any] = {
    "id": "18c",
    "threadId": "18b",
    "labelIds": ["INBOX", "UNREAD"],
    "snippet": "dear diary",
    "historyId": "1234",
    "internalDate": "1700000000000",
    "sizeEstimate": 1000,
    "payload": {
        "partId": "",
        "mimeType": "multipart/mixed",
        "filename": "",
        "headers": [{"name": "Subject", "value": "dear diary"}],
        "body": {"size": 0},
        "parts": [{"partId": "0", "mimeType": "text/plain", "body": {"size": 5, "data": "ZGlhcnk="}}],
    },
}


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The message with another value at a path such as `payload.body.size`; without the field for `...`."""
    copy: dict[str, Any] = json.loads(json.dumps(MESSAGE))
    *parents, last = path.split(".")
    target: Any = copy
    for name in parents:
        target = target[int(name) if isinstance(target, list) else name]
    if value is ...:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return copy


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def deep_parts(levels: int) -> dict[str, Any]:
    part: dict[str, Any] = {"partId": "leaf"}
    for _ in range(levels):
        part = {"partId": "x", "parts": [part]}
    return part


def test_a_valid_message_is_returned_unchanged() -> None:
    assert parse_response("messages.get", MESSAGE, "18c") is MESSAGE


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("internalDate", 1_700_000_000_000, "1700000000000"),
        ("internalDate", 1.7e12, "1700000000000"),
        ("internalDate", "-86400000", "-86400000"),
        ("historyId", 1234, "1234"),
        ("id", 18, "18"),
        ("threadId", 18, "18"),
        ("sizeEstimate", "1000", 1000),
        ("sizeEstimate", 1000.0, 1000),
        ("snippet", 7, "7"),
        ("labelIds", ["INBOX", "INBOX", "UNREAD"], ["INBOX", "UNREAD"]),
        ("payload.body.size", "5", 5),
        ("payload.headers.0.value", 7, "7"),
    ],
)
def test_values_with_a_clear_meaning_are_converted(path: str, value: Any, expected: Any) -> None:
    message = with_value(path, value)
    assert parse_response("messages.get", message) == with_value(path, expected)


@pytest.mark.parametrize("path", ["threadId", "labelIds", "snippet", "historyId", "sizeEstimate", "payload"])
def test_null_counts_as_absent(path: str) -> None:
    assert parse_response("messages.get", with_value(path, None)) == with_value(path, ...)


def test_an_empty_thread_id_counts_as_absent() -> None:
    assert "threadId" not in parse_response("messages.get", with_value("threadId", ""))


@pytest.mark.parametrize(
    ("path", "value", "fragment"),
    [
        ("id", ..., "id is missing"),
        ("id", None, "id is missing"),
        ("id", "", "id is missing"),
        ("id", {}, "id is {}, not an id"),
        ("id", "a\ud800", "id is 'a\\ud800', not an id"),
        ("id", "x" * 501, "not an id"),
        ("id", "a\x1bb", "not an id"),
        ("threadId", [], "threadId is [], not an id"),
        ("labelIds", "INBOX", "labelIds is text, not a list"),
        ("labelIds", [None], "labelIds[0] is None, not an id"),
        ("labelIds", [{}], "labelIds[0] is {}, not an id"),
        ("historyId", "abc", "historyId is 'abc', not a history id"),
        ("historyId", "9" * 30, "not a history id"),
        ("historyId", 2**63, "not a history id"),
        ("historyId", -1, "historyId is -1, not a history id"),
        ("historyId", "-1", "not a history id"),
        ("historyId", True, "historyId is True, not a history id"),
        ("historyId", "١", "not a history id"),
        ("internalDate", "abc", "internalDate is 'abc', not epoch milliseconds"),
        ("internalDate", 1e300, "not epoch milliseconds"),
        ("payload", ["dear diary"], "payload is a list, not an object"),
        ("payload.headers", {"dear": "diary"}, "payload.headers is an object, not a list"),
        ("payload.headers.0", "dear diary", "payload.headers[0] is text, not an object"),
        ("payload.parts.0.parts", "dear diary", "payload.parts[0].parts is text, not a list"),
    ],
)
def test_other_values_are_an_error_without_the_text_of_a_mail(path: str, value: Any, fragment: str) -> None:
    with pytest.raises(ResponseError) as caught:
        parse_response("messages.get", with_value(path, value))
    assert caught.value.what.startswith(f"messages.get: {path.partition('.')[0]}")
    assert fragment in caught.value.what
    assert (caught.value.method, caught.value.status) == ("messages.get", 200)
    assert "diary" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("method", "document", "expected", "kept"),
    [
        ("messages.get", {"sizeEstimate": 2**63}, {}, '{"/sizeEstimate":9223372036854775808}'),
        ("messages.get", {"sizeEstimate": 1.5}, {}, '{"/sizeEstimate":1.5}'),
        ("messages.get", {"sizeEstimate": "about 5 KB"}, {}, '{"/sizeEstimate":"about 5 KB"}'),
        ("messages.get", {"snippet": ["a", True]}, {}, '{"/snippet":["a",true]}'),
        (
            "messages.get",
            {"payload": {"headers": [{"name": "To", "value": {"a": 1}}]}},
            {"payload": {"headers": [{"name": "To"}]}},
            '{"/payload/headers/0/value":{"a":1}}',
        ),
        ("labels.get", {"color": "#ffffff"}, {}, '{"/color":"#ffffff"}'),
        (
            "labels.get",
            {"color": {"textColor": {}, "x": 1}},
            {"color": {}},
            '{"/color/textColor":{},"/color/x":1}',
        ),
        ("labels.get", {"messagesTotal": "NaN"}, {}, '{"/messagesTotal":"NaN"}'),
    ],
)
def test_details_of_another_type_are_kept_beside_the_column(
    method: str, document: dict[str, Any], expected: dict[str, Any], kept: str
) -> None:
    parsed = parse_response(method, {"id": "18c", **document}, "18c")
    assert parsed == {"id": "18c", **expected, COLUMN: kept}


def test_a_list_of_another_type_is_kept_as_a_whole() -> None:
    filters = {"filter": [{"id": "1", "action": {"forward": {"x": 1}, "addLabelIds": [[]], "y": 2}}]}
    (row,) = parse_response("settings.filters.list", filters)["filter"]
    assert row == {
        "id": "1",
        "action": {},
        COLUMN: '{"/action/forward":{"x":1},"/action/addLabelIds":[[]],"/action/y":2}',
    }


def test_a_response_about_another_item_is_an_error() -> None:
    with pytest.raises(ResponseError, match=r"messages\.get: the response is about '18c', not '18d'"):
        parse_response("messages.get", MESSAGE, "18d")


def test_messages_of_a_thread_get_its_id() -> None:
    thread = {"id": "18b", "messages": [{"id": "1"}, {"id": "2", "threadId": "18b"}]}
    parsed = parse_response("threads.get", thread, "18b")
    assert [message["threadId"] for message in parsed["messages"]] == ["18b", "18b"]
    strange = {"id": "18b", "messages": [{"id": "1"}, {"id": "2", "threadId": "18a"}]}
    with pytest.raises(ResponseError, match=r"messages\[1\].threadId is another thread's"):
        parse_response("threads.get", strange, "18b")


@pytest.mark.parametrize(
    ("method", "document", "fragment"),
    [
        ("getProfile", {"historyId": "1"}, "emailAddress is missing"),
        ("getProfile", {"emailAddress": "a@b.test"}, "historyId is missing"),
        ("messages.list", {"messages": [{"threadId": "1"}]}, "messages[0].id is missing"),
        ("messages.list", {"messages": [{"id": "1"}]}, "messages[0].threadId is missing"),
        ("messages.list", {"messages": [{"id": {}, "threadId": "1"}]}, "messages[0].id is {}"),
        ("messages.list", {"nextPageToken": {"a": 1}}, "nextPageToken is an object, not a page token"),
        ("messages.list", {"nextPageToken": "a\udc00"}, "nextPageToken is text, not a page token"),
        ("threads.list", {"threads": ["18c"]}, "threads[0] is text, not an object"),
        ("history.list", {"history": []}, "historyId is missing"),
        ("history.list", {"historyId": "9", "history": [{}]}, "history[0].id is missing"),
        (
            "history.list",
            {"historyId": "9", "history": [{"id": "8", "messages": ["18c"]}]},
            "history[0].messages[0] is text, not an object",
        ),
        (
            "history.list",
            {"historyId": "9", "history": [{"id": "8", "labelsAdded": [{"labelIds": ["A"]}]}]},
            "history[0].labelsAdded[0].message is missing",
        ),
        ("labels.list", {"labels": [{"name": "x"}]}, "labels[0].id is missing"),
        ("settings.sendAs.list", {"sendAs": [{}]}, "sendAs[0].sendAsEmail is missing"),
    ],
)
def test_other_responses_are_checked_too(method: str, document: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ResponseError) as caught:
        parse_response(method, document)
    assert caught.value.what.startswith(f"{method}: {fragment}")


@pytest.mark.parametrize("records", [[{"id": 8, "messages": [{"id": 1, "threadId": ""}]}], None])
def test_numeric_history_ids(records: Any) -> None:
    parsed = parse_response("history.list", {"historyId": 9, "history": records})
    assert parsed["historyId"] == "9"
    assert parsed.get("history", []) == ([] if records is None else [{"id": "8", "messages": [{"id": "1"}]}])


def test_nesting_below_the_typed_levels_is_bounded() -> None:
    at_the_limit = {"id": "1", "payload": deep_parts(5 + MAX_NESTING // 2)}
    assert parse_response("messages.get", at_the_limit) == at_the_limit
    to_batch("messages", [at_the_limit])
    with pytest.raises(ResponseError, match=r"parts\[0\]\.parts is nested too deeply"):
        parse_response("messages.get", {"id": "1", "payload": deep_parts(6 + MAX_NESTING // 2)})


def test_unknown_fields_that_are_too_deep_are_dropped() -> None:
    assert parse_response("labels.get", {"id": "1", "x": nested(900), "y": nested(5)}) == {
        "id": "1",
        COLUMN: '{"/y":[[[[[[]]]]]]}',
    }


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"id": "1"', b"\xff", b"<html>", b"null", b'"x"'])
def test_other_json_than_an_object(content: bytes) -> None:
    assert parse_json(content, "messages.get") is None


def test_too_deeply_nested_json_is_named() -> None:
    with pytest.raises(ResponseError, match=r"messages\.get: the response is nested too deeply"):
        parse_json(b'{"a": ' + b"[" * 100_000, "messages.get")


def test_nan_is_refused() -> None:
    assert parse_json(b'{"a": NaN, "b": -Infinity}', "x") == {"a": "NaN", "b": "-Infinity"}


def test_every_read_method_has_a_schema() -> None:
    unread = {"watch", "stop", "messages.attachments.get"} | {
        method
        for method in PRICES
        if method.count(".") == 3 or (method.startswith("settings.") and method.endswith(".get"))
    }
    for method in PRICES.keys() - unread:
        with pytest.raises(ResponseError):
            parse_response(method, [])  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    "id",
    "threadId",
    "labelIds",
    "labelIds.0",
    "snippet",
    "historyId",
    "internalDate",
    "sizeEstimate",
    "payload",
    "payload.headers",
    "payload.headers.0",
    "payload.headers.0.name",
    "payload.body",
    "payload.body.size",
    "payload.parts",
    "payload.parts.0",
    "payload.parts.0.body.data",
    "newField",
]


@given(path=st.sampled_from(PATHS), value=JSON)
def test_any_value_in_any_field_is_a_row_or_an_error(path: str, value: Any) -> None:
    try:
        parsed = parse_response("messages.get", with_value(path, value))
    except ResponseError:
        return
    assert to_batch("messages", [parsed]).schema == SCHEMAS["messages"]
    known = {name: value for name, value in parsed.items() if name != COLUMN}
    assert parse_response("messages.get", known) is known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    document=st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    ascii_only=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
@example(document={"half of a pair": "\ud83d"}, ascii_only=True, encoding="utf-8")
@example(document={"large": 10**30, "a": -0.0, "b": 1e308}, ascii_only=False, encoding="utf-8-sig")
def test_a_document_is_read_as_the_standard_library_reads_it(
    document: dict[str, Any], ascii_only: bool, encoding: str
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    read = parse_json(text.encode(encoding, "surrogatepass"), "x")
    assert repr(read) == repr(json.loads(text, parse_constant=str))
