"""Gmail in Delta Lake as Dagster assets.

`gmail_definitions()` makes assets, jobs, schedule, sensor and checks, ready to merge into a Dagster project.
`GmailResource` and `LakeResource` are what they run on. Each name is imported when it is first used, so that the
console script starts without Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmail_assets.factory import gmail_definitions
    from gmail_assets.resources import GmailResource, LakeResource

__all__ = ["GmailResource", "LakeResource", "gmail_definitions"]

_HOMES = {
    "GmailResource": "gmail_assets.resources",
    "LakeResource": "gmail_assets.resources",
    "gmail_definitions": "gmail_assets.factory",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
