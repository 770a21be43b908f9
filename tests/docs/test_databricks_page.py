"""docs/databricks.md agrees with the code: allow list, pipeline file, connection options."""

from __future__ import annotations

import re

import pytest
from support.pages import PAGES, ROOT

from lakeflow_entry.connection import CONNECTION_OPTIONS, Connection
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


def test_the_pipeline_of_the_page_is_the_file() -> None:
    text = (ROOT / "pipeline-spec" / "ingest.py").read_text("utf-8")
    assert f"```python\n{text}```" in PAGE, "copy pipeline-spec/ingest.py into docs/databricks.md"


@pytest.mark.parametrize("block", re.findall(r"CREATE CONNECTION.*?\);", PAGE, re.DOTALL))
def test_connections_have_known_options(block: str) -> None:
    options = dict(re.findall(r"^  (\w+) = '([^']*)'", block, re.MULTILINE))
    known = {name.lower() for name in CONNECTION_OPTIONS}
    assert {name.lower() for name in options} - known == {"sourcename", "externaloptionsallowlist"}
    if "refresh_token" in options:
        assert Connection.of(options).shows_secrets
