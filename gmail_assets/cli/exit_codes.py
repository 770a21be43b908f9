"""What the exit status of `gmail-assets` means, and which error leads to which."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from gmail_client import errors

__all__ = ["ExitCode", "exit_code_of", "worst"]


class ExitCode(IntEnum):
    """Exit status of every command."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    NO_ACCESS = 3
    WORK_LEFT = 4
    DIFFERS = 5
    INTERRUPTED = 130


def exit_code_of(error_name: str) -> ExitCode:
    """The exit status for an error of `gmail_client.errors`, by its class name (as a run's metadata keeps it)."""
    kind = getattr(errors, error_name, None)
    if not isinstance(kind, type):
        return ExitCode.FAILED
    if issubclass(kind, errors.ConfigurationError):
        return ExitCode.MISTAKE
    if issubclass(kind, errors.CredentialsError | errors.AccessError):
        return ExitCode.NO_ACCESS
    if issubclass(kind, errors.DailyLimitError):
        return ExitCode.WORK_LEFT
    return ExitCode.FAILED


_GRAVITY = [
    ExitCode.DONE,
    ExitCode.WORK_LEFT,
    ExitCode.DIFFERS,
    ExitCode.FAILED,
    ExitCode.MISTAKE,
    ExitCode.NO_ACCESS,
    ExitCode.INTERRUPTED,
]


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The one that a person has to act on first; DONE where there are none."""
    return max(codes, key=_GRAVITY.index, default=ExitCode.DONE)
