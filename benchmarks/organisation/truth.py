"""Compares messages and threads of many mailboxes with the emulator: `differences`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable

from benchmarks.comparison.measure import count_mistakes, typed_rows
from gmail_client.emulator import EmulatorProcess

__all__ = ["differences"]


def differences(lake: Path, gmail: EmulatorProcess, mailboxes: Sequence[str]) -> dict[str, int]:
    """The number of missing, wrong and surplus rows by mailbox; a mailbox without any is left out."""
    found: dict[str, int] = {}
    for name in ("messages", "threads"):
        table = DeltaTable(str(lake / name)) if DeltaTable.is_deltatable(str(lake / name)) else None
        for mailbox in mailboxes:
            stored = []
            if table is not None:
                stored = table.to_pyarrow_table(filters=[("mailbox", "=", mailbox)]).to_pylist()
            count = sum(count_mistakes(stored, typed_rows(name, gmail.truth(name, mailbox))))
            if count:
                found[mailbox] = found.get(mailbox, 0) + count
    return found
