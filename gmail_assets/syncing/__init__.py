"""Gmail into the lake, without Dagster: `sync` for messages and threads, `snapshot` for the other tables.

Each name is imported when it is first used, so that the command line starts without Arrow and Delta.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmail_assets.syncing.results import Progress, SyncResult
    from gmail_assets.syncing.run import snapshot, sync
    from gmail_client.deletion import MassDeletionError

__all__ = ["MassDeletionError", "Progress", "SyncResult", "snapshot", "sync"]

_HOMES = {
    "MassDeletionError": "gmail_client.deletion",
    "Progress": "gmail_assets.syncing.results",
    "SyncResult": "gmail_assets.syncing.results",
    "snapshot": "gmail_assets.syncing.run",
    "sync": "gmail_assets.syncing.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
