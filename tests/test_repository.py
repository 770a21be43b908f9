"""The repository: locks, Makefile, settings of Dagster, license."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")


def locked(name: str, python: str) -> dict[str, Version]:
    """The locked version of each package, on Linux with this Python."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    pins = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line.partition(" --hash")[0])
            environment = {
                "python_version": python,
                "python_full_version": f"{python}.1",
                "sys_platform": "linux",
            }
            if requirement.marker is None or requirement.marker.evaluate(environment):
                (pin,) = requirement.specifier
                pins[canonicalize_name(requirement.name)] = Version(pin.version)
    return pins


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ()),
        ("requirements-dev.lock", ("spark", "dev")),
        ("deploy/requirements.lock", ("postgres",)),
    ],
)
def test_the_lock_has_every_dependency(lock: str, extras: tuple[str, ...], python: str):
    pins = locked(lock, python)
    asked = [
        *PROJECT["dependencies"],
        *(r for extra in extras for r in PROJECT["optional-dependencies"][extra]),
    ]
    for text in asked:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), f"{text}: run `make lock`"
    assert "setuptools" in pins


def test_every_dependency_has_an_upper_bound():
    asked = [
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
    ]
    open_ended = [
        text
        for text in asked
        if not any(one.operator in ("<", "<=", "==") for one in Requirement(text).specifier)
    ]
    assert open_ended == []


def script(name: str):
    """A script of the repository as a module, imported without writing bytecode."""
    spec = spec_from_loader(name, SourceFileLoader(name, str(ROOT / "scripts" / name)))
    assert spec is not None
    module = module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        SourceFileLoader(name, str(ROOT / "scripts" / name)).exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


AUDIT = script("audit")
CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [([CLEAN], 0), ([CLEAN, BAD], 1), ([CLEAN, SKIPPED], 1), ([SKIPPED], 3), ([], 3), ([BAD, SKIPPED], 1)],
)
def test_an_audit_that_could_not_look_up_fails(packages, code: int, capsys):
    assert AUDIT.verdict("x.lock", packages) == code
    said = capsys.readouterr().out
    assert ("PYSEC-1, fixed in 2" in said) == (BAD in packages)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_development_lock_holds_the_runtime_lock(python: str):
    development = locked("requirements-dev.lock", python).items()
    assert locked("requirements.lock", python).items() <= development
    assert locked("deploy/requirements.lock", python).items() <= development


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "deploy/requirements.lock"])
def test_every_pin_has_a_hash_and_no_index_is_named(lock: str):
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    assert "index" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in entry, entry


def test_every_target_of_the_makefile_has_a_line_of_help():
    text = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.search(r"\.PHONY: (.*)", text)[1].split()) - {"runtime", "dev"}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == named
    assert all(len(line.split()) > 3 for line in shown.splitlines())


def test_an_unsupported_python_is_a_clear_error(tmp_path: Path):
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.20 && exit 0\nexit 1\n')
    old.chmod(0o755)
    copy = tmp_path / "scripts"
    copy.mkdir()
    (copy / "install").write_text((ROOT / "scripts" / "install").read_text("utf-8"))
    done = subprocess.run(
        ["sh", str(copy / "install"), "runtime"],
        env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "3.11, 3.12 or 3.13" in done.stderr
    assert "Python 3.8.20" in done.stderr
    assert "Fix: " in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_dagster_settings_are_complete():
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    assert settings["run_monitoring"]["enabled"] is True
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] == 30
    assert settings["telemetry"]["enabled"] is False
    # A limit on a tag would apply to all jobs of the instance, including unrelated ones.
    assert settings["concurrency"] == {"pools": {"granularity": "run", "default_limit": 8}}


def test_a_sync_stops_by_itself_before_dagster_ends_it():
    from gmail_assets.assets import SyncConfig

    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    budget = SyncConfig.model_fields["time_budget_minutes"].default * 60
    assert budget + 900 <= settings["run_monitoring"]["max_runtime_seconds"]


def test_dagster_accepts_the_settings(tmp_path: Path, monkeypatch):
    import dagster as dg

    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text("utf-8"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_enabled is True


def test_the_licence_is_apache():
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text("utf-8")
