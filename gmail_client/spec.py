"""The pipeline spec: which tables, with which options, destinations and keys: `Spec` and `SpecTable`.

It has the form that the Lakeflow documentation describes, and is read from YAML, JSON or a mapping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from gmail_client.content_options import ContentOptions
from gmail_client.errors import ConfigurationError
from gmail_client.options import TableOptions
from gmail_client.printable import printable, short_repr
from gmail_client.tables import CATALOGUE, table
from gmail_client.views import CONTENT_VIEWS, CONTENTS, LINKS, VIEWS

__all__ = ["TARGET_OPTIONS", "Spec", "SpecTable", "SpecView"]

TARGET_OPTIONS = ("scd_type", "primary_keys", "sequence_by", "cluster_by", "deletes")
"""Keys of a table_configuration that describe the written table, not the source."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""A name becomes a folder, an asset key and SQL. Tables of this product's own begin with an underscore."""

_TABLE_FORM = 'Give each object the form {"table": {"source_table": "labels"}}.'


class _SpecEntry(BaseModel):
    """What the tables of a spec have in common: a source, and where the table is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_table: str
    destination_catalog: str | None = None
    destination_schema: str | None = None
    destination_table: str | None = None

    def __init__(self, **values: Any) -> None:
        failure: ConfigurationError | None = None
        try:
            super().__init__(**values)
        except ValidationError as error:
            failure = _invalid(error, values, type(self))
        if failure is not None:
            raise failure

    @property
    def table_name(self) -> str:
        """Name of the written table."""
        return self.destination_table or self.source_table

    @field_validator("destination_catalog", "destination_schema", "destination_table")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError(
                "a name has letters, digits, _ and - (the first one a letter or a digit), at most 128 of them"
            )
        return name


class SpecTable(_SpecEntry):
    """One table of a pipeline spec.

    Attributes:
        source_table: One of the ten.
        destination_catalog: The table's catalog on Databricks.
        destination_schema: The table's schema on Databricks; elsewhere the last part of the key prefix.
        destination_table: Name of the written table; by default the source table's name.
        scd_type: For Spark: `SCD_TYPE_1` keeps the current row, `SCD_TYPE_2` every version, `APPEND_ONLY` only appends.
        primary_keys: Key columns, if not the catalogue's.
        sequence_by: The column that orders changes, if not the catalogue's.
        cluster_by: Columns by which Databricks clusters the written table.
        deletes: `remove` deletes rows of messages deleted in Gmail, `keep` sets their `_deletedAt` (soft delete).
        options: The table options.

    Raises:
        ConfigurationError: An unknown table, key or column, or an option that the table does not have.
    """

    scd_type: Literal["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"] = "SCD_TYPE_1"
    primary_keys: tuple[str, ...] = ()
    sequence_by: str | None = None
    cluster_by: tuple[str, ...] = ()
    deletes: Literal["remove", "keep"] = "remove"
    options: TableOptions = TableOptions()

    @field_validator("primary_keys", "cluster_by", mode="before")
    @classmethod
    def _read_columns(cls, value: object) -> object:
        return _column_names(value)

    @model_validator(mode="after")
    def _check_for_table(self) -> SpecTable:
        _check_free(self.table_name, self.source_table)
        schema = table(self.source_table).schema
        columns = schema.names
        named = [*self.primary_keys, *([self.sequence_by] if self.sequence_by else []), *self.cluster_by]
        for column in named:
            if column not in columns:
                raise ValueError(f"{self.source_table} has no column {column!r}")
        if self.sequence_by and CATALOGUE[self.source_table].cursor is None:
            raise ValueError(f"{self.source_table} is a snapshot, which has no order of changes")
        if self.sequence_by and not pa.types.is_integer(schema.field(self.sequence_by).type):
            raise ValueError(f"{self.sequence_by} is not a number, and text sorts 999 after 1000")
        object.__setattr__(self, "options", self.options.for_table(self.source_table))
        return self

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SpecTable:
        """Validate one `{"table": {...}}` entry of a spec (with or without the outer key).

        Raises:
            ConfigurationError: An invalid key or value; the message names it.
        """
        entry = value.get("table", value)
        if not isinstance(entry, Mapping):
            raise ConfigurationError(
                f"The spec's objects contain {short_repr(entry)}, which is not a table.", fix=_TABLE_FORM
            )
        entry = {str(key): item for key, item in entry.items()}
        name = entry.get("source_table")
        if not isinstance(name, str):
            raise ConfigurationError(
                f"A table of the spec has no source_table: {short_repr(sorted(entry))}.", fix=_TABLE_FORM
            )
        table(name)
        configuration = entry.pop("table_configuration", None) or {}
        if not isinstance(configuration, Mapping):
            raise ConfigurationError(
                f"The spec's table {name!r} has a table_configuration that is not a mapping: "
                f"{short_repr(configuration)}.",
                fix="Give it as options by name, such as {labelIds: INBOX}.",
            )
        configuration = {str(key): item for key, item in configuration.items()}
        for key in TARGET_OPTIONS:
            for given in [given for given in configuration if given.lower() == key]:
                entry[key] = configuration.pop(given)
        if isinstance(entry.get("scd_type"), str):
            entry["scd_type"] = entry["scd_type"].strip().upper()
        if "options" in entry:
            raise ConfigurationError(
                f"The spec's table {name!r} has the unknown key 'options'.",
                fix="Put the table's options under table_configuration.",
            )
        return cls(**entry, options=TableOptions.parse(name, configuration))


class SpecView(_SpecEntry):
    """One derived table of a pipeline spec: computed from `messages` and `labels`, or the contents of attachments.

    Attributes:
        source_table: `emails`, `message_labels`, `attachments` or `attachment_contents`.
        destination_catalog: The table's catalog on Databricks.
        destination_schema: The table's schema on Databricks; elsewhere the last part of the key prefix.
        destination_table: Name of the written table; by default the derived table's name.
        options: Which attachments `attachment_contents` stores.

    Raises:
        ConfigurationError: An unknown key.
    """

    options: ContentOptions = ContentOptions()

    @property
    def links_name(self) -> str:
        """Name of the table that maps each attachment to its row of `attachment_contents`."""
        return LINKS if self.destination_table is None else f"{self.destination_table}_links"

    @model_validator(mode="after")
    def _check_for_view(self) -> SpecView:
        if self.source_table not in (*VIEWS, CONTENTS):
            raise ValueError(f"{self.source_table} is not a derived table")
        _check_free(self.table_name, self.source_table)
        return self

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SpecView:
        """Validate one `{"table": {...}}` entry of a spec (with or without the outer key).

        Raises:
            ConfigurationError: An invalid key or value; the message names it.
        """
        entry = {str(key): item for key, item in _entry_of(value).items()}
        configuration = entry.pop("table_configuration", None)
        if "options" in entry:
            raise ConfigurationError(
                f"The spec's table {entry.get('source_table')!r} has the unknown key 'options'.",
                fix="Put the table's options under table_configuration.",
            )
        if entry.get("source_table") == CONTENTS:
            if not isinstance(configuration or {}, Mapping):
                raise ConfigurationError(
                    f"The spec's table {CONTENTS!r} has a table_configuration that is not a mapping: "
                    f"{short_repr(configuration)}.",
                    fix="Give it as options by name, such as {maxBytes: 10000000}.",
                )
            entry["options"] = ContentOptions.parse(configuration or {})
        elif configuration:
            raise ConfigurationError(
                f"The spec's table {entry.get('source_table')!r} has a table_configuration, "
                f"but a derived table has no options: {short_repr(configuration)}.",
                fix="Set options on messages: derived tables follow it.",
            )
        return cls(**entry)


def _column_names(value: object) -> object:
    """Names, given as a list, as JSON text, or separated by commas."""
    if value is None:
        return ()
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("not a list of columns") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _check_free(name: str, source: str) -> None:
    """Refuse a name that another table has of itself."""
    if name.lower() in {*CATALOGUE, *VIEWS, *CONTENT_VIEWS} - {source}:
        raise ValueError(f"{name} is the name of another table")


def _entry_of(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `{"table": {...}}` holds, or the mapping itself; empty if it is not a mapping."""
    entry = value.get("table", value)
    return entry if isinstance(entry, Mapping) else {}


def _is_view(value: Mapping[str, Any]) -> bool:
    name = _entry_of(value).get("source_table")
    return isinstance(name, str) and name in (*VIEWS, CONTENTS)


def _invalid(error: ValidationError, values: Mapping[str, Any], model: type[BaseModel]) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigurationError):
        return cause
    key = ".".join(str(part) for part in first["loc"])
    at = f"a value of {key!r}" if key else "an entry"
    return ConfigurationError(
        printable(
            f"The spec's table {short_repr(values.get('source_table'))} has {at} that is not valid: "
            f"{first['msg'].removeprefix('Value error, ')}"
            f"{f' (value {short_repr(values[key])})' if key in values else ''}."
        ),
        fix=f"Correct it; known keys: {', '.join(sorted(set(model.model_fields) - {'options'}))}, "
        "table_configuration.",
    )


class Spec(BaseModel):
    """A pipeline spec: the tables, their options, and the connection.

    Attributes:
        connection_name: Name of the Unity Catalog (or local) connection; Dagster ignores it.
        mailboxes: For Spark: the mailboxes of each table, as addresses or entries of the directory; Dagster ignores it.
        tables: The tables in the order of the spec; one may be listed again with another destination.
        views: The derived tables, each at most once; a spec that lists none has none.
        contents: `attachment_contents`, if the spec lists it.
    """

    model_config = ConfigDict(frozen=True)

    connection_name: str | None = None
    mailboxes: tuple[str, ...] = ()
    tables: tuple[SpecTable, ...]
    views: tuple[SpecView, ...] = ()
    contents: SpecView | None = None

    @classmethod
    def default(cls) -> Spec:
        """All ten tables with default options, and the derived tables, without the contents of attachments."""
        return cls(
            tables=tuple(SpecTable(source_table=name) for name in CATALOGUE),
            views=tuple(SpecView(source_table=name) for name in VIEWS),
        )

    @property
    def entries(self) -> tuple[SpecTable | SpecView, ...]:
        """The tables, then the derived tables, the contents of attachments last."""
        return (*self.tables, *self.views, *([self.contents] if self.contents else []))

    def require_each_once(self) -> None:
        """Check that no table is listed twice: in Dagster a table is one asset.

        Raises:
            ConfigurationError: One is listed again with another destination.
        """
        names = [entry.source_table for entry in self.tables]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"The spec lists the table {name!r} twice.",
                    fix="List it once; the Lakeflow source alone reads a table into several destinations.",
                )

    def table(self, name: str) -> SpecTable | None:
        """The spec's (first) entry of one of the ten tables; None if it is not listed."""
        return next((entry for entry in self.tables if entry.source_table == name), None)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Spec:
        """Validate a mapping with `connection_name`, `mailboxes` and `objects`.

        Raises:
            ConfigurationError: An invalid spec; the message names the problem.
        """
        unknown = sorted({str(key) for key in value} - {"connection_name", "mailboxes", "objects"})
        if unknown:
            raise ConfigurationError(
                f"The spec has an unknown key {short_repr(unknown[0])}.",
                fix="Use connection_name, mailboxes and objects.",
            )
        objects = value.get("objects")
        if not isinstance(objects, list) or not objects:
            raise ConfigurationError(
                f"The spec's objects is {short_repr(objects)}, not a list of tables.",
                fix='Give objects as [{"table": {"source_table": "labels"}}, ...].',
            )
        connection = value.get("connection_name")
        if connection is not None and not isinstance(connection, str):
            raise ConfigurationError(
                f"The spec's connection_name is {short_repr(connection)}, not text.",
                fix="Set it to the connection's name.",
            )
        mailboxes = _column_names(value.get("mailboxes"))
        if not isinstance(mailboxes, list | tuple) or not all(isinstance(name, str) for name in mailboxes):
            raise ConfigurationError(
                f"The spec's mailboxes is {short_repr(mailboxes)}, not a list of addresses.",
                fix='Give mailboxes as ["ada@example.com", "domain:example.com"].',
            )
        listed: list[SpecTable | SpecView] = []
        for item in objects:
            if not isinstance(item, Mapping):
                raise ConfigurationError(
                    f"The spec's objects contain {short_repr(item)}, which is not a table.", fix=_TABLE_FORM
                )
            entry = SpecView.parse(item) if _is_view(item) else SpecTable.parse(item)
            _check_destination(entry, listed)
            listed.append(entry)
        _check_sources(listed)
        return cls(
            connection_name=connection,
            mailboxes=tuple(mailboxes),
            tables=tuple(entry for entry in listed if isinstance(entry, SpecTable)),
            views=tuple(
                entry for entry in listed if isinstance(entry, SpecView) and entry.source_table in VIEWS
            ),
            contents=next((entry for entry in listed if _is_contents(entry)), None),
        )

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | None) -> Spec:
        """Read a spec from a YAML or JSON file or a mapping; None gives all ten tables with default options.

        Raises:
            ConfigurationError: The file can't be read, or the spec is invalid.
        """
        if source is None:
            return cls.default()
        if isinstance(source, Mapping):
            return cls.parse(source)
        path = Path(source)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"The spec {str(path)!r} can't be read: {printable(str(error))}.",
                fix="Set GMAIL_SPEC to a readable YAML or JSON file.",
            ) from None
        value = _parsed_yaml(text, path)
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"The spec {str(path)!r} contains {type(value).__name__}, not a mapping.",
                fix="Give it the keys connection_name and objects.",
            )
        return cls.parse(value)


def _check_destination(entry: SpecTable | SpecView, listed: Sequence[SpecTable | SpecView]) -> None:
    for other in listed:
        if _destinations(other).isdisjoint(_destinations(entry)):
            continue
        if other.source_table == entry.source_table:
            raise ConfigurationError(
                f"The spec lists the table {entry.source_table!r} twice.",
                fix="List it once, or give each its own destination_table.",
            )
        raise ConfigurationError(
            f"The spec writes {other.source_table} and {entry.source_table} to one table, {entry.table_name!r}.",
            fix="Give each its own destination_table.",
        )


def _is_contents(entry: SpecTable | SpecView) -> TypeGuard[SpecView]:
    return entry.source_table == CONTENTS


def _check_sources(listed: Sequence[SpecTable | SpecView]) -> None:
    """Check that each derived table is listed once, with exactly one of each table that it is computed from."""
    names = [entry.source_table for entry in listed]
    known = {**VIEWS, CONTENTS: CONTENT_VIEWS[CONTENTS]}
    for name in names:
        if name not in known:
            continue
        for source in known[name].sources:
            if source not in names:
                raise ConfigurationError(
                    f"The spec lists {name!r} without {source!r}, which it is computed from.",
                    fix=f"List {source} too.",
                )
        for one in (name, *known[name].sources, "labels"):
            if names.count(one) > 1:
                raise ConfigurationError(
                    f"The spec lists {one!r} twice, so it is not clear what {name!r} is computed from.",
                    fix=f"List {one} once, or leave {name} out.",
                )


def _destinations(entry: SpecTable | SpecView) -> set[tuple[str, ...]]:
    """Where a table is written, in lower case: some file systems and Spark are case-insensitive."""
    names = [entry.table_name, *([entry.links_name] if _is_contents(entry) else [])]
    return {
        tuple((part or "").lower() for part in (entry.destination_catalog, entry.destination_schema, name))
        for name in names
    }


def _parsed_yaml(text: str, path: Path) -> object:
    import yaml  # not part of the bundle for Databricks, which gets its spec as a mapping

    try:
        return yaml.safe_load(text)
    except RecursionError:
        problem = "it is nested too deeply"
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # The reader lets errors of Python's own conversions through, such as those of an impossible date.
        problem = printable(" ".join(str(error).split()))[:300]
    raise ConfigurationError(
        f"The spec {str(path)!r} is neither YAML nor JSON: {problem}.", fix="Correct the file at that line."
    )
