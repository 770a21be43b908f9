"""`GmailComponent` in a project's defs folder, and in a fresh project of the `dg` tool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from support.lake import assert_lake_equals_mailbox

from gmail_assets import GmailAccess, GmailComponent, LakeLocation
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.usefixtures("clean_environment"),
    # Warnings about Dagster's code.
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]


@contextmanager
def loaded(attributes: dict[str, Any], **files: str) -> Iterator[tuple[GmailComponent, dg.Definitions]]:
    """The component of a `defs.yaml` with these attributes, next to these files."""
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=GmailComponent,
            defs_yaml_contents={"type": "gmail_assets.GmailComponent", "attributes": attributes},
        )
        for name, text in files.items():
            (folder / name.replace("_yaml", ".yaml")).write_text(text, "utf-8")
        with sandbox.load_component_and_build_defs(folder) as (component, definitions):
            assert isinstance(component, GmailComponent)
            yield component, definitions


def specs_of(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_without_attributes_it_loads_all_tables():
    with loaded({}) as (_, definitions):
        dg.Definitions.validate_loadable(definitions)
        assert specs_of(definitions).keys() == {f"gmail/{name}" for name in ("account", *CATALOGUE, *VIEWS)}


def test_the_scaffolded_file_is_valid_and_has_the_given_values():
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=GmailComponent,
            scaffold_params={"key_prefix": "raw/gmail", "lake": "s3://bucket/lake"},
        )
        written = yaml.safe_load((folder / "defs.yaml").read_text("utf-8"))
        assert written["attributes"] == {"key_prefix": ["raw", "gmail"], "lake": {"uri": "s3://bucket/lake"}}
        with sandbox.load_component_and_build_defs(folder) as (component, definitions):
            assert isinstance(component, GmailComponent)
            assert component.lake is not None
            assert component.lake.lake().uri == "s3://bucket/lake"
            assert "raw/gmail/messages" in specs_of(definitions)


def test_translation_changes_keys_groups_owners_and_references():
    translation = {
        "key": "warehouse/{{ table }}",
        "group_name": "mail",
        "owners": ["team:data"],
        "tags": {"domain": "mail"},
    }
    with loaded({"translation": translation}) as (_, definitions):
        dg.Definitions.validate_loadable(definitions)
        specs = specs_of(definitions)
        assert specs.keys() == {f"warehouse/{name}" for name in ("account", *CATALOGUE, *VIEWS)}
        for spec in specs.values():
            assert spec.group_name == "mail"
            assert spec.owners == ["team:data"]
            assert spec.tags["domain"] == "mail"
            assert "gmail" in spec.kinds
        emails = {dependency.asset_key.to_user_string() for dependency in specs["warehouse/emails"].deps}
        assert emails == {"warehouse/messages", "warehouse/labels"}
        graph = definitions.resolve_asset_graph()
        assert {key.asset_key.path[0] for key in graph.asset_check_keys} == {"warehouse"}
        job = definitions.resolve_job_def("gmail_sync")
        assert {key.path[-1] for key in job.asset_layer.selected_asset_keys} == {
            "messages",
            "threads",
            *VIEWS,
        }


@pytest.mark.parametrize("inline", [True, False])
def test_a_pipeline_spec_selects_the_tables(inline: bool):
    objects = [{"table": {"source_table": "labels"}}, {"table": {"source_table": "profile"}}]
    text = yaml.safe_dump({"objects": objects})
    attributes: dict[str, Any] = {"objects": objects} if inline else {"spec_file": "spec.yaml"}
    with loaded(attributes, spec_yaml=text) as (_, definitions):
        assert specs_of(definitions).keys() == {"gmail/account", "gmail/labels", "gmail/profile"}


def test_objects_and_a_file_exclude_each_other():
    objects = [{"table": {"source_table": "labels"}}]
    with (
        pytest.raises(Exception, match="Error while building") as caught,
        loaded({"objects": objects, "spec_file": "spec.yaml"}),
    ):
        pass
    chain: list[BaseException] = [caught.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    assert isinstance(chain[-1], ConfigurationError)
    assert "both objects and spec_file" in str(chain[-1])


def test_every_attribute_has_a_description():
    schema = GmailComponent.get_model_cls().model_json_schema()
    attributes = dict(schema["properties"])
    for model in ("_AccessModel", "_LakeModel"):
        attributes |= schema["$defs"][model]["properties"]
    assert len(attributes) > 20
    assert [name for name, value in attributes.items() if not value.get("description")] == []


def test_every_field_of_the_resources_is_an_attribute():
    schema = GmailComponent.get_model_cls().model_json_schema()
    for model, plain in (("_AccessModel", GmailAccess), ("_LakeModel", LakeLocation)):
        assert set(schema["$defs"][model]["properties"]) == {field.name for field in fields(plain)}


def test_credentials_from_the_environment_load_a_mailbox_and_are_not_shown(
    mailbox_server: Emulator, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
):
    given = mailbox_server.environment()
    monkeypatch.setenv("THEIR_SECRET", given["GMAIL_CLIENT_SECRET"])
    monkeypatch.setenv("THEIR_TOKEN", given["GMAIL_REFRESH_TOKEN"])
    address = mailbox_server.addresses[0]
    attributes = {
        "mailboxes": [address],
        "access": {
            "client_id": given["GMAIL_CLIENT_ID"],
            "client_secret": "{{ env.THEIR_SECRET }}",
            "refresh_token": "{{ env.THEIR_TOKEN }}",
            "api_root": mailbox_server.url,
            "oauth_root": mailbox_server.url,
            "quota": 1200000,
        },
        "lake": {"uri": str(clean_environment / "lake")},
    }
    with loaded(attributes) as (component, definitions), dg.DagsterInstance.ephemeral() as instance:
        shown = repr(component) + str(definitions.resources)
        assert given["GMAIL_CLIENT_SECRET"] not in shown
        assert given["GMAIL_REFRESH_TOKEN"] not in shown
        job = definitions.resolve_job_def("gmail_sync")
        assert job.execute_in_process(partition_key=address, instance=instance).success
    tables = [entry for entry in Spec.default().tables if entry.source_table in ("messages", "threads")]
    assert_lake_equals_mailbox(Lake(str(clean_environment / "lake")), mailbox_server, tables, address)


def dg_tool(project: Path, *arguments: str) -> str:
    """Run the `dg` tool in a project, with this package registered as pyproject.toml says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GMAIL_")}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(project / "registered"), str(project / "src")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(project),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    tool = Path(sys.executable).parent / "dg"
    done = subprocess.run(
        [str(tool), *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The output of `create-dagster project`, with the entry points of this package as in an installation."""
    folder = tmp_path / "mail-project"
    package = folder / "src" / "mail_project"
    for name in (package, package / "defs", package / "components"):
        name.mkdir(parents=True)
        (name / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "from pathlib import Path\n\nfrom dagster import definitions, load_from_defs_folder\n\n\n"
        "@definitions\ndef defs():\n    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n",
        "utf-8",
    )
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "mail-project"\nversion = "0.1.0"\n\n[tool.dg]\ndirectory_type = "project"\n\n'
        '[tool.dg.project]\nroot_module = "mail_project"\nregistry_modules = ["mail_project.components.*"]\n',
        "utf-8",
    )
    metadata = folder / "registered" / "gmail_assets_here-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gmail-assets-here\nVersion: 0\n", "utf-8"
    )
    points = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return folder


def test_dg_scaffolds_the_registered_component(project: Path):
    dg_tool(project, "scaffold", "defs", "gmail_assets.GmailComponent", "gmail", "--key-prefix", "raw/gmail")
    written = yaml.safe_load((project / "src/mail_project/defs/gmail/defs.yaml").read_text("utf-8"))
    assert written == {"type": "gmail_assets.GmailComponent", "attributes": {"key_prefix": ["raw", "gmail"]}}


@pytest.mark.slow
def test_a_fresh_project_lists_checks_and_loads_it(project: Path):
    assert "gmail_assets.GmailComponent" in dg_tool(project, "list", "components")
    dg_tool(project, "scaffold", "defs", "gmail_assets.GmailComponent", "gmail")
    dg_tool(project, "check", "yaml")
    dg_tool(project, "check", "defs")
    listed = json.loads(dg_tool(project, "list", "defs", "--json"))
    assert {asset["asset_key"] for asset in listed["assets"]} == {
        f"gmail/{name}" for name in ("account", *CATALOGUE, *VIEWS)
    }
    assert "gmail_sync" in {job["name"] for job in listed["jobs"]}


@pytest.mark.slow
def test_this_repository_is_a_dg_project():
    assert "All definitions loaded successfully" in dg_tool(ROOT, "check", "defs")
