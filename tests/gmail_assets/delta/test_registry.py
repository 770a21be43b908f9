"""What the lake remembers that is no mail: names and failures, also when many runs begin at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry, Unfetched
from gmail_client.errors import ConfigurationError

ADA = "ada@example.test"


def test_a_name_is_noted_once_and_never_becomes_another_address(tmp_path: Path) -> None:
    registry = MailboxRegistry(Lake(str(tmp_path)))
    assert registry.address_of("me") is None
    registry.check_name("me", ADA)
    registry.check_name("me", ADA)
    assert registry.address_of("me") == ADA
    with pytest.raises(ConfigurationError, match=r"in this lake it was ada@example.test"):
        registry.check_name("me", "bob@example.test")


def test_failures_are_replaced_for_one_table_of_one_mailbox(tmp_path: Path) -> None:
    registry = MailboxRegistry(Lake(str(tmp_path)))
    registry.set_unfetched(
        ADA, "messages", {"a": Unfetched("t", "refused"), "b": Unfetched("t", "refused", 3)}
    )
    registry.set_unfetched(ADA, "threads", {"a": Unfetched("t", "refused")})
    registry.set_unfetched(ADA, "messages", {"b": registry.unfetched(ADA, "messages")["b"]})
    assert registry.unfetched(ADA, "messages").keys() == {"b"}
    assert registry.unfetched(ADA, "messages")["b"].attempts == 3
    assert registry.unfetched(ADA, "messages")["b"].first_failed is not None
    assert registry.unfetched(ADA, "threads").keys() == {"a"}
    registry.set_unfetched(ADA, "messages", {})
    assert registry.unfetched(ADA, "messages") == {}


def test_many_runs_that_begin_at_once_all_note_what_they_have_to(tmp_path: Path) -> None:
    names = [f"user{index}@example.test" for index in range(6)]
    start = Barrier(len(names))

    def begin(name: str) -> None:
        start.wait()
        lake = Lake(str(tmp_path))
        MailboxRegistry(lake).check_name(name, name)
        lake.table("messages")
        MailboxRegistry(lake).set_unfetched(name, "messages", {"a": Unfetched("t", "refused")})

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(begin, names))
    registry = MailboxRegistry(Lake(str(tmp_path)))
    assert [registry.address_of(name) for name in names] == names
    assert all(registry.unfetched(name, "messages").keys() == {"a"} for name in names)
