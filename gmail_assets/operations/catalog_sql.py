"""SQL that registers the lake's tables in Unity Catalog: `catalog_sql`.

The tables are registered as external tables, because delta-rs writes them, and it can't write tables that the catalog
manages. Each column gets its description, and each mailbox a view of each table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from deltalake import DeltaTable

from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec
from gmail_client.sql import spark_identifier, spark_literal
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENT_VIEWS, LINKS, VIEWS

__all__ = ["catalog_sql"]

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_LONGEST = 80
"""Characters of an address in a view's name."""


def catalog_sql(lake: Lake, spec: Spec, schema: str) -> str:
    """The statements, to be run once, and again when a table or a mailbox is new.

    Args:
        lake: Where the tables are.
        spec: Which tables; those that are not there yet are left out.
        schema: Catalog and schema, `main.gmail`.

    Raises:
        ConfigurationError: The schema is not of this form, or no table is there.
        LakeError: A table can't be read.
    """
    parts = schema.split(".")
    if len(parts) != 2 or not all(map(_PART.fullmatch, parts)):
        raise ConfigurationError(
            f"The schema {schema!r:.200} is not a catalog and a schema.", fix="Give both, such as main.gmail."
        )
    target = spark_identifier(*parts)
    statements = [f"CREATE SCHEMA IF NOT EXISTS {target}"]
    described = {name: table.description for name, table in CATALOGUE.items()}
    described |= {name: view.description for name, view in {**VIEWS, **CONTENT_VIEWS}.items()}
    tables = {entry.table_name: described[entry.source_table] for entry in spec.entries}
    if spec.contents is not None:
        tables[spec.contents.links_name] = described[LINKS]
    for name, description in tables.items():
        delta = lake.find(name)
        if delta is None:
            continue
        table = f"{target}.{spark_identifier(name)}"
        location = lake.location(name)
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {table} USING DELTA LOCATION {spark_literal(location)}"
        )
        statements.append(f"COMMENT ON TABLE {table} IS {spark_literal(description)}")
        statements += _column_comments(table, delta)
        statements += _mailbox_views(target, name, delta)
    if len(statements) == 1:
        raise ConfigurationError("The lake has no tables to register.", fix="Run `gmail-assets sync` first.")
    return "".join(f"{statement};\n" for statement in statements)


def _column_comments(table: str, delta: DeltaTable) -> Iterator[str]:
    for field in delta.schema().fields:
        comment = field.metadata.get("comment")
        if comment:
            column = spark_identifier(field.name)
            yield f"ALTER TABLE {table} ALTER COLUMN {column} COMMENT {spark_literal(str(comment))}"


def _mailbox_views(target: str, table_name: str, delta: DeltaTable) -> Iterator[str]:
    addresses = sorted({str(partition[MAILBOX]) for partition in delta.partitions()})
    for address, label in _labels(addresses).items():
        table, view = (f"{target}.{spark_identifier(name)}" for name in (table_name, f"{table_name}_{label}"))
        rows = f"{table} WHERE {spark_identifier(MAILBOX)} = {spark_literal(address)}"
        yield f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {rows}"  # noqa: S608 - quoted


def _labels(addresses: list[str]) -> Mapping[str, str]:
    """A part of a name for each address, unique among them."""
    labels = {address: re.sub(r"\W+", "_", address, flags=re.ASCII)[:_LONGEST] for address in addresses}
    taken = [label.lower() for label in labels.values()]
    return {
        address: label
        if taken.count(label.lower()) == 1
        else f"{label}_{hashlib.sha256(address.encode()).hexdigest()[:8]}"
        for address, label in labels.items()
    }
