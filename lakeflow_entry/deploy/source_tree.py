"""The files of the framework's source tree apart from the packed sources: `own_files`, and `unit_tests`.

`gmail.py` has the connector class, a subclass of the framework's base; `connector_spec.yaml` describes the connection;
README.md and gmail_api_doc.md follow the framework's templates.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gmail_client.auth.endpoints import READONLY_SCOPE
from lakeflow_entry.deploy.source_docs import api_document, readme
from lakeflow_entry.table_options import SOURCE_OPTIONS

__all__ = ["UNIT_TESTS", "own_files", "unit_tests"]

UNIT_TESTS = "tests/unit/sources/gmail/test_gmail_unit.py"
"""Path of the unit tests in the framework's repository."""


def own_files(
    namespace: str, packages: Sequence[str], version: str, requirements: Sequence[str]
) -> dict[str, str]:
    """The files, by path within the source's folder.

    Args:
        namespace: The source's package.
        packages: The packages below it, such as `gmail_client.http`.
        version: Version of the source.
        requirements: Its dependencies, with bounds.
    """
    return {
        "__init__.py": _INIT.format(namespace=namespace),
        "gmail.py": _ENTRY.format(namespace=namespace),
        "README.md": readme(),
        "gmail_api_doc.md": api_document(),
        "connector_spec.yaml": _connector_spec(),
        "pyproject.toml": _pyproject(namespace, packages, version, requirements),
    }


def unit_tests(namespace: str) -> str:
    """The source's unit tests for the framework's repository."""
    return _UNIT_TESTS.format(namespace=namespace)


def _pyproject(namespace: str, packages: Sequence[str], version: str, requirements: Sequence[str]) -> str:
    requires = "".join(f'  "{requirement}",\n' for requirement in requirements)
    folders = {f".{folder}" if folder else "": folder.replace(".", "/") or "." for folder in ("", *packages)}
    mapping = "".join(f'"{namespace}{part}" = "{path}"\n' for part, path in folders.items())
    names = ", ".join(f'"{namespace}{part}"' for part in folders)
    return f"""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "lakeflow-community-connectors-gmail"
version = "{version}"
description = "Gmail source for Lakeflow community connectors."
requires-python = ">=3.11"
dependencies = [
{requires}  "lakeflow-community-connectors>=0.1.0,<1",
]

[tool.setuptools]
packages = [{names}]

[tool.setuptools.package-dir]
{mapping}
[tool.setuptools.package-data]
"*" = ["*.md", "*.yaml"]
"""


def _connector_spec() -> str:
    def parameter(name: str, description: str, *, secret: bool = False, required: bool = False) -> str:
        return (
            f"    - name: {name}\n      type: string\n      required: {str(required).lower()}\n"
            + ("      secret: true\n" if secret else "")
            + f"      description: {json.dumps(description)}\n"
        )

    parameters = (
        parameter("client_id", "Id of the OAuth client, of the type Web application.", required=True)
        + parameter("client_secret", "Secret of the OAuth client.", secret=True, required=True)
        + parameter(
            "service_account_json",
            "Key of a service account with domain-wide delegation, as JSON text; user_id is then the mailbox.",
            secret=True,
        )
        + parameter("user_id", "The mailbox: an address, or me (the default).")
        + parameter(
            "mailboxes", "With a service account: addresses, or users of the directory (domain:example.com)."
        )
        + parameter("directory_admin", "The administrator that reads the directory; user_id by default.")
        + parameter("quota", "Quota of the Cloud project: current (the default), legacy, or units a minute.")
    )
    # The flow supplies the tokens, so they are not parameters.
    return f"""display_name: Gmail
connection:
  parameters:
{parameters}  oauth:
    flow: u2m
    pkce: false
    scopes: {READONLY_SCOPE}
    authorization_url: https://accounts.google.com/o/oauth2/v2/auth
    token_url: https://oauth2.googleapis.com/token
    extra_auth_params:
      access_type: offline
      prompt: consent
external_options_allowlist: {json.dumps(",".join(SOURCE_OPTIONS))}
"""


_INIT = '''"""Gmail source for Lakeflow community connectors."""

from databricks.labs.community_connector.sparkpds import LakeflowSource

from {namespace}.gmail import GmailLakeflowConnect


class GmailDataSource(LakeflowSource):
    """Gmail as the Spark format `lakeflow_connect`, by the framework's own data source."""

    _lakeflow_connect_cls = GmailLakeflowConnect


__all__ = ["GmailDataSource", "GmailLakeflowConnect"]
'''

_ENTRY = '''"""The connector class that the framework calls."""

from databricks.labs.community_connector.interface import LakeflowConnect

from {namespace}.lakeflow_entry.connection import require_credentials
from {namespace}.lakeflow_entry.connector import (
    GmailLakeflowConnect as Connector,
)


class GmailLakeflowConnect(LakeflowConnect):
    """Gmail's ten tables, read with the credentials of a connection.

    Raises:
        ConfigurationError: No or incomplete credentials (also a ValueError).
    """

    def __init__(self, options):
        super().__init__(options)
        require_credentials(options)
        self._connector = Connector(options)

    def list_tables(self):
        return self._connector.list_tables()

    def get_table_schema(self, table_name, table_options):
        return self._connector.get_table_schema(table_name, table_options)

    def read_table_metadata(self, table_name, table_options):
        return self._connector.read_table_metadata(table_name, table_options)

    def read_table(self, table_name, start_offset, table_options):
        return self._connector.read_table(table_name, start_offset, table_options)

    def read_table_deletes(self, table_name, start_offset, table_options):
        return self._connector.read_table_deletes(table_name, start_offset, table_options)


__all__ = ["GmailLakeflowConnect"]
'''

_UNIT_TESTS = '''"""Tests of the Gmail source that need no network."""

import pickle

import pytest
from pyspark.sql.types import IntegerType

from databricks.labs.community_connector.interface import LakeflowConnect
from databricks.labs.community_connector.sparkpds import find_data_source
from {namespace} import GmailDataSource, GmailLakeflowConnect

TOKEN = {{"access_token": "simulator-access-token"}}


@pytest.fixture
def connector():
    return GmailLakeflowConnect(TOKEN)


def test_the_registry_finds_the_source(connector):
    assert find_data_source("gmail") is GmailDataSource
    assert isinstance(connector, LakeflowConnect)


def test_credentials_are_required():
    with pytest.raises(ValueError, match="(?s)access_token.*COMMUNITY"):
        GmailLakeflowConnect({{}})


def test_an_unknown_table_is_named_with_the_known_ones(connector):
    for call in (connector.get_table_schema, connector.read_table_metadata):
        with pytest.raises(ValueError, match="(?s)'mails'.*delegates"):
            call("mails", {{}})


def test_numbers_are_long(connector):
    for name in connector.list_tables():
        kinds = [type(field.dataType) for field in connector.get_table_schema(name, {{}})]
        assert kinds and IntegerType not in kinds


def test_messages_and_threads_have_deletes(connector):
    kinds = {{
        name: connector.read_table_metadata(name, {{}})["ingestion_type"]
        for name in connector.list_tables()
    }}
    assert {{name for name, kind in kinds.items() if kind != "snapshot"}} == {{"messages", "threads"}}
    assert kinds["messages"] == kinds["threads"] == "cdc_with_deletes"


def test_a_namespace_is_refused(connector):
    with pytest.raises(ValueError, match="namespace"):
        connector.read_table("labels", None, {{"namespace": '["other"]'}})


def test_a_connector_is_sent_to_executors(connector):
    assert pickle.loads(pickle.dumps(connector)).list_tables() == connector.list_tables()
'''
