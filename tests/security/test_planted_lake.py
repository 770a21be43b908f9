"""A lake that somebody else put into the working directory gets no mail, whatever opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gmail_assets import LakeLocation
from gmail_assets.cli import main
from gmail_client.errors import ConfigurationError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="symbolic links")
COMMANDS = (["check"], ["sync"], ["plan"], ["status", "--offline"], ["verify"], ["vacuum"])


@pytest.fixture(params=["lake", "lake/messages"])
def evil(request: pytest.FixtureRequest, bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody else, to which the default lake leads."""
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "hush")
    monkeypatch.setenv("GMAIL_API_ROOT", "http://127.0.0.1:9")
    (bare / "evil").mkdir()
    link = bare / "work" / request.param
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(bare / "evil")
    return bare / "evil"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_commands_write_nothing_there(
    evil: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    output = capfd.readouterr()
    assert "no mail is written there" in output.out + output.err
    assert "set GMAIL_LAKE" in " ".join((output.out + output.err).split())
    assert list(evil.iterdir()) == []


def test_dagster_and_the_local_pipeline_write_nothing_there(evil: Path) -> None:
    from lakeflow_entry.pipelines.ingest import ingest

    with pytest.raises(ConfigurationError, match="no mail is written there"):
        LakeLocation().lake()
    with pytest.raises(ConfigurationError, match="no mail is written there"):
        ingest(None, {"objects": [{"source_table": "labels"}]})  # type: ignore[arg-type]
    assert list(evil.iterdir()) == []


def test_who_names_the_place_in_the_environment_or_in_code_may_link_it(
    evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LakeLocation(uri="lake").lake().uri == "lake"
    monkeypatch.setenv("GMAIL_LAKE", "lake")
    assert LakeLocation().lake().uri == "lake"
    assert list(evil.iterdir()) == []
