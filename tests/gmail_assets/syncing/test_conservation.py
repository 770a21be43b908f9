"""Every message that a sync requests is written or reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chaos import client_of
from support.lake import assert_lake_holds

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing import sync
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.threads import ThreadsSync
from gmail_client.emulator import Emulator, Quota
from gmail_client.errors import IncompleteReadError
from gmail_client.spec import SpecTable

BOTH = [SpecTable.parse({"source_table": name}) for name in ("messages", "threads")]


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_a_low_concurrency_limit_loses_no_message(tmp_path: Path, workers: int, in_flight: int) -> None:
    quota = Quota(None, None, False, None, in_flight, in_flight)
    with Emulator(messages=150, seed=7, mean_json_kb=2, quota=quota) as gmail:
        results = sync(client_of(gmail, workers=workers).mailbox(), Lake(str(tmp_path)), BOTH)
        assert all(result.complete and not result.unfetched for result in results.values())
        assert_lake_holds(Lake(str(tmp_path)), gmail, BOTH, gmail.addresses[0])


@pytest.mark.parametrize("target", [MessagesSync, ThreadsSync])
def test_a_message_that_is_not_written_holds_the_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: type[MessagesSync] | type[ThreadsSync]
) -> None:
    """If the writer of a table drops a message, the run fails, and the next run stores it."""
    write_content = target.write_content

    def forgetful(self: MessagesSync | ThreadsSync, chunk: Chunk) -> None:
        write_content(self, Chunk(chunk.fetched[:-1]))

    lake = Lake(str(tmp_path))
    with Emulator(messages=30, seed=3, mean_json_kb=2) as gmail:
        with monkeypatch.context() as broken:
            broken.setattr(target, "write_content", forgetful)
            with pytest.raises(IncompleteReadError, match="misses requested messages"):
                sync(client_of(gmail).mailbox(), lake, BOTH)
        for spec in BOTH:
            part = MailboxPartition(
                lake.table(spec.source_table), gmail.addresses[0], spec.options.fingerprint, "full"
            )
            assert (
                part.state.cursor is None
                or spec.source_table != target.__name__.removesuffix("TableSync").lower()
            )
        results = sync(client_of(gmail).mailbox(), lake, BOTH)
        assert all(result.complete for result in results.values())
        assert_lake_holds(lake, gmail, BOTH, gmail.addresses[0])
