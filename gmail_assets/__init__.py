"""Gmail in Delta Lake: Dagster assets, and the sync below them.

`gmail_definitions()` returns assets, jobs, schedule, sensor and checks to merge into a Dagster project; they use
`GmailResource` and `LakeResource`, made from `GmailAccess` and `LakeLocation`. Without Dagster, `sync` and `snapshot`
write a mailbox's tables to a `Lake`.

Names are imported on first use, so that the console script starts without Dagster. See docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmail_assets.delta.errors import LakeError
    from gmail_assets.delta.lake import Lake
    from gmail_assets.factory import gmail_definitions
    from gmail_assets.resources import GmailAccess, GmailResource, LakeLocation, LakeResource
    from gmail_assets.syncing.results import MassDeletionError, Progress, SyncResult
    from gmail_assets.syncing.run import snapshot, sync

__all__ = [
    "GmailAccess",
    "GmailResource",
    "Lake",
    "LakeError",
    "LakeLocation",
    "LakeResource",
    "MassDeletionError",
    "Progress",
    "SyncResult",
    "gmail_definitions",
    "snapshot",
    "sync",
]

_MODULES = {
    "GmailAccess": "resources",
    "GmailResource": "resources",
    "Lake": "delta.lake",
    "LakeError": "delta.errors",
    "LakeLocation": "resources",
    "LakeResource": "resources",
    "MassDeletionError": "syncing.results",
    "Progress": "syncing.results",
    "SyncResult": "syncing.results",
    "gmail_definitions": "factory",
    "snapshot": "syncing.run",
    "sync": "syncing.run",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"gmail_assets.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
