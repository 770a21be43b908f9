"""A missing component is never a silent pass."""

from __future__ import annotations

import pytest
from support.components import require
from support.pages import ROOT


def test_a_missing_component_skips_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_COMPONENTS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Postgres is not installed"):
        require("Postgres is not installed")
    require("")


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_COMPONENTS", "1")
    with pytest.raises(AssertionError, match="Postgres is not installed"):
        require("Postgres is not installed")
    text = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "export REQUIRE_COMPONENTS=1" in text
    assert "postgresql" in text
