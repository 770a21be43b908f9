"""The requirements of a local Spark session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gmail_client.errors import ConfigurationError
from lakeflow_entry.pipelines.session import require_java, worker_python


def test_missing_java_is_named_with_its_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="Java was not found") as caught:
        require_java()
    assert "openjdk-17" in caught.value.fix
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="does not run"):
        require_java()


def test_workers_use_this_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    worker_python()
    assert os.environ["PYSPARK_PYTHON"] == sys.executable
