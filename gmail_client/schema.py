"""The ten tables' columns: one Arrow schema each, with a description of every field.

The single source for Delta, Spark and the documentation. Names and types follow Gmail's discovery document v1: strings
stay strings (`historyId` and `internalDate` too), counts are int64, nested objects are structs, and null when absent.

`SCHEMAS` maps a table's name to its schema. `to_batch` converts rows as Gmail sends them (JSON objects) to a record
batch, `json_row` converts one to a dict of the table's columns; `message_row` and `thread_row` add the columns that
Gmail does not have (`historySequence`, `partsJson`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gmail_client import unknown_fields

__all__ = [
    "PARTS_DEPTH",
    "SCHEMAS",
    "describe",
    "json_row",
    "message_row",
    "thread_row",
    "to_batch",
    "without_unknown_fields",
]

PARTS_DEPTH = 5
"""Typed levels of `payload.parts`; `partsJson` has deeper ones (3 of 9,882 test mails have any, no real mail)."""

Row = dict[str, Any]


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": description})


def _list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind))


def _struct(*fields: pa.Field) -> pa.DataType:
    return pa.struct(list(fields))


_TEXT = pa.string()
_COUNT = pa.int64()
_FLAG = pa.bool_()

_HEADER = _struct(
    _field("name", _TEXT, "Header name as sent, for example `Message-ID`."),
    _field("value", _TEXT, "Header value, unfolded."),
)

_BODY = _struct(
    _field(
        "attachmentId", _TEXT, "Id for messages.attachments.get; differs between two reads of one message."
    ),
    _field("size", _COUNT, "Bytes of the part's data, decoded."),
    _field("data", _TEXT, "The part's data, base64url with padding; text is UTF-8."),
)


def _part(levels_below: int) -> pa.DataType:
    fields = [
        _field("partId", _TEXT, "Position in the tree, for example `0.1`; empty for the root."),
        _field("mimeType", _TEXT, "MIME type in lower case."),
        _field("filename", _TEXT, "File name, for attachments."),
        _field("headers", _list(_HEADER), "The part's headers in order, duplicates included."),
        _field("body", _BODY, "The part's data, or the id to fetch it by."),
    ]
    if levels_below:
        fields.append(_field("parts", _list(_part(levels_below - 1)), "Child parts of a container."))
    else:
        fields.append(
            _field(
                "partsJson",
                _TEXT,
                f"JSON of the child parts below level {PARTS_DEPTH}, exactly as Gmail sent them.",
            )
        )
    return _struct(*fields)


_CLASSIFICATION = _struct(
    _field("labelId", _TEXT, "Id of the classification label."),
    _field(
        "fields",
        _list(
            _struct(
                _field("fieldId", _TEXT, "Id of the label's field."),
                _field("selection", _TEXT, "Id of the chosen value."),
            )
        ),
        "The label's field values.",
    ),
)

_MESSAGE = (
    _field("id", _TEXT, "Immutable id of the message, unique within its mailbox."),
    _field("threadId", _TEXT, "Id of the thread the message belongs to."),
    _field("labelIds", _list(_TEXT), "Ids of the labels on the message."),
    _field("snippet", _TEXT, "Short, HTML-escaped part of the message text."),
    _field("historyId", _TEXT, "Id of the last history record seen for the message."),
    _field("internalDate", _TEXT, "When Gmail received or created the message, epoch milliseconds."),
    _field("sizeEstimate", _COUNT, "Size of the raw message in bytes."),
    _field("raw", _TEXT, "The whole RFC 2822 message, base64url; only with `format: raw`."),
    _field("payload", _part(PARTS_DEPTH), "The parsed MIME tree."),
    _field("classificationLabelValues", _list(_CLASSIFICATION), "Google Drive classification labels."),
)
_MESSAGE_STRUCT = _struct(*_MESSAGE)
_SEQUENCE = _field("historySequence", _COUNT, "`historyId` as a number: the order in which changes happened.")

_FIELDS: Mapping[str, pa.Schema] = {
    "messages": pa.schema([*_MESSAGE, _SEQUENCE]),
    "threads": pa.schema(
        [
            _field("id", _TEXT, "Id of the thread, unique within its mailbox."),
            _field("snippet", _TEXT, "Short, HTML-escaped part of the newest message's text."),
            _field("historyId", _TEXT, "Id of the last history record seen for the thread."),
            _field("messages", _list(_MESSAGE_STRUCT), "The thread's messages, oldest first."),
            _SEQUENCE,
        ]
    ),
    "labels": pa.schema(
        [
            _field("id", _TEXT, "Immutable id of the label."),
            _field("name", _TEXT, "Display name; nested labels are separated by slashes."),
            _field("messageListVisibility", _TEXT, "`show` or `hide`: messages with it in the message list."),
            _field("labelListVisibility", _TEXT, "`labelShow`, `labelShowIfUnread` or `labelHide`."),
            _field("type", _TEXT, "`system` or `user`."),
            _field("messagesTotal", _COUNT, "Messages with the label."),
            _field("messagesUnread", _COUNT, "Unread messages with the label."),
            _field("threadsTotal", _COUNT, "Threads with the label."),
            _field("threadsUnread", _COUNT, "Unread threads with the label."),
            _field(
                "color",
                _struct(
                    _field("textColor", _TEXT, "Text color, `#rrggbb`."),
                    _field("backgroundColor", _TEXT, "Background color, `#rrggbb`."),
                ),
                "Colors of a user label.",
            ),
        ]
    ),
    "drafts": pa.schema(
        [
            _field("id", _TEXT, "Immutable id of the draft; its message gets a new id with every save."),
            _field("message", _MESSAGE_STRUCT, "The draft's message."),
        ]
    ),
    "profile": pa.schema(
        [
            _field("emailAddress", _TEXT, "The mailbox's address."),
            _field("messagesTotal", _COUNT, "Messages in the mailbox."),
            _field("threadsTotal", _COUNT, "Threads in the mailbox."),
            _field("historyId", _TEXT, "Head of the mailbox's history."),
        ]
    ),
    "settings": pa.schema(
        [
            _field("emailAddress", _TEXT, "The mailbox's address."),
            _field(
                "autoForwarding",
                _struct(
                    _field("enabled", _FLAG, "Whether all mail is forwarded."),
                    _field("emailAddress", _TEXT, "Where it is forwarded to."),
                    _field("disposition", _TEXT, "What happens to the forwarded message here."),
                ),
                "Automatic forwarding; null when this account may not read it.",
            ),
            _field(
                "imap",
                _struct(
                    _field("enabled", _FLAG, "Whether IMAP is on."),
                    _field("autoExpunge", _FLAG, "Whether deletions expunge messages immediately."),
                    _field("expungeBehavior", _TEXT, "What happens to an expunged message."),
                    _field("maxFolderSize", _COUNT, "Most messages an IMAP folder may hold; 0 for no limit."),
                ),
                "IMAP access; null when this account may not read it.",
            ),
            _field(
                "pop",
                _struct(
                    _field("accessWindow", _TEXT, "Which messages POP may read."),
                    _field("disposition", _TEXT, "What happens to a message read by POP."),
                ),
                "POP access; null when this account may not read it.",
            ),
            _field(
                "language",
                _struct(_field("displayLanguage", _TEXT, "Language tag, for example `en-GB`.")),
                "Display language; null when this account may not read it.",
            ),
            _field(
                "vacation",
                _struct(
                    _field("enableAutoReply", _FLAG, "Whether Gmail replies automatically."),
                    _field("responseSubject", _TEXT, "Text put before the subject of replies."),
                    _field("responseBodyPlainText", _TEXT, "Reply as plain text."),
                    _field("responseBodyHtml", _TEXT, "Reply as HTML."),
                    _field("restrictToContacts", _FLAG, "Whether only contacts get a reply."),
                    _field("restrictToDomain", _FLAG, "Whether only the own domain gets a reply."),
                    _field("startTime", _TEXT, "Start, epoch milliseconds."),
                    _field("endTime", _TEXT, "End, epoch milliseconds."),
                ),
                "Vacation responder; null when this account may not read it.",
            ),
        ]
    ),
    "filters": pa.schema(
        [
            _field("id", _TEXT, "Server-assigned id of the filter."),
            _field(
                "criteria",
                _struct(
                    _field("from", _TEXT, "Sender's name or address."),
                    _field("to", _TEXT, "Recipient's name or address."),
                    _field("subject", _TEXT, "Phrase in the subject."),
                    _field("query", _TEXT, "Search that must match."),
                    _field("negatedQuery", _TEXT, "Search that must not match."),
                    _field("hasAttachment", _FLAG, "Whether an attachment is required."),
                    _field("excludeChats", _FLAG, "Whether chats are left out."),
                    _field("size", _COUNT, "Size of the raw message in bytes."),
                    _field("sizeComparison", _TEXT, "`smaller` or `larger` than `size`."),
                ),
                "What a message must match.",
            ),
            _field(
                "action",
                _struct(
                    _field("addLabelIds", _list(_TEXT), "Labels to add."),
                    _field("removeLabelIds", _list(_TEXT), "Labels to remove."),
                    _field("forward", _TEXT, "Address to forward to."),
                ),
                "What is done with a match.",
            ),
        ]
    ),
    "forwarding_addresses": pa.schema(
        [
            _field("forwardingEmail", _TEXT, "Address mail can be forwarded to."),
            _field("verificationStatus", _TEXT, "`accepted` or `pending`."),
        ]
    ),
    "send_as": pa.schema(
        [
            _field("sendAsEmail", _TEXT, "Address in the From header of mail sent with this alias."),
            _field("displayName", _TEXT, "Name in the From header."),
            _field("replyToAddress", _TEXT, "Address in the Reply-To header."),
            _field("signature", _TEXT, "HTML signature."),
            _field("isPrimary", _FLAG, "Whether it is the account's own address."),
            _field("isDefault", _FLAG, "Whether new mail uses it."),
            _field("treatAsAlias", _FLAG, "Whether Gmail treats it as an alias of the account."),
            _field(
                "smtpMsa",
                _struct(
                    _field("host", _TEXT, "SMTP host."),
                    _field("port", _COUNT, "SMTP port."),
                    _field("securityMode", _TEXT, "`none`, `ssl` or `starttls`."),
                ),
                "Outbound relay of the alias (its user name and password are write-only in Gmail).",
            ),
            _field("verificationStatus", _TEXT, "`accepted` or `pending`."),
        ]
    ),
    "delegates": pa.schema(
        [
            _field("delegateEmail", _TEXT, "Address of the delegate."),
            _field("verificationStatus", _TEXT, "`accepted`, `pending`, `rejected` or `expired`."),
        ]
    ),
}

_UNKNOWN = _field(
    unknown_fields.COLUMN,
    _TEXT,
    "Fields that Gmail sends and this version has no column for: a JSON object of their JSON Pointers and values.",
)

SCHEMAS: Mapping[str, pa.Schema] = {table: schema.append(_UNKNOWN) for table, schema in _FIELDS.items()}


def without_unknown_fields(schema: pa.Schema) -> pa.Schema:
    """A table's schema without the column `unknownFields`."""
    return pa.schema([field for field in schema if field.name != unknown_fields.COLUMN])


def describe(field: pa.Field) -> str:
    """The description of a field of one of the `SCHEMAS`, at any depth."""
    comment: bytes = (field.metadata or {}).get(b"comment", b"")
    return comment.decode()


def _fold_parts(part: Row, level: int) -> Row:
    children = part.get("parts")
    if not children:
        return part
    if level == PARTS_DEPTH:
        rest = {key: value for key, value in part.items() if key != "parts"}
        return {**rest, "partsJson": json.dumps(children, ensure_ascii=False, separators=(",", ":"))}
    folded = [_fold_parts(child, level + 1) for child in children]
    if all(new is old for new, old in zip(folded, children, strict=True)):
        return part
    return {**part, "parts": folded}


def _fold_message(message: Row) -> Row:
    payload = message.get("payload")
    if not payload:
        return message
    folded = _fold_parts(payload, 0)
    return message if folded is payload else {**message, "payload": folded}


def message_row(message: Row) -> Row:
    """A row of `messages` from a message as Gmail sends it; the argument is left unchanged."""
    row = _fold_message(message)
    return {**row, "historySequence": int(message["historyId"]) if message.get("historyId") else None}


def thread_row(thread: Row) -> Row:
    """A row of `threads` from a thread as Gmail sends it, messages included; the argument is left unchanged."""
    messages = thread.get("messages") or ()
    row = {
        **thread,
        "messages": [_fold_message(message) for message in messages],
        "historySequence": int(thread["historyId"]) if thread.get("historyId") else None,
    }
    name = unknown_fields.COLUMN
    if any(name in message for message in messages):
        parts = (unknown_fields.prefixed(one.get(name), "messages", one["id"]) for one in messages)
        row[name] = unknown_fields.joined([unknown_fields.prefixed(thread.get(name)), *parts])
        row["messages"] = [{key: item for key, item in one.items() if key != name} for one in row["messages"]]
    return row


def message_array(messages: Sequence[Row]) -> pa.StructArray:
    """Messages as Gmail sends them, as an array of the struct in `threads.messages`."""
    rows = [_fold_message(message) for message in messages]
    try:
        return pa.array(rows, _MESSAGE_STRUCT)
    except UnicodeEncodeError:
        return pa.array(_without_surrogates(rows), _MESSAGE_STRUCT)


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates: a text cut inside an emoji ends in one, and it is not valid Unicode."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def _plain_row(row: Row) -> Row:
    return row


def _draft_row(draft: Row) -> Row:
    message = draft.get("message")
    return {**draft, "message": _fold_message(message)} if message else draft


_PREPARE = {"messages": message_row, "threads": thread_row, "drafts": _draft_row}


def to_batch(table: str, rows: Sequence[Row]) -> pa.RecordBatch:
    """Convert JSON objects as Gmail sends them to one record batch of the table's schema.

    Args:
        table: One of the ten names.
        rows: Gmail's resources, as `parse_response` returns them. Fields that are not in the schema are dropped, absent
            ones are null.
    """
    prepare = _PREPARE.get(table, _plain_row)
    prepared = [prepare(row) for row in rows]
    try:
        return pa.RecordBatch.from_pylist(prepared, schema=SCHEMAS[table])
    except UnicodeEncodeError:
        return pa.RecordBatch.from_pylist(_without_surrogates(prepared), schema=SCHEMAS[table])


def json_row(table: str, row: Row) -> Row:
    """Convert one row to a dict of the table's columns, for engines without Arrow.

    Args:
        table: One of the ten names.
        row: Gmail's resource, as `parse_response` returns it. Fields that are not in the schema are dropped; absent
            columns, and objects without fields at any depth, are None.
    """
    prepared = _PREPARE.get(table, _plain_row)(row)
    return {name: _plain(prepared.get(name)) for name in SCHEMAS[table].names}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()} or None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and not value.isascii():
        return _without_surrogates(value)
    return value
