"""What deltalake does after a commit of this product: `commit_hooks`."""

from __future__ import annotations

from deltalake import DeltaTable, PostCommitHookProperties

__all__ = ["commit_hooks"]

_CLEANUP_EVERY = 100


def commit_hooks(table: DeltaTable) -> PostCommitHookProperties:
    """Write checkpoints when they are due, and remove expired files of the log at every 100th commit.

    To remove them, deltalake lists the whole log, by default after each commit. It has a file for each commit of the
    last 30 days: in an object store that is a request for each 1,000 of them.
    """
    cleanup = (table.version() + 1) % _CLEANUP_EVERY == 0
    return PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=cleanup)
