"""Questions about error responses."""

from __future__ import annotations

from gmail_client.conformance.evidence import CannotTell, Evidence, Resource, items
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true, refusal
from gmail_client.http.exchange import Reply

__all__ = ["PROBES"]

_ENTRY = {"message", "domain", "reason"}


def _errors(evidence: Evidence) -> list[Resource]:
    replies: list[Reply] = [*evidence.everything, *(evidence.batch.parts if evidence.batch else ())]
    found = [reply.json or {} for reply in replies if reply.status >= 400]
    if not found:
        raise CannotTell("no call was refused")
    return [error if isinstance(error := body.get("error"), dict) else {} for body in found]


def _body(evidence: Evidence) -> Answer:
    return all_true(
        ({"code", "message", "status"} <= error.keys() for error in _errors(evidence)), "no call was refused"
    )


def _list(evidence: Evidence) -> Answer:
    return all_true(
        (
            bool(items(error, "errors")) and items(error, "errors")[0].keys() >= _ENTRY
            for error in _errors(evidence)
        ),
        "no call was refused",
    )


def _json(evidence: Evidence) -> Answer:
    replies = [*evidence.everything, *(evidence.batch.parts if evidence.batch else ())]
    return all_true(
        (reply.json is not None for reply in replies if reply.status >= 400), "no call was refused"
    )


PROBES: tuple[Probe, ...] = (
    Probe(
        "errors.absent_message",
        "What is the response to the id of a message that does not exist?",
        "404 notFound",
        lambda evidence: refusal(evidence, "absent id"),
        "A message that is deleted during a sync counts as refused instead of as deleted. Please report it.",
    ),
    Probe(
        "errors.malformed_message",
        "What is the response to a message id that is not a hexadecimal number?",
        "400 invalidArgument",
        lambda evidence: refusal(evidence, "malformed id"),
        "None: gmail-assets requests only ids that Gmail listed.",
        basis="captured",
    ),
    Probe(
        "errors.body",
        "Do errors have code, message and status?",
        "yes",
        _body,
        "Some errors are reported without their reason.",
    ),
    Probe(
        "errors.list",
        "Do errors have a list `errors` with message, domain and reason?",
        "yes",
        _list,
        "Some errors are reported without their reason.",
        basis="captured",
    ),
    Probe(
        "errors.json",
        "Are errors JSON?",
        "yes",
        _json,
        "Errors in another form count as an outage and are retried.",
    ),
)
"""The probes of this subject."""
