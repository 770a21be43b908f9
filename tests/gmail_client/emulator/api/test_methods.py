"""The table of methods against Google's discovery document."""

from __future__ import annotations

from typing import Any

import pytest
from support.gmail_api import discovery_document

from gmail_client.emulator.api.methods import METHODS, STANDARD_PARAMETERS, Method
from gmail_client.emulator.api.schemas import ENUMS, SCHEMAS

DOCUMENT = discovery_document()


def documented() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}

    def walk(resource: dict[str, Any]) -> None:
        for method in resource.get("methods", {}).values():
            found[method["id"].removeprefix("gmail.users.")] = method
        for below in resource.get("resources", {}).values():
            walk(below)

    walk(DOCUMENT)
    return found


GOOGLE = documented()


def test_what_is_not_offered_is_named() -> None:
    missing = {
        name for name in GOOGLE if name not in METHODS and ".cse." not in name and ".smimeInfo." not in name
    }
    assert missing == {"watch", "stop"}
    assert set(METHODS) <= set(GOOGLE)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_method_is_as_documented(method: Method) -> None:
    google = GOOGLE[method.name]
    assert method.verb == google["httpMethod"]
    assert f"gmail/v1/users/{{userId}}/{method.path}" == google["path"]
    assert method.request == google.get("request", {}).get("$ref")
    assert method.response == google.get("response", {}).get("$ref")
    assert sorted(method.scopes) == sorted(google["scopes"])
    assert method.upload == int(google.get("mediaUpload", {}).get("maxSize", 0))
    expected = {
        name: (
            spec.get("format") or spec["type"],
            spec.get("repeated", False),
            tuple(spec.get("enum", ())),
            spec.get("default"),
        )
        for name, spec in google["parameters"].items()
        if spec["location"] == "query"
    }
    assert expected == {
        one.name: (one.kind, one.repeated, one.choices, one.default) for one in method.parameters
    }


def test_standard_parameters_are_as_documented() -> None:
    expected = {
        name: (spec["type"], tuple(spec.get("enum", ())), spec.get("default"))
        for name, spec in DOCUMENT["parameters"].items()
    }
    assert expected == {
        name: (one.kind, one.choices, one.default) for name, one in STANDARD_PARAMETERS.items()
    }


def kind_of(spec: dict[str, Any]) -> str:
    if spec.get("type") == "array":
        return kind_of(spec["items"]) + "[]"
    return str(spec.get("$ref") or spec.get("format") or spec["type"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_as_documented(name: str) -> None:
    properties = DOCUMENT["schemas"][name]["properties"]
    assert SCHEMAS[name] == {field: kind_of(spec) for field, spec in properties.items()}
    enums = {(name, field): tuple(spec["enum"]) for field, spec in properties.items() if "enum" in spec}
    assert enums == {key: values for key, values in ENUMS.items() if key[0] == name}
