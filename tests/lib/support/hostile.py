"""Responses of a small mailbox, and arbitrary JSON to replace any of their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from gmail_client.client import Mailbox
from gmail_client.emulator import Emulator
from gmail_client.quota import preset
from gmail_client.snapshots import SETTINGS_PARTS
from support.fake_gmail import FakeGmail, FakeRequest, FakeResponse, ManualClock, connect, error_response
from support.gmail_api import Caller

__all__ = ["BROKEN", "JSON", "places", "recorded", "replaced", "serve"]

ROOT = "/gmail/v1/users/me/"

SETTINGS = [f"settings/{name}" for name in (*SETTINGS_PARTS, "filters", "sendAs", "forwardingAddresses")]


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """Real responses of the emulator by path, for a mailbox of a few messages."""
    with Emulator(messages=8, seed=5) as gmail:
        caller = Caller(gmail)
        start = gmail.mailbox().head
        for _ in range(2):
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


def serve(change: Callable[[str, dict[str, Any]], Any]) -> Mailbox:
    """A mailbox on the recorded responses, each of which goes through a function that returns JSON or a response."""

    def handler(request: FakeRequest) -> FakeResponse:
        path = request.path.removeprefix(ROOT)
        if path not in recorded():
            return error_response(404, "notFound")
        document = json.loads(json.dumps(recorded()[path]))
        if path == "history":
            start = int(request.params["startHistoryId"][0])
            document["history"] = [record for record in document["history"] if int(record["id"]) > start]
        changed = change(path, document)
        return changed if isinstance(changed, FakeResponse) else FakeResponse(json=changed)

    return connect(FakeGmail(handler), ManualClock(), quota=preset(1_200_000)).mailbox()


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


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "forbidden": lambda document: error_response(403, "forbidden"),
    "empty": lambda document: {},
    "no id": lambda document: replaced(document, ("id",), ...),
    "another id": lambda document: replaced(document, ("id",), "18c"),
    "a lone surrogate in the id": lambda document: replaced(document, ("id",), "\ud800"),
    "a date of letters": lambda document: replaced(document, ("internalDate",), "abc"),
    "a list for the payload": lambda document: replaced(document, ("payload",), [1]),
    "a history id of 30 digits": lambda document: replaced(document, ("historyId",), "9" * 30),
    "precondition": lambda document: error_response(400, "failedPrecondition", "Precondition check failed."),
    "unavailable": lambda document: error_response(503, "backendError"),
    "not JSON": lambda document: FakeResponse(raw=b"<html>"),
}
"""Ways in which one message's response can't be used."""

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
