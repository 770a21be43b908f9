"""The questions, by subject: `PROBES` has them all."""

from __future__ import annotations

from gmail_client.conformance.probe import Probe
from gmail_client.conformance.probes import (
    batches,
    errors,
    history,
    labels,
    listings,
    messages,
    snippets,
    threads,
    transport,
)

__all__ = ["PROBES"]

PROBES: tuple[Probe, ...] = (
    *history.PROBES,
    *threads.PROBES,
    *listings.PROBES,
    *messages.PROBES,
    *snippets.PROBES,
    *labels.PROBES,
    *batches.PROBES,
    *errors.PROBES,
    *transport.PROBES,
)
"""All probes, in the order of the report."""
