"""SQL text with names and values in it, built in this one place, for the two engines that run it.

- DataFusion, the query engine of deltalake: `literal`, `identifier`, `equals`, `one_of`.
- Spark SQL, whose escapes differ: `spark_literal`, `spark_identifier`.

deltalake's predicates and queries take no parameters, and neither do Spark's definitions of tables and views, so values
are part of the text. A value is an address, an id or a name, which can contain any character that Gmail accepts.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["equals", "identifier", "literal", "one_of", "spark_identifier", "spark_literal"]


def literal(text: str) -> str:
    """A text as a literal of DataFusion: the only escape in it is the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def spark_literal(text: str) -> str:
    """A text as a literal of Spark SQL: a backslash is an escape in it.

    Spark replaces `${env:NAME}` by the environment variable in the whole statement before it parses it. So a dollar
    sign is written as its code.
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"


def identifier(name: str) -> str:
    """A column's name for DataFusion, quoted so that it can have any case and any characters."""
    return '"' + name.replace('"', '""') + '"'


def spark_identifier(*parts: str) -> str:
    """A name for Spark SQL, quoted, with a dot between its parts.

    Raises:
        ValueError: It contains `${`, which Spark replaces even in a quoted name.
    """
    if any("${" in part for part in parts):
        raise ValueError("Spark replaces variables in names.")
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def equals(column: str, text: str) -> str:
    """The condition that a column holds a text, for DataFusion."""
    return f"{identifier(column)} = {literal(text)}"


def one_of(column: str, texts: Iterable[str]) -> str:
    """The condition that a column holds one of some texts, for DataFusion; none of them is never true."""
    listed = ", ".join(map(literal, texts))
    return f"{identifier(column)} IN ({listed})" if listed else "false"
