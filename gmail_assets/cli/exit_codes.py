"""The exit codes of `gmail-assets`, and the exit code of each error."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from gmail_client import errors

__all__ = ["MEANINGS", "ExitCode", "exit_code_of", "most_severe"]


class ExitCode(IntEnum):
    """Exit code of a command; MEANINGS explains each."""

    SUCCESS = 0
    FAILURE = 1
    INVALID_INPUT = 2
    NO_ACCESS = 3
    INCOMPLETE = 4
    DIFFERENCES = 5
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.SUCCESS: "Success: every requested table is up to date.",
    ExitCode.FAILURE: "Failure: an unexpected error, or one that may pass with a retry.",
    ExitCode.INVALID_INPUT: "Invalid arguments, settings or pipeline spec.",
    ExitCode.NO_ACCESS: "No access: credentials, scope, delegation, or the Gmail API is disabled.",
    ExitCode.INCOMPLETE: "Stopped cleanly before the end: run the command again.",
    ExitCode.DIFFERENCES: "sync, verify, conformance: differences between tables and mailbox that nothing explains.",
    ExitCode.INTERRUPTED: "Interrupted (Ctrl-C): committed data is kept, run the command again.",
}


def exit_code_of(error_name: str) -> ExitCode:
    """The exit code of an error, by its class name, which is what the metadata of a Dagster run holds."""
    kind = getattr(errors, error_name, None)
    if not isinstance(kind, type):
        return ExitCode.FAILURE
    if issubclass(kind, errors.ConfigurationError):
        return ExitCode.INVALID_INPUT
    if issubclass(kind, errors.CredentialsError | errors.AccessError):
        return ExitCode.NO_ACCESS
    if issubclass(kind, errors.DailyLimitError):
        return ExitCode.INCOMPLETE
    return ExitCode.FAILURE


_SEVERITY = [
    ExitCode.SUCCESS,
    ExitCode.INCOMPLETE,
    ExitCode.DIFFERENCES,
    ExitCode.FAILURE,
    ExitCode.INVALID_INPUT,
    ExitCode.NO_ACCESS,
    ExitCode.INTERRUPTED,
]
"""Ascending: what a person has to fix first comes last."""


def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
    """The most severe of several exit codes; SUCCESS for none."""
    return max(codes, key=_SEVERITY.index, default=ExitCode.SUCCESS)
