"""Payloads of raw mail: shown as Gmail does, walked, and checked against the rules that every payload keeps."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mail.snippet import SnippetStyle

__all__ = ["check_rules", "exercise", "shown", "text_of", "walk"]

STYLES = [SnippetStyle(source, cut) for source in ("html", "plain") for cut in ("word", "character")]


def shown(raw: bytes | str) -> dict[str, Any]:
    return from_raw(raw.encode() if isinstance(raw, str) else raw).payload(lambda part_id: f"id-{part_id}")


def text_of(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64decode(part["body"]["data"]).decode("utf-8")


def walk(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [part, *(inner for child in part.get("parts", ()) for inner in walk(child))]


def exercise(content: MessageContent) -> dict[str, Any]:
    """Call everything that the server uses of a content; returns the payload."""
    minted: list[str] = []

    def mint(part_id: str) -> str:
        minted.append(part_id)
        return f"id-{part_id}"

    payload = content.payload(mint)
    json.dumps(payload).encode("ascii")
    json.dumps(payload, ensure_ascii=False).encode("utf-8")
    for part_id in minted:
        assert isinstance(content.attachment(part_id), bytes)
    fields = content.search_text()
    assert isinstance(fields.anywhere + fields.mailing_list + fields.delivered_to, str)
    assert content.size == len(content.raw())
    assert content.date_ms >= 0
    assert all(reference.startswith("<") for reference in content.references)
    assert content.headers() == payload["headers"]
    assert content.mime_type == payload["mimeType"]
    assert isinstance(content.subject + content.message_id, str)
    for style in STYLES:
        assert len(re.sub(r"&(amp|lt|gt|quot|#39);", "x", content.snippet(style))) <= 200
    return payload


def check_rules(part: dict[str, Any]) -> None:
    body, kind = part["body"], part["mimeType"]
    assert kind == kind.lower()
    assert set(part) - {"parts"} == {"partId", "mimeType", "filename", "headers", "body"}
    for number, child in enumerate(part.get("parts", ())):
        assert child["partId"] == (f"{part['partId']}." if part["partId"] else "") + str(number)
    if "parts" in part and (kind.startswith("multipart/") or not part["filename"]):
        assert body == {"size": 0}
    elif "parts" in part or part["filename"] or not kind.startswith(("text/", "multipart/")):
        assert set(body) == {"attachmentId", "size"}
    elif "data" in body:
        data = base64.urlsafe_b64decode(body["data"])
        assert body["size"] - len(data) in (0, 3)
        assert len(body["data"]) % 4 == 0
        text_of(part)
    elif body["size"] == 3:
        assert body == {"size": 3}
    else:
        assert body == {"size": 0}
    if "parts" in part and kind.startswith("message/"):
        assert len(part["parts"]) == 1
    assert not (kind == "message/global" and "parts" in part)
