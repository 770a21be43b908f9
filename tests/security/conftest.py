"""An environment without settings of this product, and a server that must not get any request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.trap import Trap


@pytest.fixture
def trap() -> Iterator[Trap]:
    with Trap() as listening:
        yield listening


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and configuration folder, no GMAIL_ variables, no proxy."""
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    for name in os.environ:
        if name.startswith("GMAIL_") or name == "DAGSTER_HOME" or name.lower() in proxies:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path
