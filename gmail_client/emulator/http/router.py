"""From a URL to a method: `match` finds the method, `parse_query` parses its parameters as strictly as Google does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from gmail_client.emulator.api.errors import bad_body, unknown_parameter
from gmail_client.emulator.api.methods import METHODS, STANDARD_PARAMETERS, Method, Parameter

__all__ = ["MethodRoute", "match", "parse_query"]

_PREFIX = "/gmail/v1/users/"
_UPLOADS = ("/upload", "/resumable/upload")
_DIGITS = re.compile(r"[0-9]+")
_LIMITS = {"uint32": 2**32 - 1, "uint64": 2**64 - 1}


class MethodRoute(NamedTuple):
    """A method with the variables of its path; `upload` if the body is media."""

    method: Method
    variables: dict[str, str]
    upload: bool


def _table() -> dict[tuple[str, int], list[tuple[tuple[str, ...], Method]]]:
    table: dict[tuple[str, int], list[tuple[tuple[str, ...], Method]]] = {}
    for method in METHODS.values():
        segments = tuple(method.path.split("/"))
        table.setdefault((method.verb, len(segments)), []).append((segments, method))
    for candidates in table.values():
        candidates.sort(key=lambda entry: sum(segment.startswith("{") for segment in entry[0]))
    return table


_TABLE = _table()


def match(verb: str, path: str) -> MethodRoute | None:
    """The method of a verb and an (encoded) path; None when there is none."""
    upload = False
    for root in _UPLOADS:
        if path.startswith(root + "/"):
            path, upload = path[len(root) :], True
            break
    if not path.startswith(_PREFIX):
        return None
    user, _, rest = path[len(_PREFIX) :].partition("/")
    segments = rest.split("/")
    for template, method in _TABLE.get((verb, len(segments)), ()):
        variables = {"userId": unquote(user)}
        for wanted, found in zip(template, segments, strict=True):
            if wanted.startswith("{"):
                variables[wanted[1:-1]] = unquote(found)
            elif wanted != found:
                break
        else:
            if upload and not method.upload:
                return None
            return MethodRoute(method, variables, upload)
    return None


def parse_query(method_parameters: tuple[Parameter, ...], query: str) -> dict[str, Any]:
    """The parameters in a query string by name, typed; repeated ones as tuples.

    Raises:
        ApiError: 400 for a parameter that is unknown, malformed or given twice.
    """
    known: Mapping[str, Parameter] = {parameter.name: parameter for parameter in method_parameters}
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        parameter = known.get(name) or STANDARD_PARAMETERS.get(name)
        if parameter is None:
            raise unknown_parameter(name)
        value = _typed(parameter, text)
        if parameter.repeated:
            found[name] = (*found.get(name, ()), value)
        elif name in found:
            raise bad_body(
                f"Invalid value at '{_snake(name)}', Proto field is not repeating, cannot start list.",
                _snake(name),
            )
        else:
            found[name] = value
    return found


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.kind == "boolean":
        if text in ("true", "false"):
            return text == "true"
        raise _invalid(parameter, "TYPE_BOOL", text)
    if parameter.kind in _LIMITS:
        if _DIGITS.fullmatch(text) and int(text) <= _LIMITS[parameter.kind]:
            return int(text)
        raise _invalid(parameter, f"TYPE_{parameter.kind.upper()}", text)
    if parameter.choices:
        for choice in parameter.choices:
            if text.lower() == choice.lower():
                return choice
        raise _invalid(parameter, "TYPE_ENUM", text)
    return text


def _invalid(parameter: Parameter, kind: str, text: str) -> Exception:
    name = _snake(parameter.name)
    return bad_body(f"Invalid value at '{name}' ({kind}), \"{text}\"", name)


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda letter: "_" + letter.group().lower(), name)
