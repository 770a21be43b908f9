"""Messages as Gmail returns them, built by hand or drawn by hypothesis, including broken ones."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

__all__ = ["any_message", "leaf", "mail", "multipart"]

Row = dict[str, Any]


def encoded(data: str | bytes) -> str:
    """base64url as Gmail sends it."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()


def leaf(mime_type: str, data: str | bytes | None = None, *, filename: str = "", **more: Any) -> Row:
    """A part without children; with `attachment`, it has an id instead of data."""
    headers = [{"name": name, "value": value} for name, value in more.pop("headers", {}).items()]
    body: Row = {"size": more.pop("size", len(data or ""))}
    if data is not None:
        body["data"] = encoded(data)
    if "attachment" in more:
        body["attachmentId"] = more.pop("attachment")
    return {"mimeType": mime_type, "filename": filename, "headers": headers, "body": body, **more}


def multipart(subtype: str, *parts: Row, mime_type: str = "multipart") -> Row:
    """A part with children."""
    return {
        "mimeType": f"{mime_type}/{subtype}",
        "filename": "",
        "headers": [],
        "body": {"size": 0},
        "parts": list(parts),
    }


def numbered(part: Row, part_id: str = "") -> Row:
    """The part with partIds as Gmail assigns them."""
    prefix = f"{part_id}." if part_id else ""
    children = [numbered(child, f"{prefix}{n}") for n, child in enumerate(part.get("parts", ()))]
    return {**part, "partId": part_id, **({"parts": children} if children else {})}


def mail(payload: Row | None = None, *, headers: dict[str, str] | None = None, **more: Any) -> Row:
    """A message; `headers` are the root's."""
    message: Row = {
        "id": "18c2a0",
        "threadId": "18c29f",
        "labelIds": ["INBOX"],
        "historyId": "500",
        "internalDate": "1606313768977",
        "sizeEstimate": 1234,
        "snippet": "Hello",
    }
    if payload is not None or headers is not None:
        root = numbered(payload or leaf("text/plain", "Hello"))
        root["headers"] = [{"name": n, "value": v} for n, v in (headers or {}).items()] + root["headers"]
        message["payload"] = root
    return {**message, **more}


_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
_HEADER = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(
            st.none(),
            st.sampled_from(
                ["From", "to", "CC", "Date", "Subject", "References", "Message-ID", "List-Id", "Precedence"]
            ),
            st.sampled_from(["Content-Type", "Content-Disposition", "Content-ID", "Auto-Submitted"]),
            _TEXT,
        ),
        "value": st.one_of(st.none(), _TEXT, st.sampled_from(["attachment", "inline; filename=x", "<a@b>"])),
    },
)
_DATA = st.one_of(
    st.none(),
    _TEXT,
    st.binary(max_size=40).map(encoded),
    _TEXT.map(lambda t: encoded(t.encode("utf-8", "replace"))),
)
_TYPES = st.one_of(
    st.none(),
    st.sampled_from(
        ["text/plain", "text/html", "text/calendar", "image/png", "message/rfc822", "TEXT/PLAIN"]
    ),
    st.sampled_from(["multipart/mixed", "multipart/alternative", "multipart/related", "multipart/x"]),
    _TEXT,
)


def _part(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries(
        {},
        optional={
            "partId": st.sampled_from([None, "", "0", "1", "0.1"]),
            "mimeType": _TYPES,
            "filename": st.one_of(st.none(), _TEXT),
            "headers": st.one_of(st.none(), st.lists(_HEADER, max_size=6)),
            "body": st.one_of(
                st.none(),
                st.fixed_dictionaries(
                    {}, optional={"data": _DATA, "size": st.integers(0, 9), "attachmentId": _TEXT}
                ),
            ),
            "parts": st.one_of(st.none(), st.lists(children, max_size=3)),
            "partsJson": st.one_of(
                st.none(), _TEXT, st.sampled_from(["[", "{}", "[1]", '[{"mimeType":"text/plain"}]'])
            ),
        },
    )


_PAYLOAD = st.recursive(_part(st.nothing() | st.just({})), _part, max_leaves=6)

any_message: st.SearchStrategy[Row] = st.fixed_dictionaries(
    {"id": st.just("18c2a0")},
    optional={
        "threadId": st.sampled_from([None, "18c29f"]),
        "labelIds": st.one_of(
            st.none(),
            st.lists(st.sampled_from(["INBOX", "UNREAD", "CATEGORY_SOCIAL", "Label_1"]), unique=True),
        ),
        "snippet": st.one_of(st.none(), _TEXT),
        "historyId": st.one_of(st.none(), st.integers(0, 2**63 - 1).map(str)),
        "internalDate": st.one_of(st.none(), _TEXT, st.integers(-(2**60), 2**60).map(str)),
        "sizeEstimate": st.one_of(st.none(), st.integers(0, 2**31)),
        "payload": st.one_of(st.none(), _PAYLOAD),
        "raw": st.one_of(st.none(), _DATA),
    },
)
"""A message with an id and anything else missing, null or broken."""
