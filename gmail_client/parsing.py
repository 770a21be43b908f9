"""Checks Gmail's JSON where it enters: `parse_json` reads a body, `parse_response` checks and converts a resource.

Every field of a response is checked against the table's schema (or, for listings and the history, against the shapes
below), so that the rest of the code can rely on types. What has a clear meaning is converted: a number in a text field
becomes text, digits in a number field become a number, doubled label ids are kept once, null counts as absent. All else
is a `ResponseError` that names the method and the field, but not the value of a text, which may be mail.

A correct response passes unchanged through the `check` functions, which are quick; only others are converted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gmail_client.errors import ResponseError
from gmail_client.printable import short_repr
from gmail_client.schema import SCHEMAS

__all__ = ["MAX_NESTING", "parse_json", "parse_response"]

Check = Callable[[Any], bool]
Convert = Callable[[Any, str], Any]

MAX_NESTING = 200
"""Levels of lists and objects below a field without a schema (`partsJson`); Python's JSON writer has a limit, too."""

_INT64 = 2**63
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_LONGEST_ID = 500
_LONGEST_TOKEN = 4_000
_DECODER = json.JSONDecoder(parse_constant=str)


def parse_json(content: bytes, method: str) -> dict[str, Any] | None:
    """The JSON object in the body of a method's response; None if it is not one.

    NaN and Infinity, which JSON does not have, become text and so fit no number field.

    Raises:
        ResponseError: It is nested too deeply to read.
    """
    try:
        document = _DECODER.decode(content.decode(json.detect_encoding(content), "surrogatepass"))
    except ValueError:
        return None
    except RecursionError:
        raise ResponseError(
            f"{method}: the response is nested too deeply.", fix=_FIX, status=200, method=method
        ) from None
    return document if isinstance(document, dict) else None


def parse_response(method: str, document: dict[str, Any], item_id: str = "") -> dict[str, Any]:
    """The response of a method, checked and, where needed, converted; unknown fields are kept.

    Args:
        method: Name in the price table (`messages.get`).
        document: The response.
        item_id: The id that the response must have, for methods that get one item.

    Raises:
        ResponseError: A field is missing, of the wrong type or out of range.
    """
    shape = _SHAPES.get(method)
    if shape is not None and not shape.check(document):
        try:
            document = shape.convert(document, "")
        except _Mismatch as mismatch:
            raise ResponseError(f"{method}: {mismatch}.", fix=_FIX, status=200, method=method) from None
    if item_id and document.get("id") != item_id:
        raise ResponseError(
            f"{method}: the response is about {short_repr(document.get('id'))}, not {short_repr(item_id)}.",
            fix=_FIX,
            status=200,
            method=method,
        )
    return document


_FIX = "Try again later; if it persists, check the proxy and GMAIL_API_ROOT."


class _Mismatch(Exception):  # noqa: N818 - becomes a ResponseError
    """A field that can't be used; the text names it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path.removeprefix('.') or 'the response'} {problem}")


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one kind of value is checked and converted.

    Attributes:
        check: Whether a value can be used as it is.
        convert: The usable form of a value at a path; raises `_Mismatch` if it has none.
        only_text: It is an object whose fields are all optional text, such as a header.
    """

    check: Check
    convert: Convert
    only_text: bool = False


def _text(value: Any, path: str) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise _Mismatch(path, f"is {_kind(value)}, not text")


def _is_id(value: Any) -> bool:
    # An id of dots would be a step in the path of a request.
    return (
        type(value) is str
        and 0 < len(value) <= _LONGEST_ID
        and value.isprintable()
        and value.strip(".") != ""
    )


def _id(value: Any, path: str) -> str:
    if type(value) is int:
        value = str(value)
    if not _is_id(value):
        raise _Mismatch(path, f"is {short_repr(value)}, not an id")
    return str(value)


def _address(value: Any, path: str) -> str:
    if not _is_id(value):
        raise _Mismatch(path, f"is {short_repr(value)}, not an address")
    return str(value)


def _is_page_token(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= _LONGEST_TOKEN and value.isprintable()


def _page_token(value: Any, path: str) -> str:
    if type(value) is int:
        value = str(value)
    if not _is_page_token(value):
        raise _Mismatch(path, f"is {_kind(value)}, not a page token")
    return str(value)


def _is_history_id(value: Any) -> bool:
    return type(value) is str and 0 < len(value) < 19 and value.isascii() and value.isdigit()


def _history_id(value: Any, path: str) -> str:
    number = _integer(value)
    if number is None or not 0 <= number < _INT64:
        raise _Mismatch(path, f"is {short_repr(value)}, not a history id (a number below 2^63)")
    return str(number)


def _date(value: Any, path: str) -> str:
    number = _integer(value)
    if number is None:
        raise _Mismatch(path, f"is {short_repr(value)}, not epoch milliseconds")
    return str(number)


def _is_count(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _count(value: Any, path: str) -> int:
    number = _integer(value)
    if number is None:
        shown = _kind(value) if isinstance(value, str) else short_repr(value)
        raise _Mismatch(path, f"is {shown}, not a whole number of 64 bits")
    return number


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _flag(value: Any, path: str) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    if type(value) is not bool:
        raise _Mismatch(path, f"is {_kind(value)}, not true or false")
    return value


def _integer(value: Any) -> int | None:
    """A whole number of 64 bits, given as a number or as digits."""
    if (type(value) is str and _DIGITS.fullmatch(value)) or (type(value) is float and value.is_integer()):
        value = int(value)
    return value if _is_count(value) else None


def _are_unique_ids(value: Any) -> bool:
    return type(value) is list and all(map(_is_id, value)) and len(set(value)) == len(value)


def _unique_ids(value: Any, path: str) -> list[str]:
    return list(dict.fromkeys(_list(_ID).convert(value, path)))


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for item in level
            for inner in (item.values() if type(item) is dict else item)
            if type(inner) in (dict, list)
        ]
        if not level:
            return True
    return False


def _shallow_list(value: Any, path: str) -> Any:
    if type(value) is not list:
        raise _Mismatch(path, f"is {_kind(value)}, not a list")
    if not _is_shallow(value):
        raise _Mismatch(path, "is nested too deeply")
    return value


def _list(item: _Shape) -> _Shape:
    of_item = item.check

    def check(value: Any) -> bool:
        return type(value) is list and all(map(of_item, value))

    def convert(value: Any, path: str) -> list[Any]:
        if type(value) is not list:
            raise _Mismatch(path, f"is {_kind(value)}, not a list")
        return [
            inner if of_item(inner) else item.convert(inner, f"{path}[{number}]")
            for number, inner in enumerate(value)
        ]

    return _Shape(_are_text_objects if item.only_text else check, convert)


def _are_text_objects(value: Any) -> bool:
    """The check of a list of headers, without a function call for each."""
    if type(value) is not list:
        return False
    for item in value:
        if type(item) is not dict:
            return False
        for text in item.values():
            if type(text) is not str:
                return False
    return True


def _object(fields: Mapping[str, _Shape], required: tuple[str, ...] = ()) -> _Shape:
    # Plain text is by far the most frequent field; `str` in place of its check saves a call.
    checks: dict[str, Any] = {name: str if shape is _TEXT else shape.check for name, shape in fields.items()}
    find = checks.get

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for key, item in value.items():
            of_field = find(key)
            if of_field is str:
                if type(item) is not str:
                    return False
            elif of_field is None:
                if type(item) in (dict, list):
                    return False
            elif not of_field(item):
                return False
        return all(map(value.__contains__, required))

    def convert(value: Any, path: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _Mismatch(path, f"is {_kind(value)}, not an object")
        found: dict[str, Any] = {}
        for key, item in value.items():
            shape = fields.get(key)
            if shape is None:
                if type(item) not in (dict, list) or _is_shallow(item):
                    found[key] = item
            elif item is not None and not (item == "" and shape in (_ID, _PAGE_TOKEN)):
                found[key] = shape.convert(item, f"{path}.{key}")
        for name in required:
            if name not in found:
                raise _Mismatch(f"{path}.{name}", "is missing")
        return found

    only_text = not required and all(shape is _TEXT for shape in fields.values())
    return _Shape(check, convert, only_text)


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


_TEXT = _Shape(lambda value: type(value) is str, _text)
_ID = _Shape(_is_id, _id)
_ADDRESS = _Shape(_is_id, _address)
_HISTORY_ID = _Shape(_is_history_id, _history_id)
_PAGE_TOKEN = _Shape(_is_page_token, _page_token)
_DATE = _Shape(_is_history_id, _date)
_COUNT = _Shape(_is_count, _count)
_FLAG = _Shape(_is_flag, _flag)
_LABEL_IDS = _Shape(_are_unique_ids, _unique_ids)
_DEEP_PARTS = _Shape(lambda value: type(value) is list and _is_shallow(value), _shallow_list)

_BY_NAME = {
    "id": _ID,
    "threadId": _ID,
    "historyId": _HISTORY_ID,
    "internalDate": _DATE,
    "labelIds": _LABEL_IDS,
}
_OWN_COLUMNS = ("historySequence", "partsJson")


def _of_type(kind: pa.DataType) -> _Shape:
    if pa.types.is_struct(kind):
        return _of_fields(list(kind))
    if pa.types.is_list(kind):
        return _list(_of_type(kind.value_type))
    return {pa.string(): _TEXT, pa.int64(): _COUNT, pa.bool_(): _FLAG}[kind]


def _of_fields(fields: list[pa.Field] | pa.Schema, required: tuple[str, ...] = ()) -> _Shape:
    shapes = {
        field.name: _BY_NAME.get(field.name) or _of_type(field.type)
        for field in fields
        if field.name not in _OWN_COLUMNS
    }
    if any(field.name == "partsJson" for field in fields):
        shapes["parts"] = _DEEP_PARTS
    return _object(shapes, required)


def _thread_of(message: _Shape) -> _Shape:
    """A thread; messages without a threadId get the thread's, and none may name another one."""
    thread = _object(
        {"id": _ID, "snippet": _TEXT, "historyId": _HISTORY_ID, "messages": _list(message)}, ("id",)
    )

    def check(value: Any) -> bool:
        return thread.check(value) and all(
            message.get("threadId") == value["id"] for message in value.get("messages", ())
        )

    def convert(value: Any, path: str) -> dict[str, Any]:
        found: dict[str, Any] = thread.convert(value, path)
        if "messages" in found:
            found["messages"] = [{"threadId": found["id"], **inner} for inner in found["messages"]]
            for number, inner in enumerate(found["messages"]):
                if inner["threadId"] != found["id"]:
                    raise _Mismatch(f"{path}.messages[{number}].threadId", "is another thread's")
        return found

    return _Shape(check, convert)


def _page_of(key: str, item: _Shape) -> _Shape:
    return _object({key: _list(item), "nextPageToken": _PAGE_TOKEN})


_MESSAGE = _of_fields(SCHEMAS["messages"], ("id",))
_DRAFT = _object({"id": _ID, "message": _MESSAGE}, ("id",))
_LABEL = _of_fields(SCHEMAS["labels"], ("id",))
_MESSAGE_NAME = _object({"id": _ID, "threadId": _ID, "labelIds": _LABEL_IDS}, ("id",))
_EVENT = _object({"message": _MESSAGE_NAME, "labelIds": _LABEL_IDS}, ("message",))
_RECORD = _object(
    {
        "id": _HISTORY_ID,
        "messages": _list(_MESSAGE_NAME),
        "messagesAdded": _list(_EVENT),
        "messagesDeleted": _list(_EVENT),
        "labelsAdded": _list(_EVENT),
        "labelsRemoved": _list(_EVENT),
    },
    ("id",),
)

_SHAPES: Mapping[str, _Shape] = {
    "getProfile": _object(
        {
            "emailAddress": _ADDRESS,
            "messagesTotal": _COUNT,
            "threadsTotal": _COUNT,
            "historyId": _HISTORY_ID,
        },
        ("emailAddress", "historyId"),
    ),
    "messages.list": _page_of("messages", _object({"id": _ID, "threadId": _ID}, ("id", "threadId"))),
    "threads.list": _page_of(
        "threads", _object({"id": _ID, "snippet": _TEXT, "historyId": _HISTORY_ID}, ("id",))
    ),
    "drafts.list": _page_of("drafts", _object({"id": _ID, "message": _MESSAGE_NAME}, ("id",))),
    "history.list": _object(
        {"history": _list(_RECORD), "historyId": _HISTORY_ID, "nextPageToken": _PAGE_TOKEN}, ("historyId",)
    ),
    "labels.list": _page_of("labels", _LABEL),
    "messages.get": _MESSAGE,
    "messages.attachments.get": _object({"size": _COUNT, "data": _TEXT}),
    "threads.get": _thread_of(_MESSAGE),
    "drafts.get": _DRAFT,
    "labels.get": _LABEL,
    "settings.filters.list": _page_of("filter", _of_fields(SCHEMAS["filters"], ("id",))),
    "settings.forwardingAddresses.list": _page_of(
        "forwardingAddresses", _of_fields(SCHEMAS["forwarding_addresses"], ("forwardingEmail",))
    ),
    "settings.sendAs.list": _page_of("sendAs", _of_fields(SCHEMAS["send_as"], ("sendAsEmail",))),
    "settings.delegates.list": _page_of("delegates", _of_fields(SCHEMAS["delegates"], ("delegateEmail",))),
    **{
        f"settings.get{field.name[0].upper()}{field.name[1:]}": _of_type(field.type)
        for field in SCHEMAS["settings"]
        if pa.types.is_struct(field.type)
    },
}
"""By method: the shape of its response."""
