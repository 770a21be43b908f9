"""Compares the contents of attachments with `attachments`, and a sample of the bytes with their hashes."""

from __future__ import annotations

import hashlib
import random

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.scan import open_files, read_columns
from gmail_assets.views.pending_contents import ContentSources, pending_contents
from gmail_assets.views.verification import ViewVerdict
from gmail_client.views import CONTENT_VIEWS, CONTENTS, LINKS

__all__ = ["verify_contents"]

_BATCH_ROWS = 16
"""Contents in memory at a time."""
_MOST_SAMPLED = 50


def verify_contents(
    lake: Lake, address: str, sources: ContentSources, *, sample: int, rng: random.Random
) -> ViewVerdict:
    """Find attachments without a stored content, and contents whose bytes are not those of their hash.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        sources: The tables that the contents follow.
        sample: Contents of the mailbox whose bytes are read, at most 50.
        rng: Chooses the sample.

    Returns:
        `outdated` counts attachments whose content is missing or obsolete, without those that Gmail refused.

    Raises:
        LakeError: A table can't be read.
    """
    verdict = ViewVerdict()
    pending = pending_contents(lake, address, sources)
    outdated = (pending.missing.keys() - pending.failed) | pending.obsolete
    verdict.outdated = len(outdated)
    verdict.note(message_id for message_id, _ in outdated)
    if lake.opened(sources.contents.table_name) is None:
        return verdict
    table = sources.open(lake, CONTENTS)
    schema = CONTENT_VIEWS[CONTENTS].columns(["sha256"])
    hashes = read_columns(table, address, schema.names, schema)["sha256"].to_pylist()
    verdict.rows = len(hashes)
    chosen = set(rng.sample(hashes, min(sample, _MOST_SAMPLED, len(hashes))))
    differing = set()
    for file in open_files(table, address) if chosen else ():
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=["sha256", "size_bytes", "content"]):
            for row in batch.to_pylist():
                if row["sha256"] in chosen and not _is_intact(row):
                    differing.add(row["sha256"])
    verdict.sampled, verdict.differing = len(chosen), len(differing)
    schema = CONTENT_VIEWS[LINKS].columns(["message_id", "sha256"])
    links = read_columns(sources.open(lake, LINKS), address, schema.names, schema) if differing else None
    rows = links.to_pylist() if links is not None else []
    verdict.note(row["message_id"] for row in rows if row["sha256"] in differing)
    return verdict


def _is_intact(row: dict[str, object]) -> bool:
    content = row["content"]
    return (
        isinstance(content, bytes)
        and len(content) == row["size_bytes"]
        and hashlib.sha256(content).hexdigest() == row["sha256"]
    )
