"""Text of SQL for Delta tables, built in this one place: `literal`, `identifier`, `equals`, `one_of`.

deltalake's predicates and its query engine (DataFusion) take no parameters, so values are part of the text.
A value is an address, an id or a table's name, which can contain any character that Gmail accepts.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["equals", "identifier", "literal", "one_of"]


def literal(text: str) -> str:
    """A text as a SQL literal: DataFusion's only escape in it is the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name, quoted so that SQL accepts any case and any characters."""
    return '"' + name.replace('"', '""') + '"'


def equals(column: str, text: str) -> str:
    """The condition that a column holds a text."""
    return f"{identifier(column)} = {literal(text)}"


def one_of(column: str, texts: Iterable[str]) -> str:
    """The condition that a column holds one of some texts; none of them is never true."""
    listed = ", ".join(map(literal, texts))
    return f"{identifier(column)} IN ({listed})" if listed else "false"
