"""Derived tables after the options of `messages` changed: other content is stored under the same ids."""

from __future__ import annotations

import random
from pathlib import Path

from support.chaos import client_of
from support.lake import stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.syncing import sync
from gmail_assets.views import ViewSources, derive
from gmail_assets.views.verification import verify_views
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.views import attachment_rows, email_row

NO_UPKEEP = Upkeep(small_files=0, retention=None)


def test_rows_are_computed_from_the_content_that_is_stored_now(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=12, seed=2) as gmail:
        (address,) = gmail.addresses
        mailbox = client_of(gmail, address).mailbox(address)
        for options in ({}, {"excludeColumns": "payload.body.data"}, {"format": "raw"}, {}):
            entry = {"source_table": "messages", "table_configuration": options}
            spec = Spec.parse(
                {"objects": [entry, {"source_table": "emails"}, {"source_table": "attachments"}]}
            )
            sources = ViewSources.of(spec)
            sync(mailbox, lake, spec.tables, upkeep=NO_UPKEEP)
            if lake.find("emails") is not None:
                verdict = verify_views(lake, address, sources, sample=50, rng=random.Random(1))
                assert (verdict["emails"].outdated, verdict["emails"].differing) == (
                    verdict["emails"].rows,
                    0,
                )
            derive(lake, address, sources, upkeep=NO_UPKEEP)
            messages = stored_rows(lake, "messages", address)
            assert len(messages) > 5
            found = {row["message_id"]: row for row in stored_rows(lake, "emails", address)}
            for message in messages:
                row = email_row(message, {})
                assert {name: found[message["id"]][name] for name in row} == row
            files = sorted(
                (row["message_id"], row["part_id"], row["sha256"])
                for row in stored_rows(lake, "attachments", address)
            )
            computed = [row for message in messages for row in attachment_rows(message)]
            assert files == sorted((row["message_id"], row["part_id"], row["sha256"]) for row in computed)
            idle = derive(lake, address, sources, upkeep=NO_UPKEEP)
            assert [(r.rows_written, r.rows_updated) for r in idle.values()] == [(0, 0), (0, 0)]
