"""Checks Gmail's JSON where it enters: `parse_json` reads a body, `parse_response` checks and converts a resource.

Every field of a response is checked against the table's schema (or, for listings and the history, against the shapes
below), so that the rest of the code can rely on types. What has a clear meaning in another type is converted
(`gmail_client.json_values`); null counts as absent. Fields that the schema does not have, and details in another type
than their column's, move to the row's `unknownFields` (`gmail_client.unknown_fields`). All else is a `ResponseError`
that names the method and the field, but not the value of a text, which may be mail.

A response of known fields passes unchanged through the `check` functions, which are quick; only others are converted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic_core import from_json

from gmail_client.errors import ResponseError
from gmail_client.json_values import (
    ADDRESS,
    COUNT,
    DATE,
    DEEP_PARTS,
    FLAG,
    HISTORY_ID,
    ID,
    LABEL_IDS,
    PAGE_TOKEN,
    TEXT,
    UNUSED,
    Convert,
    MismatchError,
    Path,
    Shape,
    kind_of,
)
from gmail_client.printable import short_repr
from gmail_client.schema import SCHEMAS
from gmail_client.unknown_fields import COLUMN, UnknownFields

__all__ = ["is_of_gmail", "parse_json", "parse_response"]

_DECODER = json.JSONDecoder(parse_constant=str)


def parse_json(content: bytes, method: str) -> dict[str, Any] | None:
    """The JSON object in the body of a method's response; None if it is not one.

    NaN and Infinity, which JSON does not have, become text and so fit no number field.

    Raises:
        ResponseError: It is nested too deeply to read.
    """
    try:
        # Twice as fast; it refuses some of what the standard library reads, such as half of a surrogate pair.
        document = from_json(content, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        document = _decoded(content, method)
    return document if isinstance(document, dict) else None


def _decoded(content: bytes, method: str) -> Any:
    try:
        return _DECODER.decode(content.decode(json.detect_encoding(content), "surrogatepass"))
    except ValueError:
        return None
    except RecursionError:
        raise ResponseError(
            f"{method}: the response is nested too deeply.", fix=_FIX, status=200, method=method
        ) from None


def is_of_gmail(method: str, document: Mapping[str, Any]) -> bool:
    """Whether a response of a method can be Gmail's: it has a known field or none at all, and no error object.

    A proxy can respond with status 200 and an error as JSON. As a listing, that would look empty.
    """
    shape = _SHAPES.get(method)
    if type(document.get("error")) is dict:
        return False
    return shape is None or not document or not shape.fields.isdisjoint(document)


def parse_response(method: str, document: dict[str, Any], item_id: str = "") -> dict[str, Any]:
    """The response of a method, checked and, where needed, converted.

    Unknown fields of a row are in its `unknownFields` (text, see `gmail_client.unknown_fields`), if it has any.

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
            document = shape.convert(document, (), UnknownFields(method))
        except MismatchError as mismatch:
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


def _list(item: Shape) -> Shape:
    of_item = item.check

    def check(value: Any) -> bool:
        return type(value) is list and all(map(of_item, value))

    def convert(value: Any, path: Path, unknown: UnknownFields) -> list[Any]:
        if type(value) is not list:
            raise MismatchError(path, f"is {kind_of(value)}, not a list")
        return [
            inner if of_item(inner) else item.convert(inner, (*path, number), unknown)
            for number, inner in enumerate(value)
        ]

    return Shape(check, convert) if item.texts is None else _text_objects(item.texts, convert)


def _text_objects(names: frozenset[str], convert: Convert) -> Shape:
    """A list of headers, without function calls for each.

    Args:
        names: The fields of a header.
        convert: Converts lists with other values than text.
    """

    def check(value: Any) -> bool:
        if type(value) is not list:
            return False
        for item in value:
            if type(item) is not dict:
                return False
            for name, text in item.items():
                if type(text) is not str or name not in names:
                    return False
        return True

    def convert_texts(value: Any, path: Path, unknown: UnknownFields) -> Any:
        known: list[dict[str, str]] = []
        other: list[tuple[int, str, Any]] = []
        if type(value) is not list or not all(type(item) is dict for item in value):
            return convert(value, path, unknown)
        for number, item in enumerate(value):
            own = {}
            for name, text in item.items():
                if name not in names:
                    other.append((number, name, text))
                elif type(text) is str:
                    own[name] = text
                else:
                    return convert(value, path, unknown)
            known.append(own)
        unknown.add_of_items(path, other)
        return known

    return Shape(check, convert_texts)


def _object(fields: Mapping[str, Shape], required: tuple[str, ...] = ()) -> Shape:
    # Plain text is by far the most frequent field; `str` in place of its check saves a call.
    checks: dict[str, Any] = {name: str if shape is TEXT else shape.check for name, shape in fields.items()}
    find = checks.get

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for key, item in value.items():
            of_field = find(key)
            if of_field is str:
                if type(item) is not str:
                    return False
            elif of_field is None or not of_field(item):
                return False
        return all(map(value.__contains__, required))

    def convert(value: Any, path: Path, unknown: UnknownFields) -> dict[str, Any]:
        if type(value) is not dict:
            raise MismatchError(path, f"is {kind_of(value)}, not an object")
        found: dict[str, Any] = {}
        for key, item in value.items():
            shape = fields.get(key)
            if shape is None:
                unknown.add((*path, key), item)
            elif shape.check(item):
                found[key] = item
            elif item is not None and not (item == "" and shape in (ID, PAGE_TOKEN)):
                before = unknown.mark()
                try:
                    found[key] = shape.convert(item, (*path, key), unknown)
                except MismatchError:
                    if key in _ESSENTIAL or not unknown.stored:
                        raise
                    unknown.undo(before)
                    if key != _WITH_SECRETS:
                        unknown.add((*path, key), item, kind_of(item))
        for name in required:
            if name not in found:
                raise MismatchError((*path, name), "is missing")
        return found

    only_text = not required and all(shape is TEXT for shape in fields.values())
    names = frozenset(fields)
    return Shape(check, convert, names if only_text else None, names)


def _row(table: str, shape: Shape) -> Shape:
    """A row of a table: its unknown fields are put into its column."""

    def convert(value: Any, path: Path, unknown: UnknownFields) -> dict[str, Any]:
        own = UnknownFields(table, len(path), stored=True)
        found: dict[str, Any] = shape.convert(value, path, own)
        text = own.text()
        return found if text is None else {**found, COLUMN: text}

    return Shape(shape.check, convert, fields=shape.fields)


_BY_NAME = {
    "id": ID,
    "threadId": ID,
    "historyId": HISTORY_ID,
    "internalDate": DATE,
    "labelIds": LABEL_IDS,
}
_OWN_COLUMNS = ("historySequence", "partsJson", COLUMN)
_ESSENTIAL = frozenset(
    (
        *_BY_NAME,
        "emailAddress",
        "forwardingEmail",
        "sendAsEmail",
        "delegateEmail",
        "messages",
        "message",
        "payload",
        "headers",
        "body",
        "data",
        "parts",
        "raw",
    )
)
"""Keys, order, labels and content: in another type, they are an error."""
_SECRETS = {"username": UNUSED, "password": UNUSED}
"""Fields of `smtpMsa` that are write-only in Gmail; if it sends them, no table gets them."""
_WITH_SECRETS = "smtpMsa"
"""In another type than an object, it may contain them anywhere, so nothing of it is kept."""


def _of_type(kind: pa.DataType) -> Shape:
    if pa.types.is_struct(kind):
        return _of_fields(list(kind))
    if pa.types.is_list(kind):
        return _list(_of_type(kind.value_type))
    return {pa.string(): TEXT, pa.int64(): COUNT, pa.bool_(): FLAG}[kind]


def _of_fields(fields: list[pa.Field] | pa.Schema, required: tuple[str, ...] = ()) -> Shape:
    shapes = {
        field.name: _BY_NAME.get(field.name) or _of_type(field.type)
        for field in fields
        if field.name not in _OWN_COLUMNS
    }
    if any(field.name == "partsJson" for field in fields):
        shapes["parts"] = DEEP_PARTS
    if "securityMode" in shapes:
        shapes |= _SECRETS
    return _object(shapes, required)


def _thread_of(message: Shape) -> Shape:
    """A thread; messages without a threadId get the thread's, and none may name another one."""
    thread = _object(
        {"id": ID, "snippet": TEXT, "historyId": HISTORY_ID, "messages": _list(message)}, ("id",)
    )

    def check(value: Any) -> bool:
        return thread.check(value) and all(
            message.get("threadId") == value["id"] for message in value.get("messages", ())
        )

    def convert(value: Any, path: Path, unknown: UnknownFields) -> dict[str, Any]:
        found: dict[str, Any] = thread.convert(value, path, unknown)
        if "messages" in found:
            found["messages"] = [{"threadId": found["id"], **inner} for inner in found["messages"]]
            for number, inner in enumerate(found["messages"]):
                if inner["threadId"] != found["id"]:
                    raise MismatchError((*path, "messages", number, "threadId"), "is another thread's")
        return found

    return Shape(check, convert, fields=thread.fields)


def _page_of(key: str, item: Shape) -> Shape:
    return _object({key: _list(item), "nextPageToken": PAGE_TOKEN, "resultSizeEstimate": UNUSED})


_MESSAGE = _of_fields(SCHEMAS["messages"], ("id",))
_DRAFT = _object({"id": ID, "message": _MESSAGE}, ("id",))
_LABEL = _row("labels", _of_fields(SCHEMAS["labels"], ("id",)))
_MESSAGE_NAME = _object({"id": ID, "threadId": ID, "labelIds": LABEL_IDS}, ("id",))
_EVENT = _object({"message": _MESSAGE_NAME, "labelIds": LABEL_IDS}, ("message",))
_RECORD = _object(
    {
        "id": HISTORY_ID,
        "messages": _list(_MESSAGE_NAME),
        "messagesAdded": _list(_EVENT),
        "messagesDeleted": _list(_EVENT),
        "labelsAdded": _list(_EVENT),
        "labelsRemoved": _list(_EVENT),
    },
    ("id",),
)

_SHAPES: Mapping[str, Shape] = {
    "getProfile": _row(
        "profile",
        _object(
            {
                "emailAddress": ADDRESS,
                "messagesTotal": COUNT,
                "threadsTotal": COUNT,
                "historyId": HISTORY_ID,
            },
            ("emailAddress", "historyId"),
        ),
    ),
    "messages.list": _page_of("messages", _object({"id": ID, "threadId": ID}, ("id", "threadId"))),
    "threads.list": _page_of(
        "threads", _object({"id": ID, "snippet": TEXT, "historyId": HISTORY_ID}, ("id",))
    ),
    "drafts.list": _page_of("drafts", _object({"id": ID, "message": _MESSAGE_NAME}, ("id",))),
    "history.list": _object(
        {"history": _list(_RECORD), "historyId": HISTORY_ID, "nextPageToken": PAGE_TOKEN}, ("historyId",)
    ),
    "labels.list": _page_of("labels", _LABEL),
    "messages.get": _row("messages", _MESSAGE),
    "messages.attachments.get": _object({"size": COUNT, "data": TEXT, "attachmentId": UNUSED}),
    "threads.get": _row("threads", _thread_of(_row("messages", _MESSAGE))),
    "drafts.get": _row("drafts", _DRAFT),
    "labels.get": _LABEL,
    **{
        f"settings.{method}.list": _page_of(key, _row(table, _of_fields(SCHEMAS[table], (required,))))
        for method, key, table, required in (
            ("filters", "filter", "filters", "id"),
            ("forwardingAddresses", "forwardingAddresses", "forwarding_addresses", "forwardingEmail"),
            ("sendAs", "sendAs", "send_as", "sendAsEmail"),
            ("delegates", "delegates", "delegates", "delegateEmail"),
        )
    },
    **{
        f"settings.get{field.name[0].upper()}{field.name[1:]}": _row(
            f"settings.{field.name}", _of_type(field.type)
        )
        for field in SCHEMAS["settings"]
        if pa.types.is_struct(field.type)
    },
}
"""By method: the shape of its response."""
