"""Partial responses: `apply` reduces a response to the fields of a `fields` mask (`messages(id,payload/headers)`)."""

from __future__ import annotations

import re
from typing import Any

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.api.schemas import SCHEMAS

__all__ = ["apply", "parse"]

FieldMask = dict[str, Any]

_TOKEN = re.compile(r"[A-Za-z_$*][\w$]*|[(),/]")


def parse(text: str, schema: str | None) -> FieldMask:
    """A mask as nested dicts; an empty dict selects everything below.

    Raises:
        ApiError: 400 for invalid syntax or a field that the response does not have.
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text) or not tokens:
        raise bad_argument(f"Invalid field selection {text}")
    mask, rest = _selection(tokens, text, schema)
    if rest:
        raise bad_argument(f"Invalid field selection {text}")
    return mask


def _selection(tokens: list[str], text: str, schema: str | None) -> tuple[FieldMask, list[str]]:
    mask: FieldMask = {}
    while True:
        if not tokens or tokens[0] in "(),/":
            raise bad_argument(f"Invalid field selection {text}")
        name, *tokens = tokens
        below = _schema_below(name, text, schema)
        inner: FieldMask = {}
        if tokens and tokens[0] == "/":
            inner, tokens = _path(tokens[1:], text, below)
        elif tokens and tokens[0] == "(":
            inner, tokens = _selection(tokens[1:], text, below)
            if not tokens or tokens[0] != ")":
                raise bad_argument(f"Invalid field selection {text}")
            tokens = tokens[1:]
        mask[name] = _merged(mask[name], inner) if name in mask else inner
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]


def _path(tokens: list[str], text: str, schema: str | None) -> tuple[FieldMask, list[str]]:
    """One field with its subfields, up to the comma of the level above."""
    depth, end = 0, 0
    while end < len(tokens):
        depth += {"(": 1, ")": -1}.get(tokens[end], 0)
        if depth < 0 or (depth == 0 and tokens[end] == ","):
            break
        end += 1
    mask, rest = _selection(tokens[:end], text, schema)
    if rest:
        raise bad_argument(f"Invalid field selection {text}")
    return mask, tokens[end:]


def _schema_below(name: str, text: str, schema: str | None) -> str | None:
    if schema is None or name == "*":
        return None
    kind = SCHEMAS.get(schema, {}).get(name)
    if kind is None:
        raise bad_argument(f"Invalid field selection {name}")
    return kind.removesuffix("[]")


def _merged(first: FieldMask, second: FieldMask) -> FieldMask:
    if not first or not second:
        return {}
    merged = dict(first)
    for name, inner in second.items():
        merged[name] = _merged(merged[name], inner) if name in merged else inner
    return merged


def apply(mask: FieldMask, value: Any) -> Any:
    """The part of a JSON value that the mask selects; in a list, the part of each item."""
    if not mask:
        return value
    if isinstance(value, list):
        return [apply(mask, item) for item in value]
    if not isinstance(value, dict):
        return value
    match_all = mask.get("*")
    kept = {}
    for name, content in value.items():
        inner = mask.get(name, match_all)
        if inner is not None:
            kept[name] = apply(inner, content)
    return kept
