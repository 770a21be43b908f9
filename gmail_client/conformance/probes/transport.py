"""Questions about HTTP: compression, headers, and fields that the discovery document does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gmail_client.conformance.evidence import Evidence, number
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true, any_true
from gmail_client.emulator.api.methods import METHODS
from gmail_client.emulator.api.schemas import SCHEMAS
from gmail_client.http.exchange import Reply

__all__ = ["PROBES", "unknown_fields"]

_COMPRESSED_FROM = 2_000
"""Bytes of a body from which on a server compresses it."""


def _compressed(evidence: Evidence) -> Answer:
    large = [reply for reply in evidence.everything if reply.size >= _COMPRESSED_FROM and reply.status == 200]
    return all_true(
        (reply.headers.get("content-encoding") == "gzip" for reply in large), "no response was large enough"
    )


def _quota_headers(evidence: Evidence) -> Answer:
    evidence.something()
    names = {
        name
        for reply in evidence.everything
        for name in reply.headers
        if "quota" in name or "ratelimit" in name
    }
    detail = ", ".join(sorted(names))
    return Answer("yes" if names else "no", max(1, len(names)), detail)


def _retry_after(evidence: Evidence) -> Answer:
    refused = [reply for reply in evidence.refusals if reply.status in (403, 429, 503)]
    return any_true(
        ("retry-after" in reply.headers for reply in refused),
        "no call was refused for quota",
        yes="yes",
        no="no",
    )


def _content_type(evidence: Evidence) -> Answer:
    return all_true(
        (
            reply.headers.get("content-type", "").startswith("application/json")
            for reply in evidence.everything
        ),
        "nothing was read",
    )


def _head_is_text(evidence: Evidence) -> Answer:
    value = evidence.json("profile").get("historyId")
    return Answer("yes" if isinstance(value, str) and number(value) else "no")


def _replies(evidence: Evidence) -> Iterator[Reply]:
    yield from evidence.everything
    if evidence.batch is not None:
        yield from evidence.batch.answers.values()


def unknown_fields(reply: Reply) -> set[str]:
    """Fields of a response that its schema does not have, as `Message.newField`."""
    method = METHODS.get(reply.name.partition(" ")[0])
    if method is None or method.response is None or reply.status != 200:
        return set()
    return set(_unknown(method.response, reply.json))


def _unknown(schema: str, value: Any) -> Iterator[str]:
    fields = SCHEMAS.get(schema)
    if fields is None or not isinstance(value, dict):
        return
    for key, inner in value.items():
        kind = fields.get(key)
        if kind is None:
            yield f"{schema}.{key}"
            continue
        for item in inner if isinstance(inner, list) else [inner]:
            yield from _unknown(kind.removesuffix("[]"), item)


def _fields(evidence: Evidence) -> Answer:
    evidence.something()
    found = {name for reply in _replies(evidence) for name in unknown_fields(reply)}
    return Answer("new fields" if found else "none", max(1, len(found)), ", ".join(sorted(found)[:10]))


PROBES: tuple[Probe, ...] = (
    Probe(
        "transport.gzip",
        "Are responses compressed if the client asks for it?",
        "yes",
        _compressed,
        "None for the tables: a load transfers several times as many bytes.",
    ),
    Probe(
        "transport.quota_headers",
        "Do responses have headers about the quota?",
        "no",
        _quota_headers,
        "None yet: gmail-assets could read the remaining quota. Please report the names that are shown here.",
        basis="captured",
    ),
    Probe(
        "transport.retry_after",
        "Do refusals have a Retry-After header?",
        "no",
        _retry_after,
        "None: Retry-After is obeyed.",
        basis="captured",
    ),
    Probe(
        "transport.json",
        "Is every response application/json?",
        "yes",
        _content_type,
        "Another server or a proxy answers: check GMAIL_API_ROOT.",
    ),
    Probe(
        "transport.history_id",
        "Is the historyId of the profile a number as a string?",
        "yes",
        _head_is_text,
        "None: a number is converted to text.",
    ),
    Probe(
        "transport.fields",
        "Which fields of responses are missing in Google's discovery document?",
        "none",
        _fields,
        "None: the column unknownFields keeps them. Please report their names.",
    ),
)
"""The probes of this subject."""
