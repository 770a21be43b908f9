"""Selects the table options among the options that Spark passes: `table_options`.

Spark passes connection options, the framework's own and the table's in one mapping, with lower-case names in streams.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Mapping

from gmail_client.errors import OptionError
from gmail_client.options import TableOptions
from gmail_client.spec import TARGET_OPTIONS
from gmail_client.tables import CATALOGUE, table
from lakeflow_entry.connection import CONNECTION_OPTIONS

__all__ = [
    "ALLOW_LIST",
    "FRAMEWORK_OPTIONS",
    "RECONCILED",
    "SOURCE_OPTIONS",
    "find",
    "option_strings",
    "refuse_namespace",
    "table_options",
]

RECONCILED = "reconciled"
"""Set if the caller of a delete flow compares the table with Gmail's listing itself."""

FRAMEWORK_OPTIONS = (
    "tableName",
    "tableNameList",
    "tableConfigs",
    "isDeleteFlow",
    "namespace",
    "namespacePrefix",
    "operation",
    "sourceName",
    "externalOptionsAllowList",
    "path",
    "report",
    RECONCILED,
    *TARGET_OPTIONS,
)
"""Options that travel along and are not the source table's."""

SOURCE_OPTIONS = tuple(dict.fromkeys(name for entry in CATALOGUE.values() for name in entry.options))
"""The table options of all tables."""

ALLOW_LIST = ",".join(["tableName", "tableNameList", "tableConfigs", "isDeleteFlow", *SOURCE_OPTIONS])
"""What a Unity Catalog connection's `externalOptionsAllowList` has to name.

`mailboxes` is not part of it: with a service account, everyone who may use the connection could name any mailbox.
"""

_TRAVELLING = {name.lower() for name in (*FRAMEWORK_OPTIONS, *CONNECTION_OPTIONS)}
_NAMES = {name.lower(): name for name in SOURCE_OPTIONS}

_ROOT_NAMESPACES = ("[]", "default", '["default"]')

_log = logging.getLogger(__name__)


def find(options: Mapping[str, str], name: str) -> str | None:
    """The value of an option, ignoring the case of its name; None if it is missing or blank."""
    wanted = name.lower()
    for given, value in options.items():
        if given.lower() == wanted and str(value).strip():
            return str(value)
    return None


def table_options(
    name: str, options: Mapping[str, str] | None, connection: Collection[str] = ()
) -> TableOptions:
    """Validate a table's options.

    Args:
        name: One of the ten.
        options: As Spark passes them, connection options included.
        connection: Names of options that came with the connection; unknown ones among them are ignored.

    Raises:
        UnknownTableError: Not one of the ten tables.
        OptionError: An option that this table does not have, a value out of its range, or a namespace.
    """
    table(name)
    refuse_namespace(options or {})
    connection_options = {key.lower() for key in connection}
    own: dict[str, str] = {}
    for given, value in (options or {}).items():
        lower = given.lower()
        if lower in _NAMES:
            own[given] = value
        elif lower not in _TRAVELLING and "." not in lower:
            similar = difflib.get_close_matches(lower, _NAMES, n=1, cutoff=0.75)
            if lower in connection_options and not similar:
                _log.debug("The option %s belongs to the connection; it is ignored here.", given)
                continue
            raise OptionError(
                f"Option {given!r} is not an option of table {name!r}.",
                fix=f"Did you mean {_NAMES[similar[0]]!r}?"
                if similar
                else f"Use one of: {', '.join(CATALOGUE[name].options)}; or remove it.",
            )
    return TableOptions.parse(name, own)


def refuse_namespace(options: Mapping[str, str], *, allow_root: bool = True) -> None:
    """Refuse an option `namespace`, because Gmail's tables have none.

    Args:
        options: As Spark passes them.
        allow_root: Whether the root is accepted: `[]`, or the schema `default` that the framework's command line sets.

    Raises:
        OptionError: A namespace is given.
    """
    namespace = find(options, "namespace")
    if namespace is not None and not (allow_root and namespace.strip() in _ROOT_NAMESPACES):
        raise OptionError(
            f"Option 'namespace' is {namespace!r:.200}, but Gmail's tables have no namespaces.",
            fix="Remove it.",
        )


def option_strings(options: TableOptions) -> dict[str, str]:
    """The given table options as text, as Spark passes them."""
    given = options.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    return {
        name: ",".join(value)
        if isinstance(value, list)
        else str(value).lower()
        if value is True
        else str(value)
        for name, value in given.items()
    }
