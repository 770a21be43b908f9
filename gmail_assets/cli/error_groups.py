"""Errors of several mailboxes, grouped, so that an error that all of them have is printed once: `grouped_errors`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["grouped_errors"]

_FIX = "\nFix: "


def grouped_errors(errors: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The errors as text: one line for all mailboxes with the same error, and each fix once, after its errors.

    Args:
        errors: Name of the mailbox and text of its error: what happened, and the fix on a second line.
    """
    by_fix: dict[str, dict[str, list[str]]] = {}
    for name, text in errors:
        what, _, fix = text.partition(_FIX)
        names = by_fix.setdefault(fix, {}).setdefault(what, [])
        if name not in names:
            names.append(name)
    for fix, found in by_fix.items():
        lines = "\n".join(f"{', '.join(names)}: {what}" for what, names in found.items())
        yield f"{lines}{_FIX}{fix}" if fix else lines
