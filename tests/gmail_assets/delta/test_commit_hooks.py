"""What deltalake does after a commit."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from gmail_assets.delta.commit_hooks import commit_hooks
from gmail_assets.delta.creation import create_table


class At(DeltaTable):
    """A table at any version."""

    number = 0

    def version(self) -> int:
        return self.number


def test_the_log_is_listed_for_cleanup_at_every_100th_commit(tmp_path: Path) -> None:
    create_table(str(tmp_path / "t"), pa.schema([("id", pa.string())]), None)
    table = At(str(tmp_path / "t"))
    cleaned = []
    for At.number in range(300):
        hooks = commit_hooks(table)
        assert hooks.create_checkpoint
        if hooks.cleanup_expired_logs:
            cleaned.append(table.number + 1)
    assert cleaned == [100, 200, 300]
