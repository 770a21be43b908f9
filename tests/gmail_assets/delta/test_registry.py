"""The registry of mailbox names, also with many concurrent runs."""

from __future__ import annotations

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MAILBOXES, MailboxRegistry
from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages
from gmail_client.errors import ConfigurationError

ADA = "ada@example.test"


def test_a_user_id_is_registered_once_for_one_address(tmp_path: Path) -> None:
    registry = MailboxRegistry(Lake(str(tmp_path)))
    assert registry.address_of("me") is None
    registry.check_name("me", ADA)
    registry.check_name("me", ADA)
    assert registry.address_of("me") == ADA
    for _ in ("a new mailbox", "one that the lake has"):
        with pytest.raises(ConfigurationError, match=r"in this lake it was ada@example.test"):
            registry.check_name("me", "bob@example.test")
        registry.check_name("bob@example.test", "bob@example.test")


def test_concurrent_runs_all_register_their_entries(tmp_path: Path) -> None:
    names = [f"user{index}@example.test" for index in range(6)]
    start = Barrier(len(names))

    def begin(name: str) -> None:
        start.wait()
        lake = Lake(str(tmp_path))
        MailboxRegistry(lake).check_name(name, name)
        lake.table("messages")
        UnfetchedMessages(lake).replace(name, "messages", {"a": Unfetched("t", "refused")})

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(begin, names))
    lake = Lake(str(tmp_path))
    registry, unfetched = MailboxRegistry(lake), UnfetchedMessages(lake)
    assert [registry.address_of(name) for name in names] == names
    assert all(unfetched.of_table(name, "messages").keys() == {"a"} for name in names)


def test_the_names_of_a_mailbox_are_removed_without_those_of_others(tmp_path: Path) -> None:
    registry = MailboxRegistry(Lake(str(tmp_path)))
    registry.check_name("me", ADA)
    registry.check_name("bob@example.test", "bob@example.test")
    assert registry.names_of(ADA) == [ADA, "me"]
    registry.remove_names(ADA)
    assert registry.names_of(ADA) == []
    assert registry.address_of("bob@example.test") == "bob@example.test"


def test_a_registry_of_an_earlier_release_is_read_and_no_longer_served_to_it(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[2] / "fixtures" / "lake_state_v2.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    lake = Lake(str(tmp_path / "lake"))
    registry = MailboxRegistry(lake)
    assert registry.address_of("me") == "complete@example.test"
    assert UnfetchedMessages(lake).of_table("loading@example.test", "messages").keys() == {"z"}
    registry.check_name("me", "complete@example.test")
    assert registry.names_of("complete@example.test") == ["complete@example.test", "me"]
    rows = {row["name"]: row["mailbox"] for row in lake.find(MAILBOXES).to_pyarrow_table().to_pylist()}  # type: ignore[union-attr]
    assert rows.pop("loading@example.test") == "loading@example.test"
    # The earlier release compares this with the address from Gmail and refuses to continue.
    assert all("upgrade" in mailbox for mailbox in rows.values())
