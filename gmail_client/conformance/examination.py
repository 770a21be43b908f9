"""Answers all questions for one mailbox: `examine`. Nothing is changed in the mailbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gmail_client.client import Mailbox
from gmail_client.conformance.evidence import Evidence
from gmail_client.conformance.probe import Finding
from gmail_client.conformance.probes import PROBES
from gmail_client.conformance.probes.writes import WRITE_PROBES
from gmail_client.conformance.reads import read_all
from gmail_client.errors import GmailError

__all__ = ["AccountKind", "Examination", "examine"]

AccountKind = Literal["consumer", "workspace", "delegated", "unknown"]

_CONSUMER_DOMAINS = ("gmail.com", "googlemail.com")


@dataclass(frozen=True)
class Examination:
    """The findings in one mailbox.

    Attributes:
        kind: `delegated` with a service account, else by the domain of the address; `unknown` if it was not read.
        findings: One for each probe.
        evidence: The responses that were read.
        units: Quota units that were spent.
        error: The error that ended the reading early, if any.
        interrupted: Whether Ctrl-C ended it early.
    """

    kind: AccountKind
    findings: Sequence[Finding]
    evidence: Evidence
    units: int
    error: GmailError | None = None
    interrupted: bool = False

    def count(self, status: str) -> int:
        """The number of findings with this status."""
        return sum(finding.status == status for finding in self.findings)


def examine(
    mailbox: Mailbox,
    progress: Callable[[str], None] = lambda name: None,
    *,
    written: Evidence | None = None,
) -> Examination:
    """Read the responses that the probes need, and evaluate the probes.

    Responses that were read before a refusal or an interruption are used.

    Args:
        mailbox: The mailbox; it is only read.
        progress: Called with the name of the next read.
        written: The responses to the writes of `seeding.py`, to ask the questions on writes too.
    """
    evidence = Evidence()
    before = mailbox.api.usage.snapshot().total_units
    error: GmailError | None = None
    interrupted = False
    try:
        error = read_all(mailbox.api.exchange(), evidence, progress)
    except KeyboardInterrupt:
        interrupted = True
    units = mailbox.api.usage.snapshot().total_units - before
    findings = [probe.ask(evidence) for probe in PROBES]
    if written is not None:
        findings += [probe.ask(written) for probe in WRITE_PROBES]
    return Examination(_kind(mailbox, evidence), tuple(findings), evidence, units, error, interrupted)


def _kind(mailbox: Mailbox, evidence: Evidence) -> AccountKind:
    if mailbox.client.credentials.kind == "service account":
        return "delegated"
    replies = evidence.replies.get("profile")
    address = str((replies[0].json or {}).get("emailAddress", "")) if replies else ""
    if not address:
        return "unknown"
    return "consumer" if address.lower().rpartition("@")[2] in _CONSUMER_DOMAINS else "workspace"
