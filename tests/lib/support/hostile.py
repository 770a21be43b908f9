"""Responses of a small mailbox, and arbitrary JSON to replace any of their values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from gmail_client.emulator import Emulator
from gmail_client.snapshots import SETTINGS_PARTS
from support.gmail_api import Caller

__all__ = ["JSON", "places", "recorded", "replaced"]

SETTINGS = [f"settings/{name}" for name in (*SETTINGS_PARTS, "filters", "sendAs", "forwardingAddresses")]


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """Real responses of the emulator by path, for a mailbox of a few messages."""
    with Emulator(messages=8, seed=5) as gmail:
        caller = Caller(gmail)
        start = gmail.mailbox().head
        gmail.mailbox().create_draft(gmail.mailbox().random_mail())
        for message_id in gmail.mailbox().message_ids()[:3]:
            gmail.mailbox().modify(message_id, ["STARRED"])
        gmail.mailbox().delete(gmail.mailbox().message_ids()[-1])
        found = {"profile": caller.me("profile"), "history": caller.me("history", startHistoryId=start)}
        for path in ("messages", "threads", "drafts", "labels"):
            found[path] = caller.me(path, includeSpamTrash="true") if path != "labels" else caller.me(path)
            for item in found[path].get(path, []):
                found[f"{path}/{item['id']}"] = caller.me(f"{path}/{item['id']}")
        for path in SETTINGS:
            found[path] = caller.me(path)
        caller.close()
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    *parents, last = path
    target = document
    for key in parents:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [2**63, -(2**63) - 1, 10**30, float("nan"), float("inf"), 1e300, "", "abc", "-1", "\ud800"]
    )
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
) | st.sampled_from([..., "9" * 30, "9" * 5_000, ["INBOX", "INBOX"], "x\x1b[2J", "\u202e"])
