"""A lake whose tables are synced for hundreds of mailboxes, without a sync: `write_states`."""

from __future__ import annotations

from collections.abc import Mapping

from deltalake import CommitProperties, Transaction

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.sync_state import SyncState, number_of, transactions
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

__all__ = ["write_states"]


def write_states(lake: Lake, heads: Mapping[str, int], tables: tuple[str, ...] = CHANGE_TABLES) -> None:
    """Record that tables are synced through a history id per address: one commit per table."""
    for spec in Spec.default().tables:
        if spec.source_table not in tables:
            continue
        table = lake.table(spec.source_table)
        fence = table.delta.version() + 1
        written: list[Transaction] = []
        for address, head in heads.items():
            read = StateReader(table.delta, address, table.source, table.transactions)
            state = SyncState(number_of(spec.options.fingerprint), number_of(spec.options.content_format))
            written += transactions(state.synced(head), read, read.base, fence)
        table.delta.create_write_transaction(
            [],
            "append",
            table.delta.schema(),
            partition_by=["mailbox"],
            commit_properties=CommitProperties(app_transactions=written),
        )
