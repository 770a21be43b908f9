"""The instance in DAGSTER_HOME is opened without notices, and created with telemetry switched off."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gmail_assets.operations.dagster_instance import dagster_instance
from gmail_client.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def test_without_the_variable_there_is_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with dagster_instance() as instance:
        assert instance is None


def test_an_empty_folder_becomes_an_instance_without_telemetry(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with dagster_instance() as instance:
            assert instance is not None
            assert not instance.telemetry_enabled
    assert (home / "dagster.yaml").exists()
    assert capfd.readouterr().err == ""


def test_the_configuration_of_an_instance_is_left_alone(home: Path) -> None:
    (home / "dagster.yaml").write_text("telemetry: {enabled: true}\n", "utf-8")
    with dagster_instance() as instance:
        assert instance is not None
        assert instance.telemetry_enabled
    assert (home / "dagster.yaml").read_text("utf-8") == "telemetry: {enabled: true}\n"


def test_an_instance_with_default_settings_stays_one_and_is_opened_without_a_notice(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "history").mkdir()
    with caplog.at_level(logging.WARNING, logger="dagster"), dagster_instance() as instance:
        assert instance is not None
        assert instance.telemetry_enabled
    assert not (home / "dagster.yaml").exists()
    assert caplog.messages == []


@pytest.mark.parametrize("value", ["/nowhere/at/all", "relative"])
def test_a_wrong_value_is_an_error_with_a_fix(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", value)
    with pytest.raises(ConfigurationError, match="DAGSTER_HOME") as error, dagster_instance():
        pass
    assert "absolute path" in error.value.fix
