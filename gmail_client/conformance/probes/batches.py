"""Questions about the batch endpoint."""

from __future__ import annotations

import re

from gmail_client.conformance.evidence import CannotTell, Evidence
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true
from gmail_client.http.exchange import BatchReply

__all__ = ["PROBES"]

_OURS = re.compile(r"<response-part-(\d+)>")


def _batch(evidence: Evidence) -> BatchReply:
    if evidence.batch is None:
        raise CannotTell(evidence.problems.get("batch", "no batch was read"))
    if not evidence.batch.parts:
        raise CannotTell(f"the batch has no parts (HTTP {evidence.batch.status})")
    return evidence.batch


def _status(evidence: Evidence) -> Answer:
    if evidence.batch is None:
        raise CannotTell(evidence.problems.get("batch", "no batch was read"))
    return Answer(str(evidence.batch.status))


def _content_ids(evidence: Evidence) -> Answer:
    parts = _batch(evidence).parts
    return all_true((_OURS.fullmatch(part.content_id) is not None for part in parts), "no batch was read")


def _order(evidence: Evidence) -> Answer:
    numbers = [
        int(found[1]) for part in _batch(evidence).parts if (found := _OURS.fullmatch(part.content_id))
    ]
    if len(numbers) < 2:
        raise CannotTell("the parts of the batch have no known Content-ID")
    return Answer("as sent" if numbers == sorted(numbers) else "any", len(numbers))


def _complete(evidence: Evidence) -> Answer:
    batch = _batch(evidence)
    return Answer("yes" if len(batch.parts) == len(batch.answers) else "no", len(batch.answers))


def _own_status(evidence: Evidence) -> Answer:
    statuses = {part.status for part in _batch(evidence).parts}
    if not statuses - {200}:
        raise CannotTell("no part of the batch was refused")
    return Answer("yes" if 200 in statuses else "no", len(statuses))


def _refused(evidence: Evidence) -> Answer:
    """Whether the server refused some parts because too many were in flight."""
    refused = [part for part in _batch(evidence).parts if part.status == 429]
    return Answer("yes" if refused else "no", len(refused) or len(_batch(evidence).parts))


def _multipart(evidence: Evidence) -> Answer:
    kind = _batch(evidence).headers.get("content-type", "").lower()
    return Answer("yes" if kind.startswith("multipart/mixed") and "boundary=" in kind else "no")


PROBES: tuple[Probe, ...] = (
    Probe(
        "batches.status",
        "Is the status of a batch with refused parts 200?",
        "200",
        _status,
        "Messages are fetched one by one instead of in batches: a load needs more requests, and no more units.",
    ),
    Probe(
        "batches.multipart",
        "Is the response multipart/mixed with a boundary that the server chose?",
        "yes",
        _multipart,
        "Batches can't be read; messages are fetched one by one.",
    ),
    Probe(
        "batches.content_ids",
        "Is the Content-ID of a part `<response-...>` followed by the id of its request?",
        "yes",
        _content_ids,
        "Batches can't be read; messages are fetched one by one.",
    ),
    Probe(
        "batches.order",
        "In which order are the parts returned?",
        "any",
        _order,
        "None: parts are matched by their Content-ID, in any order.",
        basis="assumed",
    ),
    Probe(
        "batches.complete",
        "Does the response have a part for every call?",
        "yes",
        _complete,
        "None: missing parts are requested again, at their full price.",
    ),
    Probe(
        "batches.own_status",
        "Does every part have its own status?",
        "yes",
        _own_status,
        "A refused message is not recognized in a batch. Please report it.",
    ),
    Probe(
        "batches.refused",
        "Are parts of a batch of about 15 calls refused as too many concurrent requests?",
        "no",
        _refused,
        "None: the batch size is reduced automatically, and a load takes longer.",
        basis="captured",
    ),
)
"""The probes of this subject."""
