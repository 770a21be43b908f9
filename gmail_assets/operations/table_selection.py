"""Which tables a command syncs, with which options: `TableSelection`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gmail_client.options import TableOptions
from gmail_client.settings import Settings
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table
from gmail_client.views import CONTENT_VIEWS, CONTENTS, VIEWS

__all__ = ["TableSelection"]


class TableSelection:
    """The tables of a spec, and how the command line changes them.

    Args:
        spec: Tables and their options. None: GMAIL_SPEC, else all ten tables.
        filters: Table options by name (`q`, `labelIds`) that override those of `messages` and `threads`.

    Raises:
        ConfigurationError: The spec or a setting is invalid.
    """

    def __init__(self, spec: Spec | None = None, *, filters: Mapping[str, Any] | None = None) -> None:
        self.spec = spec if spec is not None else Spec.load(Settings().spec)
        self.spec.require_each_once()
        self._filters = dict(filters or {})

    def tables(self, names: Sequence[str]) -> list[str]:
        """The named tables, or all of the spec, in catalogue order, derived tables last.

        Raises:
            UnknownTableError: Neither one of the ten tables nor a derived table.
        """
        for name in names:
            if name not in (*VIEWS, CONTENTS):
                table(name)
        in_spec = [entry.source_table for entry in self.spec.entries]
        return [name for name in (*CATALOGUE, *VIEWS, CONTENTS) if name in (names or in_spec)]

    def spec_with(self, tables: Sequence[str]) -> Spec:
        """The spec, extended by the named tables that it lacks, with the filters applied.

        Raises:
            OptionError: A filter is invalid.
        """
        spec = _with_tables(self.spec, tables)
        return spec.model_copy(update={"tables": tuple(self._filtered(entry) for entry in spec.tables)})

    def _filtered(self, entry: SpecTable) -> SpecTable:
        if not self._filters or entry.source_table not in CHANGE_TABLES:
            return entry
        options = entry.options.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        parsed = TableOptions.parse(entry.source_table, {**options, **self._filters})
        return entry.model_copy(update={"options": parsed})


def _with_tables(spec: Spec, names: Sequence[str]) -> Spec:
    """Add the named tables, and the sources of derived tables, with default options unless the spec has them."""
    known = {entry.source_table for entry in spec.entries}
    derived = {**VIEWS, CONTENTS: CONTENT_VIEWS[CONTENTS]}
    needed = set(names)
    for name in [CONTENTS, *VIEWS]:  # each before the tables that it is computed from
        if name in needed:
            needed.update(derived[name].sources)
    needed -= known
    default = Spec.default()
    return spec.model_copy(
        update={
            "tables": (*spec.tables, *(entry for entry in default.tables if entry.source_table in needed)),
            "views": (*spec.views, *(entry for entry in default.views if entry.source_table in needed)),
            "contents": SpecView(source_table=CONTENTS) if CONTENTS in needed else spec.contents,
        }
    )
