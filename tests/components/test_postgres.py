"""Dagster's storage in Postgres, as described in docs/dagster.md and docs/deployment.md."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml
from support.pages import ROOT, blocks
from support.postgres import Postgres


def documented_storage() -> str:
    found = [
        text
        for language, text in blocks(ROOT / "docs" / "dagster.md")
        if language == "yaml" and text.startswith("storage:")
    ]
    assert len(found) == 1
    return found[0]


def test_the_documented_settings_store_runs_in_postgres(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    settings = yaml.safe_load(documented_storage())
    settings["storage"]["postgres"]["postgres_db"]["port"] = database.port
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**settings, "telemetry": {"enabled": False}}))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    @dg.asset
    def something() -> None: ...

    with dg.DagsterInstance.get() as instance:
        result = dg.materialize([something], instance=instance)
        instance.add_dynamic_partitions("mailboxes", ["ada@gmail.test"])
    assert result.success
    assert database.query("select run_id from runs") == [result.run_id]
    assert database.query("select partition from dynamic_partitions") == ["ada@gmail.test"]
    assert not list(tmp_path.glob("**/*.db"))
