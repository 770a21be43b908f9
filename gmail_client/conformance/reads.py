"""The reads for the probes: `READS`, and `read_all`, which keeps the responses also after a failure.

Every read is a GET. With the prices of May 2026 they cost at most 300 units together; `Read.units` is the maximum cost
of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gmail_client.conformance.evidence import MALFORMED, CannotTell, Evidence, items, number, part_list
from gmail_client.errors import (
    ApiDisabledError,
    CredentialsError,
    DailyLimitError,
    GmailError,
    NoMailboxError,
    ScopeError,
)
from gmail_client.http.exchange import Exchange, Reply

__all__ = ["READS", "Read", "read_all"]

PAGE = 500
SMALL_PAGE = 10
MAX_LABELS = 6
MAX_GHOSTS = 2
MAX_HISTORY_PAGES = 5
MAX_THREAD = 12
"""Messages of the thread that is read in full."""
FAR_AHEAD = 10**9
ABSENT_ID = "1"
"""A valid id that no message has: ids are 16 digits long."""
MALFORMED_ID = "not-an-id"
ABSENT_LABEL = "Label_999999999999"
NOTHING_MATCHES = "rfc822msgid:this.id.exists.nowhere@gmail-assets.invalid"
UNLABELLED = "has:nouserlabels -in:inbox -in:sent -in:drafts -in:chats -is:unread -is:starred -is:important"
SETTINGS = {
    "settings.getAutoForwarding": "/settings/autoForwarding",
    "settings.getImap": "/settings/imap",
    "settings.getLanguage": "/settings/language",
    "settings.getPop": "/settings/pop",
    "settings.getVacation": "/settings/vacation",
    "settings.filters.list": "/settings/filters",
    "settings.forwardingAddresses.list": "/settings/forwardingAddresses",
    "settings.sendAs.list": "/settings/sendAs",
    "settings.delegates.list": "/settings/delegates",
}

_STOPS = (ApiDisabledError, CredentialsError, DailyLimitError, NoMailboxError)


@dataclass(frozen=True, slots=True)
class Read:
    """Some requests that belong together.

    Attributes:
        name: Name of the read.
        units: The maximum cost in quota units.
        run: Sends the requests and adds the responses to the evidence.
    """

    name: str
    units: int
    run: Callable[[Exchange, Evidence], None]


def read_all(exchange: Exchange, evidence: Evidence, progress: Callable[[str], None]) -> GmailError | None:
    """Run all reads. A refused read is recorded in the evidence, and the others continue.

    Args:
        exchange: Sends the requests.
        evidence: Receives the responses; complete up to the failure if the reading ends early.
        progress: Called with the name of each read.

    Returns:
        The error that ended the reading early, as every later call would have met it too; None otherwise.
    """
    evidence.refusals = exchange.refusals
    for read in READS:
        progress(read.name)
        try:
            read.run(exchange, evidence)
        except CannotTell as reason:
            evidence.problems.setdefault(read.name, str(reason))
        except _STOPS as error:
            evidence.problems[read.name] = error.what
            return error
        except GmailError as error:
            evidence.problems[read.name] = error.what
        except MALFORMED as error:
            evidence.problems[read.name] = f"a response has an unexpected form ({type(error).__name__})"
    return None


def _one(
    name: str, units: int, method: str, path: str, params: dict[str, Any] | None = None, variant: str = ""
) -> Read:
    """A read of one request."""

    def run(exchange: Exchange, evidence: Evidence) -> None:
        _keep(evidence, name, exchange.get(method, path, params, variant))

    return Read(name, units, run)


def _keep(evidence: Evidence, name: str, reply: Reply) -> Reply:
    if isinstance(reply.error, ScopeError):
        raise reply.error
    evidence.replies.setdefault(name, []).append(reply)
    return reply


def _messages(name: str, variant: str, **params: Any) -> Read:
    return _one(name, 5, "messages.list", "/messages", {"maxResults": PAGE, **params}, variant)


def _small_pages(exchange: Exchange, evidence: Evidence) -> None:
    params: dict[str, Any] = {"maxResults": SMALL_PAGE}
    for _ in range(2):
        reply = _keep(
            evidence, "small pages", exchange.get("messages.list", "/messages", params, "small page")
        )
        token = (reply.json or {}).get("nextPageToken")
        if not token:
            return
        params = {**params, "pageToken": token}


def _history(exchange: Exchange, start: int | str, variant: str, **params: Any) -> Reply:
    return exchange.get(
        "history.list", "/history", {"startHistoryId": start, "maxResults": PAGE, **params}, variant
    )


def _oldest_history(exchange: Exchange, evidence: Evidence) -> None:
    """Read the history from the oldest start that is still valid, found among the history ids of threads.

    A binary search: at most nine starts for 500 threads, and the pages from the one that was found.
    """
    known = {number(thread.get("historyId")) for thread in items(evidence.json("threads"), "threads")}
    known.add(evidence.head)
    starts = sorted(known - {0}, reverse=True)
    valid: tuple[int, Reply] | None = None
    low, high = 0, len(starts) - 1
    while low <= high:
        middle = (low + high) // 2
        reply = _history(exchange, starts[middle], "")
        if reply.status == 200:
            valid = starts[middle], reply
            low = middle + 1
        else:
            if reply.status != 404:
                _keep(evidence, "history", reply)
                return
            evidence.replies.setdefault("expired history", []).append(reply)
            high = middle - 1
    if valid is None:
        raise CannotTell("no history id of a thread is a valid start any more")
    evidence.history_start, reply = valid
    _keep(evidence, "history", reply)
    for _ in range(MAX_HISTORY_PAGES - 1):
        token = (reply.json or {}).get("nextPageToken")
        if not token:
            return
        reply = _keep(evidence, "history", _history(exchange, evidence.history_start, "", pageToken=token))


def _history_boundary(exchange: Exchange, evidence: Evidence) -> None:
    """Read the history again, so that a page ends at a record of several messages."""
    records = items(evidence.json("history"), "history")
    several = [len({message.get("id") for message in items(record, "messages")}) > 1 for record in records]
    if True not in several:
        raise CannotTell("no history record names several messages")
    size = several.index(True) + 1
    reply = _keep(
        evidence,
        "history boundary",
        _history(exchange, evidence.history_start, "boundary", maxResults=size),
    )
    token = (reply.json or {}).get("nextPageToken")
    if token:
        _keep(
            evidence,
            "history boundary",
            _history(exchange, evidence.history_start, "boundary", maxResults=size, pageToken=token),
        )


def _history_starts(exchange: Exchange, evidence: Evidence) -> None:
    head = evidence.head
    _keep(evidence, "future history", _history(exchange, head + FAR_AHEAD, "future"))
    _keep(evidence, "first history", _history(exchange, 1, "expired"))
    _keep(evidence, "malformed history", _history(exchange, MALFORMED_ID, "malformed"))


def _history_types(exchange: Exchange, evidence: Evidence) -> None:
    start = evidence.history_start or evidence.head
    _keep(evidence, "history types", _history(exchange, start, "types", historyTypes=["messageAdded"]))


def _thread(exchange: Exchange, evidence: Evidence) -> None:
    thread_id = next(_threads_to_read(evidence), None)
    if thread_id is None:
        raise CannotTell("the mailbox has no threads")
    reply = exchange.get("threads.get", f"/threads/{quote(thread_id, safe='')}", {"format": "full"}, "full")
    _keep(evidence, "thread", reply)


def _threads_to_read(evidence: Evidence) -> Iterator[str]:
    """Threads by how much they can show: one with a message in the trash and others, then the longest."""
    members: dict[str, int] = {}
    for message in items(evidence.json("listing"), "messages"):
        thread_id = str(message.get("threadId"))
        members[thread_id] = members.get(thread_id, 0) + 1
    if "trash" in evidence.replies and evidence.reply("trash").status == 200:
        for message in items(evidence.json("trash"), "messages"):
            if 0 < members.get(str(message.get("threadId")), 0) < MAX_THREAD:
                yield str(message["threadId"])
    fitting = [thread_id for thread_id, count in members.items() if count <= MAX_THREAD]
    if fitting:
        yield max(fitting, key=lambda thread_id: members[thread_id])
    yield from members
    for thread in items(evidence.json("threads"), "threads"):
        yield str(thread.get("id"))


def _batch(exchange: Exchange, evidence: Evidence) -> None:
    """Messages in several formats, labels, and ids that do not exist, all in one batch."""
    calls: list[tuple[str, str, dict[str, Any], str]] = []
    for message_id, formats in _samples(evidence):
        path = f"/messages/{quote(message_id, safe='')}"
        calls += [("messages.get", path, {"format": form}, form) for form in formats]
    calls.append(("messages.get", f"/messages/{ABSENT_ID}", {"format": "minimal"}, "absent"))
    calls.append(("messages.get", f"/messages/{MALFORMED_ID}", {"format": "minimal"}, "malformed"))
    labels = [*_labels_to_get(evidence), ABSENT_LABEL]
    calls += [("labels.get", f"/labels/{quote(label, safe='')}", {}, "") for label in labels]
    batch = exchange.batch(calls)
    evidence.batch = batch
    for index, (method, path, _, variant) in enumerate(calls):
        reply = batch.answers[index]
        item_id = path.rpartition("/")[2]
        if variant in ("absent", "malformed"):
            evidence.replies[f"{variant} id"] = [reply]
        elif method == "labels.get":
            evidence.labels_by_id[labels[len(labels) - len(calls) + index]] = reply
        else:
            evidence.messages.setdefault(item_id, {})[variant] = reply


def _samples(evidence: Evidence) -> list[tuple[str, tuple[str, ...]]]:
    """Messages to get with their formats: at most four gets.

    One of the thread is read raw, one with an attachment in full and raw, one without labels with its headers only.
    """
    thread = evidence.replies.get("thread")
    members = items(thread[0].json or {}, "messages") if thread else []
    found: list[tuple[str, tuple[str, ...]]] = []
    with_attachment = [str(message.get("id")) for message in _listed(evidence, "attachments")]
    inside = [
        str(message.get("id"))
        for message in members
        if any(
            part.get("mimeType") == "multipart/alternative" for part in part_list(message.get("payload", {}))
        )
    ] or [str(message.get("id")) for message in members]
    shared = next((message_id for message_id in inside if message_id in with_attachment), None)
    if shared is not None:
        with_attachment = []
        found.append((shared, ("full", "raw")))
    elif inside:
        found.append((inside[0], ("raw",)))
    if with_attachment or shared is None:
        listed = [str(message.get("id")) for message in _listed(evidence, "listing")]
        chosen = next(iter([*with_attachment, *listed]), None)
        if chosen is not None:
            found = [entry for entry in found if entry[0] != chosen]
            found.append((chosen, ("full", "raw")))
    plain = _with_unlisted_labels(evidence)
    plain += [str(message.get("id")) for message in _listed(evidence, "unlabelled")]
    if not plain:
        plain = [str(message.get("id")) for message in _listed(evidence, "listing")]
    taken = {message_id for message_id, _ in found}
    alone = next((message_id for message_id in plain if message_id not in taken), None)
    if alone is not None:
        found.append((alone, ("metadata",)))
    return found


def _with_unlisted_labels(evidence: Evidence) -> list[str]:
    """Messages whose last history record shows a label that labels.list does not name."""
    last: dict[str, list[Any]] = {}
    try:
        for _, kind, event in evidence.events():
            message = event.get("message") or {}
            gone = kind == "messagesDeleted"
            last[str(message.get("id"))] = [] if gone else list(message.get("labelIds") or ())
        listed = evidence.listed_labels
    except CannotTell:
        return []
    return [message_id for message_id, labels in last.items() if any(label not in listed for label in labels)]


def _listed(evidence: Evidence, name: str) -> list[dict[str, Any]]:
    replies = evidence.replies.get(name)
    return items(replies[0].json or {}, "messages") if replies and replies[0].status == 200 else []


def _labels_to_get(evidence: Evidence) -> list[str]:
    """Some labels of labels.list, the user's first, and labels that only messages have."""
    if "labels" not in evidence.replies:
        return []
    listed = evidence.listed_labels
    user = [label_id for label_id, label in listed.items() if label.get("type") == "user"]
    system = [label_id for label_id in ("INBOX", "UNREAD") if label_id in listed]
    ghosts = list(
        dict.fromkeys(label_id for label_id in _labels_of_messages(evidence) if label_id not in listed)
    )
    return [*user[: MAX_LABELS - len(system)], *system, *ghosts[:MAX_GHOSTS]]


def _labels_of_messages(evidence: Evidence) -> Iterator[str]:
    for reply in evidence.replies.get("thread", []):
        for message in items(reply.json or {}, "messages"):
            yield from map(str, message.get("labelIds") or ())
    try:
        for _, _, event in evidence.events():
            yield from map(str, (event.get("message") or {}).get("labelIds") or ())
    except CannotTell:
        return


def _settings(exchange: Exchange, evidence: Evidence) -> None:
    for method, path in SETTINGS.items():
        _keep(evidence, method, exchange.get(method, path))


READS: tuple[Read, ...] = (
    _one("profile", 1, "getProfile", "/profile"),
    _one("labels", 1, "labels.list", "/labels"),
    _messages("listing", ""),
    Read("small pages", 10, _small_pages),
    _messages("anywhere", "with spam and trash", includeSpamTrash=True),
    _messages("trash by label", "by label", labelIds=["TRASH"]),
    _messages("trash", "by label, with spam and trash", labelIds=["TRASH"], includeSpamTrash=True),
    _messages("large page", "large page", maxResults=PAGE + 1),
    _messages("empty listing", "nothing matches", q=NOTHING_MATCHES),
    _messages("attachments", "search", q="has:attachment smaller:500K", maxResults=50),
    _messages("unlabelled", "search", q=UNLABELLED, maxResults=10),
    _one("threads", 10, "threads.list", "/threads", {"maxResults": PAGE}),
    _one("drafts", 5, "drafts.list", "/drafts", {"maxResults": PAGE}),
    Read("history", 2 * (9 + MAX_HISTORY_PAGES - 1), _oldest_history),
    Read("history boundary", 4, _history_boundary),
    Read("history starts", 6, _history_starts),
    Read("history types", 2, _history_types),
    Read("thread", 40, _thread),
    Read("batch", 4 * 20 + 2 * 20 + MAX_LABELS + MAX_GHOSTS + 1, _batch),
    Read("settings", len(SETTINGS), _settings),
    _one("profile afterwards", 1, "getProfile", "/profile"),
)
"""All reads, in order. A later read uses the responses of earlier ones."""
