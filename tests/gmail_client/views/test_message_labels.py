"""Rows of `message_labels`."""

from __future__ import annotations

from gmail_client.views import Label, message_label_rows, to_table


def test_each_label_is_a_row_and_unknown_ones_have_no_type() -> None:
    labels = {"INBOX": Label("INBOX", "system"), "Label_1": Label("Work\n", "user")}
    rows = message_label_rows("18c2a0", ["INBOX", "Label_1", "Label_9", "INBOX"], labels)
    assert [tuple(row.values()) for row in rows] == [
        ("18c2a0", "INBOX", "INBOX", "system"),
        ("18c2a0", "Label_1", "Work", "user"),
        ("18c2a0", "Label_9", "Label_9", None),
    ]
    assert to_table("message_labels", rows).num_rows == 3
    assert message_label_rows("18c2a0", [], labels) == []
