"""docs/databricks.md agrees with the code: allow list, pipeline file, connection options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pyspark
import pytest
from support.messages import FRAMEWORK, fragments, quoted, texts
from support.pages import PAGES, ROOT

from gmail_client.emulator import Emulator
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connection import CONNECTION_OPTIONS, Connection
from lakeflow_entry.deploy.source_docs import OPTIONS, options_table
from lakeflow_entry.table_options import ALLOW_LIST

PAGE = (ROOT / "docs" / "databricks.md").read_text("utf-8")
LISTS = [
    (page.name, found)
    for page in PAGES
    for found in re.findall(
        r"externalOptionsAllowList[`\"']?\s*[=:]\s*[\"']([^\"']+)", page.read_text("utf-8")
    )
]


def test_every_allow_list_equals_the_catalogue() -> None:
    assert len(LISTS) >= 2
    for page, found in LISTS:
        assert found == ALLOW_LIST, page


def test_a_pipeline_does_not_choose_the_mailboxes_of_a_connection_by_default() -> None:
    names = {name.lower() for name in ALLOW_LIST.split(",")}
    assert names.isdisjoint(name.lower() for name in CONNECTION_OPTIONS)


def test_the_pipeline_of_the_page_is_the_file() -> None:
    text = (ROOT / "pipeline-spec" / "ingest.py").read_text("utf-8")
    assert f"```python\n{text}```" in PAGE, "copy pipeline-spec/ingest.py into docs/databricks.md"


@pytest.mark.slow
def test_the_script_for_local_spark_loads_recent_mail_and_resumes(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(import os\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "own.py").write_text(script, "utf-8")
    with Emulator(messages=5, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        environment = {**os.environ, **gmail.environment(), "PYTHONPATH": str(ROOT)}
        for recent in (1, 2):
            mailbox.receive(mailbox.random_mail())
            done = subprocess.run(
                [sys.executable, "own.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert f"messages: {recent} rows in lake/messages" in done.stdout
            assert f"emails: {recent} rows in lake/emails" in done.stdout


@pytest.mark.parametrize("block", re.findall(r"CREATE CONNECTION.*?\);", PAGE, re.DOTALL))
def test_connections_have_known_options(block: str) -> None:
    options = dict(re.findall(r"^  (\w+) = '([^']*)'", block, re.MULTILINE))
    known = {name.lower() for name in CONNECTION_OPTIONS}
    assert {name.lower() for name in options} - known == {"sourcename", "externaloptionsallowlist"}
    if "refresh_token" in options:
        assert Connection.of(options).shows_secrets


_GOOGLE = (
    "Error 400: redirect_uri_mismatch",
    "Error 401: invalid_client",
    "Error 403: access_denied",
    "Error 403: org_internal",
    "invalid_grant",
    "unauthorized_client",
    "insufficientPermissions",
    "accessNotConfigured",
    "domainPolicy",
    "rateLimitExceeded",
    "401",
    "403",
    "404",
    "429",
)
_SPARK = ("Python worker failed to connect back", "Python worker exited unexpectedly")


def test_every_quoted_message_exists() -> None:
    """In the code, in Spark, or (see tests/lakeflow) in the framework."""
    ours = list(
        texts(path for name in ("gmail_client", "lakeflow_entry") for path in (ROOT / name).rglob("*.py"))
    )
    conditions = _conditions_of_spark()
    found = quoted(PAGE)
    assert len(found) > 60
    for message in found:
        if message in (*_GOOGLE, *_SPARK, *FRAMEWORK, "lakeflow_connect", "build") or message in conditions:
            continue
        for part in fragments(message):
            assert any(part in text for text in ours), (message, part)
    assert set(FRAMEWORK) <= set(found)


def _conditions_of_spark() -> set[str]:
    package = Path(pyspark.__file__).parent
    jar = next((package / "jars").glob("spark-common-utils_*.jar"))
    with zipfile.ZipFile(jar) as archive:
        member = next(name for name in archive.namelist() if name.endswith("error-conditions.json"))
        names = set(json.loads(archive.read(member)))
    return names | set(json.loads((package / "errors" / "error-conditions.json").read_text("utf-8")))


def test_the_tables_of_the_page_are_the_catalogue() -> None:
    for entry in CATALOGUE.values():
        cursor = f"`{entry.cursor}`" if entry.cursor else ""
        row = f"| `{entry.name}` | {entry.description} | `{entry.ingestion_type}` | `{entry.primary_key[0]}` | {cursor}"
        assert row.strip() in PAGE


def test_every_table_option_is_described() -> None:
    assert OPTIONS.keys() == {name for entry in CATALOGUE.values() for name in entry.options}
    assert options_table() in PAGE, "copy the output of lakeflow_entry.deploy.source_docs.options_table"
