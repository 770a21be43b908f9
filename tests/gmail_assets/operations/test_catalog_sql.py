"""The SQL that registers a lake in Unity Catalog: every table, column and mailbox, with quoted text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.views import ADA, BEN, Tables, message

from gmail_assets.operations.catalog_sql import _labels, catalog_sql
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec
from gmail_client.views import VIEWS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    tables = Tables(tmp_path)
    tables.add(message("a", "INBOX", attachments=1))
    tables.add(message("b", "INBOX"), address=BEN)
    tables.derive()
    tables.derive(BEN)
    return tables


def test_tables_columns_and_mailboxes_are_registered(tables: Tables) -> None:
    sql = catalog_sql(tables.lake, Spec.default(), "main.gmail")
    assert sql.startswith("CREATE SCHEMA IF NOT EXISTS `main`.`gmail`;\n")
    created = re.findall(
        r"^CREATE TABLE IF NOT EXISTS `main`\.`gmail`\.`(\w+)` USING DELTA LOCATION '(.+)';$", sql, re.M
    )
    assert dict(created) == {name: tables.lake.location(name) for name in ("messages", *VIEWS)}
    for name, view in VIEWS.items():
        for column in ("mailbox", *view.schema.names):
            assert f"ALTER TABLE `main`.`gmail`.`{name}` ALTER COLUMN `{column}` COMMENT '" in sql, (
                name,
                column,
            )
    for address, label in ((ADA, "ada_example_test"), (BEN, "ben_example_test")):
        assert (
            f"CREATE OR REPLACE VIEW `main`.`gmail`.`emails_{label}` AS SELECT * FROM `main`.`gmail`.`emails` "
            f"WHERE `mailbox` = '{address}';\n"
        ) in sql


def test_a_lake_without_tables_and_a_bad_schema_are_refused(tmp_path: Path, tables: Tables) -> None:
    for schema in ("gmail", "a.b.c", "main.`x`", "main.", "main.gm ail"):
        with pytest.raises(ConfigurationError, match="catalog and a schema"):
            catalog_sql(tables.lake, Spec.default(), schema)
    with pytest.raises(ConfigurationError, match="no tables"):
        catalog_sql(Tables(tmp_path / "empty").lake, Spec.default(), "main.gmail")


def test_addresses_give_names_of_their_own() -> None:
    labels = _labels(["a.b@x.test", "a_b@x.test", "c@x.test"])
    assert len(set(labels.values())) == 3
    assert labels["c@x.test"] == "c_x_test"
    assert all(re.fullmatch(r"\w+", label) for label in labels.values())


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.filterwarnings("default")
def test_spark_parses_every_statement(spark: SparkSession, tables: Tables) -> None:
    session = spark.newSession()
    parser = session._jsparkSession.sessionState().sqlParser()  # type: ignore[attr-defined]
    for statement in catalog_sql(tables.lake, Spec.default(), "main.gmail").split(";\n"):
        if statement:
            parser.parsePlan(statement)
