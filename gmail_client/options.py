"""Table options and the pipeline spec, validated: `TableOptions` and `Spec`.

`TableOptions.parse` reads a mapping as a connection, a spec or Spark passes it (values may be strings, names in any
case). `Spec` is the pipeline spec of the Lakeflow documentation, read from YAML, JSON or a mapping: which tables, with
which options, destinations and keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.tables import CATALOGUE, Table, table

__all__ = ["DEFAULT_PAGE_SIZE", "MessageFormat", "Spec", "SpecTable", "TableOptions"]

MessageFormat = Literal["full", "metadata", "minimal", "raw"]

DEFAULT_PAGE_SIZE = 500
"""Ids per listed page when `maxResults` is not set; a page costs the same at any size."""

_SEARCHES_HIDDEN = re.compile(r"""(?<![\w-])(?:in|label|is):["']?(?:spam|trash|anywhere)\b""", re.IGNORECASE)
"""A search that includes spam or trash (rather than excluding it)."""

_FIXES = {
    "q": "Use a Gmail search such as `newer_than:7d`.",
    "labelIds": "Use label ids such as `INBOX`, comma-separated or as a list.",
    "maxResults": "Use a whole number from 1 to 500.",
    "includeSpamTrash": "Use `true` or `false`.",
    "format": "Use `full`, `metadata`, `minimal` or `raw`.",
    "max_records_per_batch": "Use a whole number, 1 or more.",
    "skip_refused": "Use `true` or `false`.",
}


class TableOptions(BaseModel):
    """The options of one table. Immutable and hashable.

    Attributes:
        q: Gmail search; only matching messages are read.
        label_ids: Label ids; a message must have all of them.
        max_results: Ids per listed page, 1 to 500; None for the cheapest, 500.
        include_spam_trash: Whether the table includes spam and trash; `parse` sets it when `q` or `labelIds` ask for
            them.
        format: Format of the messages.
        max_records_per_batch: Maximum rows of a stream's micro-batch; None for the stream's default.
        skip_refused: Whether Spark skips messages that Gmail refuses, instead of failing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    q: str | None = None
    label_ids: tuple[str, ...] = Field(default=(), alias="labelIds")
    max_results: int | None = Field(default=None, alias="maxResults", ge=1, le=500)
    include_spam_trash: bool = Field(default=False, alias="includeSpamTrash")
    format: MessageFormat = "full"
    max_records_per_batch: int | None = Field(default=None, ge=1)
    skip_refused: bool = False

    def __init__(self, **values: Any) -> None:
        failure: OptionError | None = None
        try:
            super().__init__(**values)
        except (ValidationError, json.JSONDecodeError) as error:
            failure = _invalid(error, values, "")
        if failure is not None:
            raise failure

    @field_validator("q", mode="before")
    @classmethod
    def _blank_query_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("label_ids", mode="before")
    @classmethod
    def _split_labels(cls, value: object) -> object:
        if value is None:
            return ()
        if isinstance(value, str):
            value = value.strip()
            if value.startswith("["):
                value = json.loads(value)
            else:
                return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        return tuple(dict.fromkeys(value)) if isinstance(value, Iterable) else value

    @field_validator("max_results", "max_records_per_batch", mode="before")
    @classmethod
    def _no_flags_for_numbers(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("not a number")
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @classmethod
    def parse(cls, table_name: str, options: Mapping[str, Any] | None = None) -> TableOptions:
        """Validate the options of one table.

        Args:
            table_name: One of the ten.
            options: Values by name; names in any case, values may be strings, None means not set.

        Raises:
            UnknownTableError: Not one of the ten tables.
            OptionError: An option that this table does not have, or an invalid value.
        """
        entry = table(table_name)
        names = {name.lower(): name for name in entry.options}
        values: dict[str, Any] = {}
        for given, value in (options or {}).items():
            name = names.get(str(given).lower())
            if name is None:
                raise _not_an_option(entry, given, value)
            if name in values:
                raise OptionError(
                    f"Option {name!r} of table {table_name!r} is set twice.", fix="Set it once."
                )
            if value is not None:
                values[name] = value
        try:
            parsed = cls.model_validate(values)
        except (ValidationError, json.JSONDecodeError) as error:
            raise _invalid(error, values, table_name) from None
        return parsed.for_table(table_name)

    def for_table(self, table_name: str) -> TableOptions:
        """These options, checked for one table; `include_spam_trash` is set when `q` or `label_ids` ask for it.

        Raises:
            UnknownTableError: Not one of the ten tables.
            OptionError: An option that this table does not have, or a value that it does not allow.
        """
        entry = table(table_name)
        for given, value in self.model_dump(by_alias=True, exclude_defaults=True).items():
            if given not in entry.options:
                raise _not_an_option(entry, given, value)
        if table_name == "threads" and self.format == "raw":
            raise OptionError(
                "Option 'format' of table 'threads' is 'raw', which Gmail's threads.get does not have.",
                fix="Use full, metadata or minimal; raw is for messages and drafts.",
            )
        hidden = not HIDDEN_LABELS.isdisjoint(self.label_ids) or _SEARCHES_HIDDEN.search(self.q or "")
        return self.model_copy(update={"include_spam_trash": True}) if hidden else self

    @property
    def page_size(self) -> int:
        """Ids per listed page."""
        return self.max_results or DEFAULT_PAGE_SIZE

    @property
    def filtered(self) -> bool:
        """Whether `q` or `labelIds` filters the table."""
        return bool(self.q or self.label_ids)

    @property
    def fingerprint(self) -> str:
        """A short id of the options that decide a table's rows: `all` for the defaults, else 12 hex digits.

        It is part of the cursor's name: after a change of options there is no cursor, and the table is reconciled.
        """
        meaning = {
            "q": self.q,
            "labelIds": sorted(self.label_ids),
            "includeSpamTrash": self.include_spam_trash,
            "format": self.format,
        }
        if meaning == {"q": None, "labelIds": [], "includeSpamTrash": False, "format": "full"}:
            return "all"
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:12]

    def matches_labels(self, label_ids: Iterable[str]) -> bool:
        """Whether a message with these labels matches the label filters (`q` is not considered)."""
        labels = set(label_ids)
        return self.is_visible(labels) and labels.issuperset(self.label_ids)

    def is_visible(self, label_ids: Iterable[str]) -> bool:
        """Whether a message with these labels is visible: not in spam or trash, unless they are included."""
        return self.include_spam_trash or HIDDEN_LABELS.isdisjoint(label_ids)


def _not_an_option(entry: Table, given: object, value: object) -> OptionError:
    return OptionError(
        f"Option {given!r} (value {value!r}) is not an option of table {entry.name!r}.",
        fix=f"Remove it, or use one of: {', '.join(entry.options)}.",
    )


def _invalid(
    error: ValidationError | json.JSONDecodeError, values: Mapping[str, Any], table_name: str
) -> OptionError:
    location = () if isinstance(error, json.JSONDecodeError) else error.errors(include_url=False)[0]["loc"]
    name = str(location[0]) if location else "labelIds"
    fix = _FIXES.get(name, f"Use one of: {', '.join(_FIXES)}.")
    of_table = f" of table {table_name!r}" if table_name else ""
    return OptionError(
        f"Option {name!r}{of_table} is {values.get(name)!r:.200}, which is not valid.", fix=fix
    )


class SpecTable(BaseModel):
    """One table of a pipeline spec.

    Attributes:
        source_table: One of the ten.
        destination_catalog: The table's catalog on Databricks.
        destination_schema: The table's schema on Databricks; elsewhere the last part of the key prefix.
        destination_table: Name of the written table; by default the source table's name.
        scd_type: For Spark: `SCD_TYPE_1` keeps the current row, `SCD_TYPE_2` every version, `APPEND_ONLY` only appends.
        primary_keys: Key columns, if not the catalogue's.
        sequence_by: The column that orders changes, if not the catalogue's.
        deletes: `remove` deletes rows of messages deleted in Gmail, `keep` sets their `_deletedAt` (soft delete).
        options: The table options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_table: str
    destination_catalog: str | None = None
    destination_schema: str | None = None
    destination_table: str | None = None
    scd_type: Literal["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"] = "SCD_TYPE_1"
    primary_keys: tuple[str, ...] = ()
    sequence_by: str | None = None
    deletes: Literal["remove", "keep"] = "remove"
    options: TableOptions = TableOptions()

    @property
    def table_name(self) -> str:
        """Name of the written table."""
        return self.destination_table or self.source_table

    @model_validator(mode="after")
    def _check_for_table(self) -> SpecTable:
        schema = table(self.source_table).schema
        columns = schema.names
        named = [*self.primary_keys, *([self.sequence_by] if self.sequence_by else [])]
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
        entry = dict(value.get("table", value))
        name = entry.get("source_table")
        if not isinstance(name, str):
            raise ConfigurationError(
                f"A table of the spec has no source_table: {sorted(entry)}.",
                fix='Give each object the form {"table": {"source_table": "labels"}}.',
            )
        table(name)
        configuration = dict(entry.pop("table_configuration", None) or {})
        for key in ("scd_type", "primary_keys", "sequence_by", "deletes"):
            for given in [given for given in configuration if given.lower() == key]:
                entry[key] = configuration.pop(given)
        if isinstance(entry.get("scd_type"), str):
            entry["scd_type"] = entry["scd_type"].strip().upper()
        if isinstance(entry.get("primary_keys"), str):
            entry["primary_keys"] = [
                part.strip() for part in entry["primary_keys"].split(",") if part.strip()
            ]
        options = TableOptions.parse(name, configuration)
        try:
            return cls.model_validate({**entry, "options": options})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            at = f"a value of {key!r}" if key else "an entry"
            raise ConfigurationError(
                f"The spec's table {name!r} has {at} that is not valid: "
                + first["msg"].removeprefix("Value error, ")
                + (f" (value {entry.get(key)!r})" if key in entry else "")
                + ".",
                fix=f"Correct it; known keys: {', '.join(sorted(set(cls.model_fields) - {'options'}))}, "
                "table_configuration.",
            ) from None


class Spec(BaseModel):
    """A pipeline spec: the tables, their options, and the connection.

    Attributes:
        connection_name: Name of the Unity Catalog (or local) connection; Dagster ignores it.
        tables: The tables in the order of the spec, each at most once.
    """

    model_config = ConfigDict(frozen=True)

    connection_name: str | None = None
    tables: tuple[SpecTable, ...]

    @classmethod
    def default(cls) -> Spec:
        """All ten tables with default options."""
        return cls(tables=tuple(SpecTable(source_table=name) for name in CATALOGUE))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Spec:
        """Validate a mapping with `connection_name` and `objects`.

        Raises:
            ConfigurationError: An invalid spec; the message names the problem.
        """
        unknown = sorted(set(value) - {"connection_name", "objects"})
        if unknown:
            raise ConfigurationError(
                f"The spec has an unknown key {unknown[0]!r}.", fix="Use connection_name and objects."
            )
        objects = value.get("objects")
        if not isinstance(objects, list) or not objects:
            raise ConfigurationError(
                f"The spec's objects is {objects!r}, not a list of tables.",
                fix='Give objects as [{"table": {"source_table": "labels"}}, ...].',
            )
        name = value.get("connection_name")
        if name is not None and not isinstance(name, str):
            raise ConfigurationError(
                f"The spec's connection_name is {name!r}, not text.", fix="Set it to the connection's name."
            )
        tables = []
        for entry in objects:
            if not isinstance(entry, Mapping):
                raise ConfigurationError(
                    f"The spec's objects contain {entry!r}, which is not a table.",
                    fix='Give each object the form {"table": {"source_table": "labels"}}.',
                )
            tables.append(SpecTable.parse(entry))
        names = [entry.source_table for entry in tables]
        for name_given in names:
            if names.count(name_given) > 1:
                raise ConfigurationError(
                    f"The spec lists the table {name_given!r} twice.", fix="List each table once."
                )
        return cls(connection_name=name, tables=tuple(tables))

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
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The spec {str(path)!r} can't be read: {error}.",
                fix="Set GMAIL_SPEC to a readable YAML or JSON file.",
            ) from None
        import yaml  # not part of the bundle for Databricks, which gets its spec as a mapping

        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"The spec {str(path)!r} is neither YAML nor JSON: {' '.join(str(error).split())}.",
                fix="Correct the file at that line.",
            ) from None
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"The spec {str(path)!r} contains {type(value).__name__}, not a mapping.",
                fix="Give it the keys connection_name and objects.",
            )
        return cls.parse(value)
