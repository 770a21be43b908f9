"""Which rows a run has written: noted up to a number, then unknown for good."""

from __future__ import annotations

import pytest

from gmail_assets.delta import row_changes
from gmail_assets.delta.row_changes import RowChanges


def test_too_many_rows_are_unknown_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_changes, "_MOST_KEYS", 3)
    changes = RowChanges(1, 1)
    changes.add(["a", "b"])
    changes.add(["b", "c"])
    assert changes.keys == {"a", "b", "c"}
    changes.add(["d"])
    changes.add(["e"])
    assert changes.keys is None


def test_lost_rows_stay_unknown() -> None:
    changes = RowChanges(1, 1)
    changes.set_unknown()
    changes.add(["a"])
    assert changes.keys is None
