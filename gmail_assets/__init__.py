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
    from gmail_assets.component import GmailComponent
    from gmail_assets.delta.errors import LakeError
    from gmail_assets.delta.lake import Lake
    from gmail_assets.factory import gmail_definitions
    from gmail_assets.resources import GmailAccess, GmailResource, LakeLocation, LakeResource
    from gmail_assets.syncing.results import Progress, SyncResult
    from gmail_assets.syncing.run import snapshot, sync
    from gmail_client.deletion import MassDeletionError

__all__ = [
    "GmailAccess",
    "GmailComponent",
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
    "GmailAccess": "gmail_assets.resources",
    "GmailComponent": "gmail_assets.component",
    "GmailResource": "gmail_assets.resources",
    "Lake": "gmail_assets.delta.lake",
    "LakeError": "gmail_assets.delta.errors",
    "LakeLocation": "gmail_assets.resources",
    "LakeResource": "gmail_assets.resources",
    "MassDeletionError": "gmail_client.deletion",
    "Progress": "gmail_assets.syncing.results",
    "SyncResult": "gmail_assets.syncing.results",
    "gmail_definitions": "gmail_assets.factory",
    "snapshot": "gmail_assets.syncing.run",
    "sync": "gmail_assets.syncing.run",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
