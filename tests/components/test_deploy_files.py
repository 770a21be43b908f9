"""The files in `deploy/` are consistent with each other, this package and docs/dagster.md; tested without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import ROOT, blocks

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "gmail-assets"]


def test_references_in_compose_resolve() -> None:
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        for dependency, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert not healthy or "healthcheck" in SERVICES[dependency], (name, dependency)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith("./"), (name, volume)
            in_repository = source.startswith("./") and not source.startswith("./secrets")
            assert not in_repository or (DEPLOY / source).exists(), (name, volume)


def test_env_example_has_all_compose_variables() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    example = (DEPLOY / "env.example").read_text("utf-8")
    assert used == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_only_the_proxy_has_a_port_and_only_the_code_server_has_gmail_credentials() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert [name for name, service in SERVICES.items() if "secrets" in service] == ["code"]
    ways_out = {name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")}
    assert [name for name, service in SERVICES.items() if ways_out & set(service["networks"])] == [
        "proxy",
        "code",
    ]
    named = {
        name for name, service in SERVICES.items() for key in service.get("environment", {}) if "GMAIL" in key
    }
    assert named == {"code"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_commands_and_health_checks_exist(name: str) -> None:
    for command in (SERVICES[name]["command"], SERVICES[name]["healthcheck"]["test"][1:]):
        program, *arguments = command
        if program == "python":
            continue
        found = shutil.which(program, path=str(Path(sys.executable).parent))
        assert found, program
        options = [word for word in arguments if word.startswith("-")]
        words = [
            word for word in arguments if re.fullmatch(r"api|grpc|run|liveness-check|grpc-health-check", word)
        ]
        shown = subprocess.run([found, *words, "--help"], capture_output=True, text=True, check=True).stdout
        assert all(re.search(rf"(?m)^ *(?:{option},|{option} )", shown) for option in options), (
            command,
            shown,
        )


def test_workspace_points_to_the_code_server() -> None:
    (entry,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text("utf-8"))["load_from"]
    server = entry["grpc_server"]
    assert server["host"] in SERVICES
    command = SERVICES[server["host"]]["command"]
    assert command[command.index("-p") + 1] == str(server["port"])
    assert command[command.index("-m") + 1] == "gmail_assets.definitions"


def test_dagster_settings_differ_from_the_repository_only_in_storage_and_logs() -> None:
    production = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))
    local = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))
    assert set(production) - set(local) == {"storage", "compute_logs"}
    assert production["run_monitoring"].pop("poll_interval_seconds") == 60
    assert {key: production[key] for key in local} == local
    variables = {
        value["env"]
        for value in production["storage"]["postgres"]["postgres_db"].values()
        if isinstance(value, dict)
    }
    for name in OURS:
        assert variables <= set(SERVICES[name]["environment"]), name


def test_proxy_configuration_equals_the_documented_one() -> None:
    (documented,) = (text for language, text in blocks(ROOT / "docs" / "dagster.md") if language == "nginx")
    for before, after in (
        ("/etc/nginx/dagster.", "/etc/nginx/dagster/dagster."),
        ("http://127.0.0.1:3000", "http://webserver:3000"),
    ):
        documented = documented.replace(before, after)
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    assert text.partition("\n")[2].strip() == documented.strip()


def test_build_context_contains_only_the_copied_files() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = [
        source for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    rules = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] not in ("#", "")
    ]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied)
    assert any(fnmatch("gmail_client/.env", rule) for rule in rules[1:] if not rule.startswith("!"))
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] not in ("root", "0")
    (version,) = re.findall(r"^FROM python:([\d.]+)-slim$", text, re.MULTILINE)
    assert version in ("3.11", "3.12", "3.13")


@pytest.mark.parametrize("name", ["compose.yaml", "dagster.yaml", "workspace.yaml"])
def test_files_are_plain_yaml(name: str) -> None:
    assert json.dumps(yaml.safe_load((DEPLOY / name).read_text("utf-8")))
