"""Ids of Gmail's system labels that decide whether a message is visible."""

from __future__ import annotations

__all__ = ["HIDDEN_LABELS", "SPAM", "TRASH"]

SPAM = "SPAM"
TRASH = "TRASH"

HIDDEN_LABELS = frozenset({SPAM, TRASH})
"""Messages with one of these labels are listed only with `includeSpamTrash`."""
