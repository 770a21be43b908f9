"""The discovery document of the methods that the emulator offers: `discovery_document`.

Google's clients can be built from it, so that they send every request, batches and uploads included, to the emulator.
"""

from __future__ import annotations

import re
from typing import Any

from gmail_client.emulator.api.methods import METHODS, STANDARD_PARAMETERS, Method, Parameter
from gmail_client.emulator.api.schemas import ENUMS, SCHEMAS

__all__ = ["discovery_document"]

_ROOT = "gmail/v1/users/{userId}/"
_VARIABLE = re.compile(r"{(\w+)}")
_TYPES = {"uint32": "integer", "int32": "integer", "uint64": "string", "int64": "string", "byte": "string"}


def discovery_document(url: str) -> dict[str, Any]:
    """The document of a service at `url`, in the form of Google's, without descriptions."""
    users: dict[str, Any] = {}
    for method in METHODS.values():
        *path, name = method.name.split(".")
        resource = users
        for step in path:
            resource = resource.setdefault("resources", {}).setdefault(step, {})
        resource.setdefault("methods", {})[name] = _method(method)
    scopes = sorted({scope for method in METHODS.values() for scope in method.scopes})
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "gmail:v1",
        "name": "gmail",
        "version": "v1",
        "title": "Gmail API",
        "canonicalName": "Gmail",
        "description": "The methods of the Gmail API that the emulator offers.",
        "ownerDomain": "google.com",
        "ownerName": "Google",
        "protocol": "rest",
        "rootUrl": f"{url}/",
        "mtlsRootUrl": f"{url}/",
        "baseUrl": f"{url}/",
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "auth": {"oauth2": {"scopes": {scope: {"description": scope} for scope in scopes}}},
        "parameters": {name: _parameter(one) for name, one in STANDARD_PARAMETERS.items()},
        "schemas": {
            name: {
                "id": name,
                "type": "object",
                "properties": {field: _property(name, field, kind) for field, kind in fields.items()},
            }
            for name, fields in SCHEMAS.items()
        },
        "resources": {"users": users},
    }


def _method(method: Method) -> dict[str, Any]:
    path = _ROOT + method.path
    variables = _VARIABLE.findall(path)
    found: dict[str, Any] = {
        "id": f"gmail.users.{method.name}",
        "path": path,
        "flatPath": path,
        "httpMethod": method.verb,
        "parameters": {
            **{name: {"type": "string", "location": "path", "required": True} for name in variables},
            **{one.name: _parameter(one) for one in method.parameters},
        },
        "parameterOrder": variables,
        "scopes": list(method.scopes),
    }
    found["parameters"]["userId"]["default"] = "me"
    if method.request:
        found["request"] = {"$ref": method.request}
    if method.response:
        found["response"] = {"$ref": method.response}
    if method.upload:
        found["supportsMediaUpload"] = True
        found["mediaUpload"] = {
            "accept": ["message/*"],
            "maxSize": str(method.upload),
            "protocols": {
                "simple": {"multipart": True, "path": f"/upload/{path}"},
                "resumable": {"multipart": True, "path": f"/resumable/upload/{path}"},
            },
        }
    return found


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found = _scalar(parameter.kind)
    if parameter.repeated:
        found["repeated"] = True
    if parameter.choices:
        found["enum"] = list(parameter.choices)
    if parameter.default is not None:
        found["default"] = parameter.default
    return {**found, "location": "query"}


def _property(schema: str, field: str, kind: str) -> dict[str, Any]:
    if kind.endswith("[]"):
        return {"type": "array", "items": _property(schema, field, kind[:-2])}
    if kind in SCHEMAS:
        return {"$ref": kind}
    found = _scalar(kind)
    if choices := ENUMS.get((schema, field)):
        found["enum"] = list(choices)
    return found


def _scalar(kind: str) -> dict[str, Any]:
    return {"type": _TYPES[kind], "format": kind} if kind in _TYPES else {"type": kind}
