"""Request bodies: JSON, `raw`, and media uploads (simple, multipart)."""

from __future__ import annotations

import base64
import binascii
import json
from email.message import Message
from typing import Any, NamedTuple

from gmail_client.emulator.api.errors import bad_argument, bad_body
from gmail_client.emulator.api.schemas import check
from gmail_client.emulator.http.calls import MethodCall

__all__ = ["SubmittedMail", "json_body", "mail_body", "split_multipart"]

_RAW_MISSING = "'raw' RFC822 payload message string or uploading message via /upload/* URL required"


class SubmittedMail(NamedTuple):
    """A submitted message: its bytes (None when the request has none) and the JSON around it."""

    raw: bytes | None
    message: dict[str, Any]
    draft_id: str

    def required(self) -> bytes:
        """The bytes.

        Raises:
            ApiError: 400 when the request has none.
        """
        if self.raw is None:
            raise bad_argument(_RAW_MISSING)
        return self.raw


def json_body(call: MethodCall) -> dict[str, Any]:
    """The JSON body, validated against the method's schema; {} when it is empty or the method has none.

    Raises:
        ApiError: 400.
    """
    if call.method.request is None or not call.request.body:
        return {}
    return _parsed(call.request.body, call.method.request)


def _parsed(text: bytes, schema: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        raise bad_body("Invalid JSON payload received. Unexpected token.") from None
    return check(schema, value)


def mail_body(call: MethodCall) -> SubmittedMail:
    """The message of an insert, import, send or draft method, from JSON or from a media upload.

    Raises:
        ApiError: 400 for malformed JSON, base64 or multipart.
    """
    schema = call.method.request or "Message"
    if not call.upload:
        return _of_json(_parsed(call.request.body, schema), None)
    content_type = call.request.headers.get("content-type", "")
    if call.query.get("uploadType") == "multipart" or content_type.startswith("multipart/related"):
        parts = split_multipart(call.request.body, content_type)
        if len(parts) != 2:
            raise bad_argument(f"Multipart upload needs two parts, metadata and media, not {len(parts)}")
        return _of_json(_parsed(parts[0], schema), parts[1])
    return _of_json({}, call.request.body)


def _of_json(body: dict[str, Any], media: bytes | None) -> SubmittedMail:
    is_draft = "message" in body or ("id" in body and "raw" not in body and "threadId" not in body)
    message = body.get("message", {}) if is_draft else body
    raw = media
    if raw is None and message.get("raw"):
        raw = _decoded(message["raw"])
    return SubmittedMail(raw, message, body.get("id", "") if is_draft else "")


def _decoded(text: str) -> bytes:
    plain = text.replace("+", "-").replace("/", "_").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise bad_body("Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed", "raw") from None


def split_multipart(body: bytes, content_type: str) -> list[bytes]:
    """The contents of the parts of a multipart upload.

    Raises:
        ApiError: 400 without a boundary or without parts.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise bad_argument("Multipart upload without boundary")
    delimiter = b"--" + boundary.encode()
    newline = b"\r\n" if delimiter + b"\r\n" in body else b"\n"
    chunks = (newline + body).split(newline + delimiter)
    parts = []
    for chunk in chunks[1:]:
        if chunk.startswith(b"--"):
            break
        head, separator, content = chunk[len(newline) :].partition(newline * 2)
        if not separator:
            raise bad_argument("Multipart upload with a part that has no body")
        if b"base64" in head.lower():
            content = base64.b64decode(content)
        parts.append(content)
    return parts
