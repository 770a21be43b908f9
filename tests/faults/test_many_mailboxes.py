"""Many mailboxes in one process: whatever happens to one, the tables of the others equal the truth."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chaos import InstantClock, random_write
from support.examples import examples
from support.lake import assert_lake_equals_mailbox, stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.renamed import find_renamed
from gmail_assets.syncing import sync
from gmail_assets.syncing.many import MailboxOutcome, run_mailboxes
from gmail_assets.syncing.results import SyncResult
from gmail_assets.syncing.stopping import RunGroup
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault, Quota
from gmail_client.errors import GmailError
from gmail_client.quota import preset
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]
PER_PROJECT = 20_000


class Killed(Exception):  # noqa: N818 - ends a run as a kill would; the product does not catch it
    """Simulates that the process of one mailbox's run is killed at a commit."""


_lives = threading.local()


@contextmanager
def mortal_commits() -> Iterator[None]:
    """Commits of a thread with a number of lives use them up, before or after the commit."""
    write = MailboxPartition._write

    def step() -> None:
        left = getattr(_lives, "left", None)
        if left is not None:
            _lives.left = left - 1
            if left <= 0:
                raise Killed

    def stepped(*args: Any, **named: Any) -> None:
        step()
        write(*args, **named)
        step()

    with mock.patch.object(MailboxPartition, "_write", stepped):
        yield


def service_client(gmail: Emulator, folder: Path) -> GmailClient:
    key = folder / "key.json"
    gmail.service_account_file(key)
    return GmailClient(
        Credentials.of(service_account_file=key),
        api_root=gmail.url,
        oauth_root=gmail.url,
        quota=replace(preset("current"), project_per_minute=PER_PROJECT),
        clock=gmail.clock,
        workers=2,
        retry_seconds=60,
    )


def sync_all(
    client: GmailClient,
    lake: Lake,
    addresses: list[str],
    *,
    jobs: int = 8,
    group: RunGroup | None = None,
    lives: Callable[[], int | None] = lambda: None,
    renamed: bool = True,
) -> list[MailboxOutcome[dict[str, SyncResult]]]:
    group = group or RunGroup(bytes_in_flight=50_000)
    _lives.left = None
    undecided = find_renamed(lake, client.mailbox, addresses).undecided if renamed else {}

    def work(name: str) -> dict[str, SyncResult]:
        if name in undecided:
            raise undecided[name]
        _lives.left = lives()
        return sync(client.mailbox(name), lake, MAIL, group=group)

    return run_mailboxes(addresses, work, jobs=jobs, stop=group)


def trouble(rng: random.Random, address: str) -> Fault:
    return rng.choice(
        [
            Fault(status=503, mailbox=address),
            Fault(status=503, mailbox=address, share=0.3, seed=rng.randrange(1000)),
            Fault(kind="mail-not-enabled", mailbox=address),
            Fault(kind="rate-limit", mailbox=address, share=0.3, seed=rng.randrange(1000)),
            Fault(method="messages.get", kind="reset", mailbox=address, times=3),
            Fault(method="history.list", status=404, reason="notFound", mailbox=address),
            Fault(status=403, reason="forbidden", mailbox=address),
        ]
    )


def live(seed: int, *, rounds: int) -> None:
    rng = random.Random(seed)
    quota = Quota(per_user=6_000, per_project=PER_PROJECT)
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator(mailboxes=8, messages=4, seed=seed, quota=quota, clock=InstantClock()) as gmail,
        mortal_commits(),
    ):
        lake = Lake(f"{folder}/lake")
        rivals_lake = Lake(f"{folder}/./lake")  # as in another process: it shares no open table
        clients = [service_client(gmail, Path(folder)) for _ in range(2)]
        present: dict[str, str] = {}
        for number in range(rounds):
            for address in rng.sample(gmail.addresses, 3):
                gmail.faults.add(trouble(rng, address))
            odds = rng.sample([None, None, None, 1, 2, 4, 9], 7)
            pick = random.Random(rng.random())

            def lives(odds: list[int | None] = odds, pick: random.Random = pick) -> int | None:
                return pick.choice(odds)

            rival = threading.Thread(
                target=sync_all,
                args=(clients[1], rivals_lake, gmail.addresses[::-1]),
                kwargs={"jobs": 3, "lives": lives},
            )
            rival.start()
            outcomes = sync_all(clients[0], lake, gmail.addresses, jobs=rng.randint(1, 8), lives=lives)
            rival.join()
            for outcome in outcomes:
                assert outcome.error is None or isinstance(outcome.error, GmailError | Killed)
            gmail.faults.clear()
            for address in gmail.addresses:
                for _ in range(rng.randint(0, 4)):
                    random_write(gmail.mailbox(address), rng)
            address = rng.choice(gmail.addresses)
            gmail.rename_user(address, new := f"round{number}.{address}")
            present = {earlier: new if name == address else name for earlier, name in present.items()}
            present[address] = new
        healed = sync_all(clients[0], lake, gmail.addresses)
        assert {outcome.mailbox: str(outcome.error) for outcome in healed if outcome.error} == {}
        known = MailboxRegistry(lake).names()
        stored = {row["mailbox"] for row in lake.find("messages").partitions()}  # type: ignore[union-attr]
        for earlier in stored - {known.stored_as[address] for address in gmail.addresses}:
            # Only a mailbox that lost half of its stored mail before the next sync can't be recognized.
            ids = {row["id"] for row in stored_rows(lake, "messages", earlier)}
            assert 2 * len(ids & set(gmail.mailbox(present[earlier]).message_ids())) <= len(ids)
        for address in gmail.addresses:
            assert_mailbox_is_true(lake, gmail, address, known.stored_as[address])


def assert_mailbox_is_true(lake: Lake, gmail: Emulator, address: str, stored_as: str) -> None:
    """The tables equal the mailbox, which is stored under its first address."""
    with mock.patch("support.lake.stored_rows", lambda lake, name, _: stored_rows(lake, name, stored_as)):
        assert_lake_equals_mailbox(lake, gmail, MAIL, address)


def test_eight_mailboxes_live_one_round() -> None:
    live(7, rounds=1)


@pytest.mark.slow
@examples(10)
@given(st.integers(0, 2**32))
def test_eight_mailboxes_live_random_lives(seed: int) -> None:
    live(seed, rounds=3)


FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"status": 503}, "UnavailableError"),
    ({"kind": "mail-not-enabled"}, "NoMailboxError"),
    ({"method": "getProfile", "status": 403, "reason": "forbidden"}, "ForbiddenError"),
    ({"kind": "rate-limit"}, "RateLimitError"),
    ({"kind": "reset"}, "UnavailableError"),
    ({"method": "messages.list", "status": 403, "reason": "domainPolicy"}, "ForbiddenError"),
    ({"status": 401, "reason": "authError"}, "CredentialsError"),
    ({"kind": "truncate"}, "UnavailableError"),
    ({"kind": "precondition"}, "NoMailboxError"),
    ({"method": "threads.list", "status": 500}, "UnavailableError"),
]


def rows_of(lake: Lake) -> Callable[..., list[dict[str, Any]]]:
    """`stored_rows` of tables that are read once, for hundreds of mailboxes."""
    by_mailbox: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for spec in MAIL:
        delta = lake.find(spec.table_name)
        assert delta is not None
        for row in delta.to_pyarrow_table().to_pylist():
            by_mailbox.setdefault((spec.table_name, row.pop("mailbox")), []).append(row)
    return lambda _, name, address: by_mailbox.get((name, address), [])


def ten_fail(mailboxes: int, failing: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator(mailboxes=mailboxes, messages=4, seed=3, clock=InstantClock()) as gmail,
    ):
        lake = Lake(f"{folder}/lake")
        client = service_client(gmail, Path(folder))
        ill = dict(zip(gmail.addresses[1 :: mailboxes // failing], FAILURES, strict=False))
        for address, (fault, _) in ill.items():
            gmail.faults.add(Fault(**{**fault, "mailbox": address}))
        outcomes = sync_all(client, lake, gmail.addresses, jobs=16)
        assert [outcome.mailbox for outcome in outcomes] == gmail.addresses
        failed = {outcome.mailbox: outcome for outcome in outcomes if outcome.error is not None}
        assert failed.keys() == ill.keys()
        assert all(outcome.attempts == 2 for outcome in failed.values())
        for address, outcome in failed.items():
            assert isinstance(outcome.error, GmailError)
            assert type(outcome.error).__name__ == ill[address][1]
            assert outcome.error.fix
        gmail.faults.clear()
        with mock.patch("support.lake.stored_rows", rows_of(lake)):
            for address in gmail.addresses:
                if address not in ill:
                    assert_lake_equals_mailbox(lake, gmail, MAIL, address, history=True)


def test_the_others_equal_the_truth_when_some_fail() -> None:
    ten_fail(12, 6)


@pytest.mark.slow
def test_190_of_200_equal_the_truth() -> None:
    ten_fail(200, 10)


def test_a_mailbox_that_never_answers_costs_few_requests() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator(mailboxes=2, messages=2, seed=3, clock=InstantClock()) as gmail,
    ):
        gmail.faults.add(Fault(status=503, mailbox=gmail.addresses[0]))
        client = service_client(gmail, Path(folder))
        began = gmail.clock.time()
        ill, well = sync_all(client, Lake(f"{folder}/lake"), gmail.addresses)
        assert (ill.attempts, well.error) == (2, None)
        (fault,) = gmail.faults.listed()
        assert fault["done"] <= 16
        assert gmail.clock.time() - began < 2 * 60 + 60  # of the simulated clock: two attempts of 60 s
