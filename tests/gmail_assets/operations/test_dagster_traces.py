"""What `forget` removes from a Dagster instance."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from gmail_assets.operations.dagster_traces import remove_traces


def test_the_registered_partition_is_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("gmail_mailboxes", ["ada@b.test", "ben@b.test"])
        instance.add_dynamic_partitions("other", ["ada@b.test"])
    remove_traces(["me", "ada@b.test"])
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("gmail_mailboxes") == ["ben@b.test"]
        assert instance.get_dynamic_partitions("other") == ["ada@b.test"]
