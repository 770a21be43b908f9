"""The derived tables' columns: one Arrow schema each, with a description on every field.

`VIEWS` maps a derived table's name to its `View`: description, key and schema, without the lake's `mailbox` column.
`CONTENT_VIEWS` has the two tables of attachment contents, which are fetched from Gmail and not computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

__all__ = [
    "ALL_VIEWS",
    "CONTENTS",
    "CONTENT_VIEWS",
    "FORMULA",
    "LABEL_COLUMNS",
    "LINKS",
    "VIEWS",
    "View",
    "formula",
]


@dataclass(frozen=True, slots=True)
class View:
    """A table that is computed from `messages` and `labels`.

    Attributes:
        name: Its name in the lake, in Dagster and in Spark.
        description: One sentence.
        primary_key: The columns that identify a row within one mailbox.
        sources: Tables without which it can't be computed; `labels` gives names to all where it is in use.
        schema: Its Arrow schema, without the lake's `mailbox` column.
    """

    name: str
    description: str
    primary_key: tuple[str, ...]
    sources: tuple[str, ...]
    schema: pa.Schema

    def columns(self, names: Iterable[str]) -> pa.Schema:
        """The schema of some of its columns."""
        return pa.schema([self.schema.field(name) for name in names])


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": description})


def _list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind))


_TEXT = pa.string()
_COUNT = pa.int64()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = _list(_TEXT)
_PEOPLE = _list(
    pa.struct(
        [
            _field("name", _TEXT, "Display name, decoded; null where there is none."),
            _field("email", _TEXT, "Address in lower case; null where it can't be read."),
        ]
    )
)

_EMAILS = pa.schema(
    [
        _field("message_id", _TEXT, "Gmail's id of the message: `messages.id`."),
        _field("thread_id", _TEXT, "Gmail's id of the thread: `messages.threadId`."),
        _field(
            "rfc822_message_id", _TEXT, "Message-ID header without angle brackets; the same in every mailbox."
        ),
        _field("in_reply_to", _TEXT, "`rfc822_message_id` of the message that this one answers."),
        _field("reference_ids", _TEXTS, "`rfc822_message_id`s of the References header, oldest first."),
        _field("received_at", _TIME, "When Gmail received or created the message (`internalDate`), UTC."),
        _field("sent_at", _TIME, "Date header, UTC; null where it can't be read. Set by the sender."),
        _field("from_email", _TEXT, "Sender's address, in lower case."),
        _field("from_name", _TEXT, "Sender's display name, decoded."),
        _field("from_domain", _TEXT, "Domain of `from_email`."),
        _field("subject", _TEXT, "Subject, decoded."),
        _field("to_recipients", _PEOPLE, "Recipients of the To header; groups give their members."),
        _field("cc_recipients", _PEOPLE, "Recipients of the Cc header."),
        _field("bcc_recipients", _PEOPLE, "Recipients of the Bcc header; only the sender's copy has it."),
        _field("reply_to", _PEOPLE, "Addresses of the Reply-To header."),
        _field("label_ids", _TEXTS, "Ids of the labels on the message."),
        _field(
            "label_names", _TEXTS, "Names of the labels, in the order of `label_ids`; the id where unknown."
        ),
        _field("is_unread", _FLAG, "Has the label `UNREAD`."),
        _field("is_starred", _FLAG, "Has the label `STARRED`."),
        _field("is_important", _FLAG, "Has the label `IMPORTANT`."),
        _field("is_sent", _FLAG, "Has the label `SENT`."),
        _field("is_draft", _FLAG, "Has the label `DRAFT`."),
        _field("is_inbox", _FLAG, "Has the label `INBOX`."),
        _field("is_spam", _FLAG, "Has the label `SPAM`."),
        _field("is_trash", _FLAG, "Has the label `TRASH`."),
        _field(
            "category",
            _TEXT,
            "Inbox tab: `personal`, `social`, `promotions`, `updates` or `forums`; else null.",
        ),
        _field("body_text", _TEXT, "Body as text: the text parts, or else the converted HTML."),
        _field("body_html", _TEXT, "Body as HTML, as sent; null where there is none."),
        _field("snippet", _TEXT, "Beginning of the text, by Gmail, unescaped."),
        _field("list_id", _TEXT, "Id of the mailing list (List-Id)."),
        _field(
            "is_bulk", _FLAG, "Sent to many: has List-Id, List-Unsubscribe or Precedence bulk, list or junk."
        ),
        _field(
            "is_auto_submitted", _FLAG, "Sent by a program: Auto-Submitted other than `no`, or an auto-reply."
        ),
        _field("size_bytes", _COUNT, "Size of the raw message in bytes."),
        _field("attachment_count", _COUNT, "Rows of the message in `attachments`, inline images included."),
        _field("history_id", _COUNT, "`historyId` as a number: the order in which messages changed."),
    ]
)

LABEL_COLUMNS = (
    "label_ids",
    "label_names",
    "is_unread",
    "is_starred",
    "is_important",
    "is_sent",
    "is_draft",
    "is_inbox",
    "is_spam",
    "is_trash",
    "category",
    "history_id",
)
"""The columns of `emails` that change when labels do; all others never change."""

_ATTACHMENTS = pa.schema(
    [
        _field("message_id", _TEXT, "Gmail's id of the message."),
        _field(
            "part_id", _TEXT, "Position of the part in the message, for example `1.0`; empty for the root."
        ),
        _field("filename", _TEXT, "File name, decoded."),
        _field("extension", _TEXT, "What follows the last dot of the name, in lower case."),
        _field("mime_type", _TEXT, "MIME type in lower case, as the sender says."),
        _field("size_bytes", _COUNT, "Bytes of the content, decoded."),
        _field("content_id", _TEXT, "Content-ID without angle brackets: HTML refers to it by `cid:`."),
        _field("is_inline", _FLAG, "Shown within the body, as embedded images are."),
        _field(
            "sha256",
            _TEXT,
            "SHA-256 of the content in hex where `messages` holds it; else null: see `attachment_links`.",
        ),
    ]
)

_MESSAGE_LABELS = pa.schema(
    [
        _field("message_id", _TEXT, "Gmail's id of the message."),
        _field("label_id", _TEXT, "Id of a label on it."),
        _field("label_name", _TEXT, "Name of the label; its id where `labels` doesn't name it."),
        _field("label_type", _TEXT, "`system` or `user`; null where `labels` doesn't name it."),
    ]
)

VIEWS: Mapping[str, View] = {
    view.name: view
    for view in (
        View("emails", "One row per message, with flat columns.", ("message_id",), ("messages",), _EMAILS),
        View(
            "message_labels",
            "One row per message and label.",
            ("message_id", "label_id"),
            ("messages",),
            _MESSAGE_LABELS,
        ),
        View(
            "attachments",
            "One row per attachment, at any depth.",
            ("message_id", "part_id"),
            ("messages", "emails"),
            _ATTACHMENTS,
        ),
    )
}

CONTENTS, LINKS = "attachment_contents", "attachment_links"

_LINKS = pa.schema(
    [
        _field("message_id", _TEXT, "Gmail's id of the message."),
        _field("part_id", _TEXT, "Position of the part in the message: `attachments.part_id`."),
        _field(
            "sha256",
            _TEXT,
            "SHA-256 of the content in hex: `attachment_contents.sha256`; null unless stored.",
        ),
        _field("size_bytes", _COUNT, "Bytes of the content, as `attachments` says."),
        _field("rfc822_message_id", _TEXT, "Message-ID header: the same for all who received the message."),
        _field(
            "status",
            _TEXT,
            "`stored`; `failed`: the next run requests it again; `absent`: Gmail does not give its bytes.",
        ),
        _field("error", _TEXT, "Why it failed; else null."),
        _field(
            "mail_key",
            _TEXT,
            "Hash of Message-ID, From, Date, Subject and the list of attachments, which `shared` compares; null "
            "without Message-ID.",
        ),
    ]
)

_CONTENTS = pa.schema(
    [
        _field("sha256", _TEXT, "SHA-256 of the content in hex."),
        _field("size_bytes", _COUNT, "Bytes of the content."),
        _field("content", pa.binary(), "The bytes, decoded."),
    ]
)

CONTENT_VIEWS: Mapping[str, View] = {
    view.name: view
    for view in (
        View(
            LINKS,
            "One row per attachment whose content was requested, with the hash of its content.",
            ("message_id", "part_id"),
            ("messages", "attachments"),
            _LINKS,
        ),
        View(
            CONTENTS,
            "One row per distinct attachment content, in the partition of the mailbox that it was fetched for.",
            ("sha256",),
            ("messages", "attachments"),
            _CONTENTS,
        ),
    )
}

ALL_VIEWS: Mapping[str, View] = {**VIEWS, **CONTENT_VIEWS}

FORMULA: Mapping[str, int] = {"emails": 1, "message_labels": 1, "attachments": 1}
"""How rows are computed: a number is raised when a table's rows come out differently; stored rows are then replaced."""


def formula(name: str, content: str = "") -> int:
    """A number for how the table's rows are computed: when it differs, all are computed again.

    Args:
        name: One of `VIEWS`.
        content: What `messages` stores of each message; "" for all of it, parsed (`format: full`).
    """
    columns = ",".join(f"{column.name}:{column.type}" for column in VIEWS[name].schema)
    meaning = f"{FORMULA[name]}|{columns}" + (f"|{content}" if content else "")
    return int(hashlib.sha256(meaning.encode()).hexdigest()[:15], 16) + 1
