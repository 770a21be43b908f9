"""`gmail-assets vacuum`: how long old versions and soft-deleted rows are kept."""

from __future__ import annotations

from pathlib import Path

from support.traces import files_naming

from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator

SPEC = """
connection_name: gmail
objects:
  - table: {source_table: messages, table_configuration: {deletes: keep}}
"""


def test_deleted_mail_leaves_after_both_retentions(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "spec.yaml").write_text(SPEC, "utf-8")
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert run("sync", "messages", "--quiet").code == 0
    message_id = gmail.truth("messages")[0]["id"]
    gmail.mailbox().delete(message_id)
    assert run("sync", "messages", "--quiet").code == 0
    lake = Lake(str(place / "lake"))

    def stored() -> int:
        return lake.table("messages").count()

    before = stored()
    (kept,) = run("vacuum", "--keep-deleted-days", "1", "--json").json["tables"]
    assert kept == {"table": "messages", "rows": 0, "files": 0}
    (kept,) = run("vacuum", "--json").json["tables"]
    assert kept == {"table": "messages", "rows": 0, "files": 0}
    assert stored() == before

    (deleted,) = run("vacuum", "--keep-deleted-days", "0", "--json").json["tables"]
    assert deleted == {"table": "messages", "rows": 1, "files": 0}
    assert stored() == before - 1
    assert any(name.endswith(".parquet") for name in files_naming(place / "lake" / "messages", message_id))
    result = run("vacuum", "--keep-versions-days", "0")
    assert "messages: deleted 0 rows, removed" in result.out
    assert not any("_delta_log" not in name for name in files_naming(place / "lake" / "messages", message_id))
    assert run("sync", "messages", "--quiet").code == 0
    assert run("verify", "--quiet").code == 0


def test_a_missing_lake_has_nothing_to_remove(run, place: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("vacuum", "--json").json["tables"] == []
    assert not (place / "lake").exists()
