"""Spark's failures as errors of one line: `readable_failures`, `PipelineError`.

Spark wraps an error of a Python worker into its own, with the stack traces of two languages. One of ours is raised
again with its text; otherwise a `PipelineError` names the cause. Spark's log has the stack traces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from gmail_client.errors import GmailError
from gmail_client.http.error_mapping import redact
from lakeflow_entry.report import error_of

__all__ = ["PipelineError", "readable_failures"]


class PipelineError(GmailError):
    """Spark itself failed: its workers did not start, or one was lost."""


_OURS = re.compile(r"\b(?:gmail_client|lakeflow_entry)(?:\.\w+)+\.(\w+Error): (.+)(?:\n\s*Fix: (.+))?")
_LOST = re.compile(
    r"Python worker failed to connect back|Timed out while waiting for the Python worker|Python worker exited "
    r"unexpectedly|SocketTimeoutException|Cannot run program|Stream closed"
)
_RAISED = re.compile(r"^(?:: |Caused by: )?([\w.$]*(?:Error|Exception)\b.*)", re.MULTILINE)


@contextmanager
def readable_failures(doing: str) -> Iterator[None]:
    """Raise one-line errors instead of Spark's.

    Args:
        doing: What Spark does in the block, such as `reading labels`.

    Raises:
        GmailError: The error that a worker raised, with its text; a class that is not known becomes the base class.
        PipelineError: Spark failed otherwise.
    """
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        found = _failure(str(error), doing)
        raise found from None


def _failure(text: str, doing: str) -> GmailError:
    ours = _OURS.findall(text)
    if ours:
        kind, what, fix = ours[-1]
        return error_of({"kind": kind, "what": redact(what.strip()), "fix": redact(fix.strip())})
    if lost := _LOST.search(text):
        return PipelineError(
            f"Spark's Python workers did not start or were lost while {doing} ({lost[0]}).",
            fix="Run it again: it resumes. If it fails again, set PYSPARK_PYTHON to an interpreter that has these "
            "packages, give Spark more memory or the machine less other work, and raise "
            "spark.python.authenticate.socketTimeout (default 15s).",
        )
    raised = _RAISED.findall(text.partition("Traceback (most recent call last)")[2] or text)
    cause = (raised or text.strip().splitlines() or ["no message"])[0]
    return PipelineError(
        f"Spark failed while {doing}: {redact(cause)[:500]}",
        fix="See Spark's own log, and the section on Databricks in docs/troubleshooting.md.",
    )
