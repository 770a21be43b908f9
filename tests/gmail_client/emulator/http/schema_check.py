"""A strict validator of API responses against Google's discovery document."""

from __future__ import annotations

import base64
import re
from typing import Any

_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


def problems(document: dict[str, Any], schema: str, value: Any) -> list[str]:
    """The errors of a response: unknown keys, types, formats, enumerations; [] if it is valid."""
    return list(_check(document, {"$ref": schema}, value, schema))


def _check(document: dict[str, Any], spec: dict[str, Any], value: Any, where: str) -> Any:
    if "$ref" in spec:
        properties = document["schemas"][spec["$ref"]]["properties"]
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        for key, content in value.items():
            if key not in properties:
                yield f"{where}: unknown key {key}"
            else:
                yield from _check(document, properties[key], content, f"{where}.{key}")
        return
    kind, form = spec["type"], spec.get("format")
    if kind == "array":
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no array"
            return
        for index, item in enumerate(value):
            yield from _check(document, spec["items"], item, f"{where}[{index}]")
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield f"{where}: {value!r} is no boolean"
    elif kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"{where}: {value!r} is no integer"
        elif not _RANGES[form][0] <= value <= _RANGES[form][1]:
            yield f"{where}: {value} is out of {form}"
    elif kind == "string":
        if not isinstance(value, str):
            yield f"{where}: {value!r} is no string"
        elif form in _RANGES:
            if not re.fullmatch(r"-?\d+", value) or not _RANGES[form][0] <= int(value) <= _RANGES[form][1]:
                yield f"{where}: {value!r} is no {form}"
        elif form == "byte":
            if len(value) % 4 or not re.fullmatch(r"[\w-]*={0,2}", value):
                yield f"{where}: not padded base64url"
            else:
                base64.urlsafe_b64decode(value)
        elif "enum" in spec and value not in spec["enum"]:
            yield f"{where}: {value!r} is none of {spec['enum']}"
    else:
        yield f"{where}: a kind this validator does not know: {kind}"
