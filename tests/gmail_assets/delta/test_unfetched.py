"""The retry queue of failed messages."""

from __future__ import annotations

from pathlib import Path

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages

ADA = "ada@example.test"


def test_failures_are_replaced_for_one_table_of_one_mailbox(tmp_path: Path) -> None:
    unfetched = UnfetchedMessages(Lake(str(tmp_path)))
    unfetched.replace(ADA, "messages", {"a": Unfetched("t", "refused"), "b": Unfetched("t", "refused", 3)})
    unfetched.replace(ADA, "threads", {"a": Unfetched("t", "refused")})
    unfetched.replace(ADA, "messages", {"b": unfetched.of_table(ADA, "messages")["b"]})
    assert unfetched.of_table(ADA, "messages").keys() == {"b"}
    assert unfetched.of_table(ADA, "messages")["b"].attempts == 3
    assert unfetched.of_table(ADA, "messages")["b"].first_failed is not None
    assert unfetched.of_table(ADA, "threads").keys() == {"a"}
    unfetched.replace(ADA, "messages", {})
    assert unfetched.of_table(ADA, "messages") == {}
    assert unfetched.mailboxes() == {ADA}
