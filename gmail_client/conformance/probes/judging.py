"""Small functions that many probes share: from what was counted to an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gmail_client.conformance.evidence import CannotTell, Evidence
from gmail_client.conformance.probe import Answer
from gmail_client.conformance.vocabulary import known_reason

__all__ = ["all_true", "any_true", "first_of", "refusal"]


def all_true(checks: Iterable[bool], nothing: str, *, yes: str = "yes", no: str = "no") -> Answer:
    """`yes` if all checks hold, `no` if one does not.

    Raises:
        CannotTell: There is nothing to check; `nothing` says what is missing.
    """
    results = list(checks)
    if not results:
        raise CannotTell(nothing)
    failed = results.count(False)
    return Answer(no, failed) if failed else Answer(yes, len(results))


def any_true(
    checks: Iterable[bool], nothing: str, *, least: int = 1, yes: str = "true", no: str = "false"
) -> Answer:
    """`yes` if one check holds, `no` if none of at least `least` does.

    Raises:
        CannotTell: None holds, and there are too few to say that none ever does.
    """
    results = list(checks)
    if any(results):
        return Answer(yes, results.count(True))
    if len(results) < least:
        raise CannotTell(nothing)
    return Answer(no, len(results))


def first_of(answers: Sequence[str], nothing: str) -> Answer:
    """The only answer that was seen, or `mixed`.

    Raises:
        CannotTell: None was seen.
    """
    if not answers:
        raise CannotTell(nothing)
    return Answer(answers[0] if len(set(answers)) == 1 else "mixed", len(answers))


def refusal(evidence: Evidence, name: str) -> Answer:
    """The status of a response and Gmail's reason: `404 notFound`, or `200`."""
    reply = evidence.reply(name)
    reason = known_reason(reply.error.reason) if reply.error is not None else ""
    return Answer(f"{reply.status} {reason}" if reason else str(reply.status))
