"""Rows of `message_labels` from messages and labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gmail_client.views.emails import Labels, label_name

__all__ = ["message_label_rows"]


def message_label_rows(message_id: str, label_ids: Iterable[str], labels: Labels) -> list[dict[str, Any]]:
    """One row for each label on a message."""
    return [
        {
            "message_id": message_id,
            "label_id": label_id,
            "label_name": label_name(label_id, labels),
            "label_type": labels[label_id].type if label_id in labels else None,
        }
        for label_id in dict.fromkeys(label_ids)
    ]
