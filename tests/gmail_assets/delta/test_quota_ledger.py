"""The ledger of the project's quota in a lake: what is read is what was written, and only one of two writers wins."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from support.chaos import client_of

from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.quota_ledger import QUOTA, QuotaLedger, join_quota
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
from gmail_client.project_quota import FREE_UNITS, ProjectQuota
from gmail_client.quota_shares import Claim, Ledger, ProjectLimits
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

CLAIM = Claim(2**59 + 1, 1_140_000, 1_200_000, 1_795_683_600, 600_000, 1_795_683_721, 400_000)


def test_a_written_ledger_is_read_unchanged(tmp_path: Path) -> None:
    writer, reader = QuotaLedger(Lake(str(tmp_path))), QuotaLedger(Lake(str(tmp_path)))
    assert writer.read() == Ledger()
    ledger = Ledger({0: CLAIM, 95: Claim(7, 600, 600, 10)}, 20_783, 79_999_999)
    assert writer.write(ledger)
    assert reader.read() == ledger
    smaller = Ledger({**ledger.claims, 0: Claim(CLAIM.owner)}, 20_784, 0)
    assert reader.write(smaller)
    assert writer.read() == smaller


def test_a_ledger_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It had no field `changes`: a claim was for changes or for first loads."""
    with tarfile.open(Path(__file__).parents[2] / "fixtures" / "lake_quota_v1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    store = QuotaLedger(Lake(str(tmp_path)))
    until, before = (1_795_683_600, 1_795_683_580), (600_000, 1_795_683_721)
    loads = Claim(2**59 + 1, 912_000, 960_000, until[0], *before, changes=0)
    changes = Claim(2**58 + 3, 22_800, 45_600, until[1], changes=45_600)
    assert store.read() == Ledger({0: loads, 1: changes}, 20_783, 1_234_567)
    both = Claim(7, 1_000, 1_000, until[0], changes=400)
    loads = replace(loads, until=loads.until + 60)
    assert store.write(Ledger({0: loads, 1: both}, 20_783, 1_234_567))
    assert QuotaLedger(Lake(str(tmp_path))).read() == Ledger({0: loads, 1: both}, 20_783, 1_234_567)
    # In the lowest bit, the earlier version reads whether a claim is for first loads only.
    table = DeltaTable(str(tmp_path / QUOTA))
    until = [table.transaction_version(f"gmail/quota/ledger/{slot}/until") for slot in (0, 1)]
    assert until == [2 * loads.until + 1, 2 * both.until]


def test_one_of_two_writers_of_the_same_version_succeeds(tmp_path: Path) -> None:
    first, second = QuotaLedger(Lake(str(tmp_path))), QuotaLedger(Lake(str(tmp_path)))
    first.read()
    second.read()
    assert first.write(Ledger({1: CLAIM}))  # day and units stay the same: no transaction of the two is equal
    assert not second.write(Ledger({2: CLAIM}))
    assert second.read() == Ledger({1: CLAIM})
    assert second.write(Ledger({1: CLAIM, 2: CLAIM}))


def test_concurrent_processes_lose_no_claim(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    QuotaLedger(lake).read()

    def spend(_: int) -> ProjectQuota:
        quota = ProjectQuota(1_200_000)
        quota.share(QuotaLedger(lake), ProjectLimits())
        with quota.reserve(500):
            return quota

    with ThreadPoolExecutor(4) as pool:
        quotas = list(pool.map(spend, range(4)))
    ledger = QuotaLedger(lake).read()
    assert len(ledger.claims) == 4
    assert ledger.spent >= 4 * 500
    for quota in quotas:
        quota.release()
    assert QuotaLedger(lake).read().spent == 4 * 500


@pytest.mark.parametrize("field", ["share", "until", "before", "owner", "changes"])
def test_invalid_claims_are_ignored(tmp_path: Path, field: str) -> None:
    ledger = QuotaLedger(Lake(str(tmp_path)))
    ledger.read()
    ledger.write(Ledger({0: CLAIM, 1: CLAIM}, 5, 7))
    table = DeltaTable(str(tmp_path / QUOTA))
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        commit_properties=CommitProperties(
            app_transactions=[Transaction(f"gmail/quota/ledger/0/{field}", -5)]
        ),
    )
    assert QuotaLedger(Lake(str(tmp_path))).read() == Ledger({1: CLAIM}, 5, 7)


def test_a_location_without_a_lake_is_a_lake_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LakeError):
        QuotaLedger(Lake(str(tmp_path / "file"))).read()


def test_a_load_is_counted_and_small_syncs_write_nothing(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    tables = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]
    with Emulator(messages=60, seed=3) as gmail:
        client = client_of(gmail)
        results = sync(client.mailbox(), lake, tables)
        client.project.release()
        spent = QuotaLedger(lake).read().spent
        units = results["messages"].units
        assert units - FREE_UNITS <= spent <= units + 1
        version = DeltaTable(lake.location(QUOTA)).version()
        sync(client_of(gmail).mailbox(), lake, tables)
        assert DeltaTable(lake.location(QUOTA)).version() == version


def test_a_command_that_reads_is_counted_if_there_is_a_ledger_and_creates_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with Emulator(messages=10) as gmail:
        without = client_of(gmail)
        join_quota(without, lake)
        assert not without.project.is_shared
        assert not (tmp_path / "lake").exists()
        QuotaLedger(lake).read()
        client = client_of(gmail)
        join_quota(client, lake)
        ids = list(gmail.mailbox().store.messages)
        calls = [client.mailbox("me").api.message_call(one, "minimal") for one in ids]
        assert sum(result.error is None for result in client.mailbox("me").api.get_many(calls)) == 10
        spent = gmail.usage.total_units
        assert spent > FREE_UNITS
        client.project.release()
    ledger = QuotaLedger(lake).read()
    assert spent - FREE_UNITS <= ledger.spent <= spent
