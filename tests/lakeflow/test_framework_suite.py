"""The public tests of Lakeflow's framework on the source tree that `gmail-assets bundle --tree` writes.

This repository contains none of its code: LAKEFLOW_REPOSITORY is the path of a clone of
databrickslabs/lakeflow-community-connectors (scripts/lakeflow-repository). The tests copy it, let the tree replace
its Gmail source, and run its tests: against its own simulator, against the simulator with the answers of our emulator's
richest mailbox, and against the emulator itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.lakeflow import options_of
from support.messages import FRAMEWORK, fragments, texts
from support.rich_mailbox import enrich

from gmail_client.emulator import Emulator
from gmail_client.tables import CATALOGUE
from lakeflow_entry.deploy.bundle import NAMESPACE, write_tree
from lakeflow_entry.deploy.source_tree import UNIT_TESTS

CLONE = os.environ.get("LAKEFLOW_REPOSITORY", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CLONE, reason="set LAKEFLOW_REPOSITORY to the folder that scripts/lakeflow-repository prints"
    ),
]

_PACKAGE = "src/databricks/labs/community_connector"
_SOURCE = f"{_PACKAGE}/sources/gmail"
_GMAIL = "tests/unit/sources/gmail"
_SUITE = f"{_GMAIL}/test_gmail_lakeflow_connect.py"

_MAX_RESULTS_IS_NO_LIMIT = (
    "test_read_messages_with_limit",
    "test_threads_with_max_results",
)
"""They expect that one read has at most `maxResults` rows. That is the size of a page here, as in Gmail's API."""

_INTERNALS = (
    "test_unit_initialization_with_valid_options",
    "test_unit_invalid_table_raises_error",
)
"""They expect attributes of the published connector's class, and the wording of its error."""

_STAND_IN = """
import sys, types

class GmailApiClient:
    def make_request(self, method, path, **arguments): ...

module = types.ModuleType("{namespace}.gmail_utils")
module.GmailApiClient = GmailApiClient
sys.modules[module.__name__] = module
import {namespace}
{namespace}.gmail_utils = module
"""
"""A plugin of pytest: the published tests replace a method of a module that our tree does not have."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the framework's repository with our source."""
    copy = tmp_path_factory.mktemp("framework") / "clone"
    shutil.copytree(CLONE, copy, ignore=shutil.ignore_patterns(".git"))
    shutil.copy(copy / UNIT_TESTS, copy / _GMAIL / "published_unit_tests.py")
    write_tree(copy)
    return copy


def run(clone: Path, *arguments: str, **environment: str) -> str:
    """Run tests of the copy; returns pytest's output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": f"src{os.pathsep}.", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return done.stdout


def passed(output: str) -> int:
    return int(re.findall(r"(\d+) passed", output)[-1])


def test_the_tree_leaves_nothing_of_the_published_source(clone: Path, tmp_path: Path) -> None:
    tree = write_tree(tmp_path)
    names = {path.relative_to(tree) for path in tree.rglob("*")}
    found = {path.relative_to(clone / _SOURCE) for path in (clone / _SOURCE).rglob("*")}
    assert {name for name in found if "__pycache__" not in name.parts} == names
    published = Path(CLONE) / _SOURCE
    for path in published.rglob("*"):
        name = path.relative_to(published)
        if path.is_file() and name in names:
            assert (tree / name).read_bytes() != path.read_bytes(), name


def test_the_framework_and_the_registry_accept_the_source(clone: Path) -> None:
    output = run(
        clone,
        "tests/unit/sparkpds_registry_test.py",
        "tests/unit/sparkpds_ingestion_agent_test.py",
        "tests/unit/test_sparkpds_virtual_tables.py",
        UNIT_TESTS,
        "tests/unit/libs",
        "tests/unit/pipeline",  # last: it replaces pyspark by mocks
    )
    assert passed(output) > 300


def test_the_shared_suite_passes(clone: Path) -> None:
    assert passed(run(clone, _SUITE)) >= 15


def test_the_published_unit_tests_pass_apart_from_internals(clone: Path) -> None:
    (clone / "stand_in.py").write_text(_STAND_IN.format(namespace=NAMESPACE))
    deselected = " and ".join(f"not {name}" for name in _INTERNALS)
    output = run(clone, "-p", "stand_in", "-k", deselected, f"{_GMAIL}/published_unit_tests.py")
    assert passed(output) == 4


def test_the_shared_suite_passes_with_every_column_of_the_richest_mailbox(clone: Path) -> None:
    corpus = clone / _PACKAGE / "source_simulator" / "specs" / "gmail" / "corpus"
    before = {path: path.read_bytes() for path in corpus.iterdir()}
    with Emulator(messages=30, seed=3, mean_json_kb=3.0) as gmail:
        enrich(gmail)
        documents = _corpus(gmail)
    suite = (clone / _SUITE).read_text("utf-8")
    allowed = 'allow_empty_first_read = frozenset({"messages", "threads"})'
    assert allowed in suite
    try:
        for name, document in documents.items():
            assert (corpus / f"{name}.json").exists()
            (corpus / f"{name}.json").write_text(json.dumps(document))
        (clone / _SUITE).write_text(suite.replace(allowed, "allow_empty_first_read = frozenset()"))
        assert passed(run(clone, _SUITE)) >= 15
    finally:
        (clone / _SUITE).write_text(suite)
        for path, content in before.items():
            path.write_bytes(content)


def _corpus(gmail: Emulator) -> dict[str, Any]:
    """Documents of the simulator, which gives one answer for each kind of request: a row for each table."""
    raw = {message["id"]: message.get("raw") for message in gmail.truth("messages", format="raw")}
    draft = next(row for row in gmail.truth("drafts") if row["message"].get("classificationLabelValues"))
    message = next(row for row in gmail.truth("messages") if row.get("classificationLabelValues"))
    # A response has either raw or payload; the simulator has one document for all formats.
    message = {**message, "raw": raw[message["id"]]}
    ids = {"id": message["id"], "threadId": message["threadId"]}
    settings = gmail.truth("settings")[0]
    parts = {
        "auto_forwarding": "autoForwarding",
        "imap_settings": "imap",
        "pop_settings": "pop",
        "language_settings": "language",
        "vacation_settings": "vacation",
    }
    label = next(row for row in gmail.truth("labels") if row.get("color"))
    return {
        "profile": gmail.truth("profile")[0],
        "empty_messages": {"messages": [ids]},
        "empty_threads": {
            "threads": [{"id": ids["threadId"], "snippet": "x", "historyId": message["historyId"]}]
        },
        "message_detail": message,
        "thread_detail": {
            "id": ids["threadId"],
            "historyId": message["historyId"],
            "messages": [message],
        },
        "labels_list": {"labels": [label, {**label, "id": "INBOX", "name": "INBOX", "type": "system"}]},
        "label_detail": {**label, "id": "INBOX"},
        "empty_drafts": {"drafts": [{"id": draft["id"], "message": {"id": draft["message"]["id"]}}]},
        "draft_detail": draft,
        "empty_filters": {"filter": gmail.truth("filters")},
        "empty_forwarding": {"forwardingAddresses": gmail.truth("forwarding_addresses")},
        "empty_send_as": {"sendAs": gmail.truth("send_as")},
        "empty_delegates": {"delegates": gmail.truth("delegates")},
        **{name: settings[part] for name, part in parts.items()},
    }


def test_the_shared_suite_passes_on_the_emulator(clone: Path) -> None:
    """The framework's live mode, which also records what it sees: with batches, pages and ten tables of rows."""
    deselected = " and ".join(f"not {name}" for name in _MAX_RESULTS_IS_NO_LIMIT)
    with Emulator(messages=60, seed=3, mean_json_kb=3.0) as gmail:
        enrich(gmail)
        output = run(
            clone,
            "-k",
            deselected,
            _SUITE,
            CONNECTOR_TEST_MODE="live",
            CONNECTOR_TEST_CONFIG_JSON=json.dumps(options_of(gmail)),
        )
        assert gmail.usage.calls["messages.get"] + gmail.usage.calls["threads.get"] > 60
    assert passed(output) >= 12
    recorded = (clone / _GMAIL / "cassettes" / "TestGmailConnector.json").read_text("utf-8")
    for part in ("/settings/filters", "/messages", "/threads", "/history"):
        assert part in recorded


_CHECK_SPEC = """
import json, sys, yaml
from databricks.labs.community_connector_cli.connector_spec import parse_connector_spec, validate_connection_options

parsed = parse_connector_spec(yaml.safe_load(open(sys.argv[1])))
complete = validate_connection_options("gmail", {"client_id": "a", "client_secret": "b", "user_id": "me"}, parsed)
lacking = validate_connection_options("gmail", {"client_id": "a"}, parsed)
print(json.dumps([sorted(parsed.required_params), parsed.oauth_defaults, parsed.external_options_allowlist,
                  complete.errors, lacking.errors]))
"""


def test_the_command_line_of_the_framework_reads_the_connector_spec(clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHECK_SPEC, clone / _SOURCE / "connector_spec.yaml"],
        env={**os.environ, "PYTHONPATH": str(clone / "tools/community_connector/src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    required, oauth, allowed, complete, lacking = json.loads(done.stdout)
    assert required == ["client_id", "client_secret"]
    assert oauth["flow"] == "u2m"
    assert oauth["scopes"].endswith("gmail.readonly")
    assert set(allowed.split(",")) == {name for entry in CATALOGUE.values() for name in entry.options}
    assert complete == []
    assert "client_secret" in lacking[0]


def test_the_messages_of_the_framework_that_the_page_quotes_exist(clone: Path) -> None:
    roots = (
        clone / _PACKAGE / "libs",
        clone / _PACKAGE / "sparkpds",
        clone / "tools/community_connector/src",
    )
    known = list(texts(path for root in roots for path in root.rglob("*.py")))
    for message in FRAMEWORK:
        for part in fragments(re.sub("'(gmail|namespace)'", "'…'", message)):
            assert any(part in text for text in known), message


_TEMPLATE = """
import json, sys, types
import pyspark
from pyspark.sql import SparkSession

declared, views = [], {}
stand_in = types.ModuleType("pyspark.pipelines")  # open-source Spark lacks half of these functions

def view(name):
    return lambda function: views.setdefault(name, function)

stand_in.view = view
for kind in ("create_streaming_table", "apply_changes", "apply_changes_from_snapshot"):
    setattr(stand_in, kind, lambda kind=kind, **given: declared.append((kind, given)))
stand_in.append_flow = lambda name, target: lambda function: function
sys.modules["pyspark.pipelines"] = pyspark.pipelines = stand_in
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
         .config("spark.python.authenticate.socketTimeout", "120s").getOrCreate())
spark.sparkContext.setLogLevel("OFF")

from databricks.labs.community_connector.pipeline import ingest
from databricks.labs.community_connector import register

register(spark, "gmail")
ingest(spark, {
    "connection_name": "gmail_connector",
    "objects": [
        {"table": {"source_table": "messages", "destination_table": "mail", "table_configuration": {
            "labelIds": "INBOX", "cluster_by": ["threadId"], "primary_keys": ["id"], "scd_type": "SCD_TYPE_2"}}},
        {"table": {"source_table": "labels"}},
    ],
})
tables = [given for kind, given in declared if kind == "create_streaming_table"]
flows = [(kind, given["keys"], given["stored_as_scd_type"], "apply_as_deletes" in given)
         for kind, given in declared if kind != "create_streaming_table"]
frames = {name: view() for name, view in views.items()}
print("DECLARED " + json.dumps([tables, flows, {
    name: "stream" if frame.isStreaming else frame.count() for name, frame in frames.items()}]))
"""


@pytest.mark.spark
def test_the_template_of_the_framework_declares_our_tables(clone: Path, tmp_path: Path) -> None:
    with Emulator(messages=20, seed=3, mean_json_kb=3.0) as gmail:
        connections = tmp_path / "connections.json"
        connections.write_text(json.dumps({"gmail_connector": options_of(gmail)}))
        done = subprocess.run(
            [sys.executable, "-c", _TEMPLATE],
            cwd=clone,
            env={
                **os.environ,
                "PYTHONPATH": "src",
                "PYSPARK_PYTHON": sys.executable,
                "GMAIL_CONNECTIONS_FILE": str(connections),
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        tables, flows, views = json.loads(done.stdout.rpartition("DECLARED ")[2])
        labels = len(gmail.truth("labels"))
    assert tables == [{"name": "mail", "cluster_by": ["threadId"]}, {"name": "labels"}]
    assert flows == [
        ["apply_changes", ["id"], "2", False],
        ["apply_changes", ["id"], "2", True],
        ["apply_changes_from_snapshot", ["id"], "1", False],
    ]
    assert views == {
        "source_messages_upsert": "stream",
        "source_messages_delete": "stream",
        "source_labels_snapshot": labels,
    }
