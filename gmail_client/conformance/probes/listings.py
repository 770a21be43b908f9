"""Questions about messages.list, threads.list, drafts.list and getProfile."""

from __future__ import annotations

from itertools import pairwise

from gmail_client.conformance.evidence import CannotTell, Evidence, items
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true
from gmail_client.conformance.reads import PAGE, SMALL_PAGE

__all__ = ["PROBES"]

_FEW = 8
"""Minimum number of messages that show the order of a listing."""


def _order(evidence: Evidence) -> Answer:
    """The order of message ids, which rise with the time of arrival."""
    ids = [_hexadecimal(message.get("id")) for message in items(evidence.json("listing"), "messages")]
    if len(ids) < _FEW:
        raise CannotTell(f"the mailbox has fewer than {_FEW} messages")
    falling = sum(earlier > later for earlier, later in pairwise(ids)) / (len(ids) - 1)
    if falling >= 0.8:
        return Answer("newest", len(ids))
    return Answer("oldest" if falling <= 0.2 else "shuffled", len(ids))


def _hexadecimal(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError:
        return 0


def _page_size(evidence: Evidence) -> Answer:
    pages = evidence.pages("small pages")
    if "nextPageToken" not in pages[0]:
        raise CannotTell(f"the mailbox has no more than {SMALL_PAGE} messages")
    size = len(items(pages[0], "messages"))
    return Answer("full" if size == SMALL_PAGE else "short" if size else "empty")


def _empty_pages(evidence: Evidence) -> Answer:
    pages = evidence.pages("small pages")
    if len(pages) < 2:
        raise CannotTell(f"the mailbox has no more than {SMALL_PAGE} messages")
    empty = sum(not items(page, "messages") and "nextPageToken" in page for page in pages)
    return Answer("seen" if empty else "0", len(pages))


def _no_overlap(evidence: Evidence) -> Answer:
    pages = [
        [message.get("id") for message in items(page, "messages")] for page in evidence.pages("small pages")
    ]
    if len(pages) < 2 or not pages[1]:
        raise CannotTell("the mailbox has one small page only")
    return Answer("no" if set(pages[0]) & set(pages[1]) else "yes", len(pages))


def _absent_key(evidence: Evidence) -> Answer:
    page = evidence.json("empty listing")
    if items(page, "messages"):
        raise CannotTell("a search that should match nothing matches a message")
    return Answer("empty list" if "messages" in page else "absent")


def _item_keys(evidence: Evidence) -> Answer:
    listed = items(evidence.json("listing"), "messages")
    return all_true((message.keys() == {"id", "threadId"} for message in listed), "there are no messages")


def _large_page(evidence: Evidence) -> Answer:
    reply = evidence.reply("large page")
    if reply.status == 400:
        return Answer("refuse")
    size = len(items(evidence.json("large page"), "messages"))
    return Answer("clamp" if size <= PAGE else "more")


def _spam_trash(evidence: Evidence) -> Answer:
    """Whether a listing without includeSpamTrash leaves out the trash."""
    trash = {message.get("id") for message in items(evidence.json("trash"), "messages")}
    if not trash:
        raise CannotTell("there is nothing in the trash")
    listed = {message.get("id") for message in items(evidence.json("listing"), "messages")}
    return Answer("no" if trash & listed else "yes", len(trash))


def _labels_reach_trash(evidence: Evidence) -> Answer:
    if not items(evidence.json("trash"), "messages"):
        raise CannotTell("there is nothing in the trash")
    return Answer("true" if items(evidence.json("trash by label"), "messages") else "false")


def _total(evidence: Evidence) -> Answer:
    """Compare messagesTotal with a complete listing."""
    page = evidence.json("anywhere")
    before, after = evidence.json("profile"), evidence.json("profile afterwards")
    if "nextPageToken" in page:
        raise CannotTell(f"the mailbox has more than {PAGE} messages")
    if before.get("messagesTotal") != after.get("messagesTotal"):
        raise CannotTell("the mailbox changed meanwhile")
    count = len(items(page, "messages"))
    visible = len(items(evidence.json("listing"), "messages"))
    if count == visible:
        raise CannotTell("there is nothing in spam and trash")
    return Answer(
        {count: "counted", visible: "not counted"}.get(before.get("messagesTotal", -1), "other"), count
    )


def _drafts(evidence: Evidence) -> Answer:
    listed = items(evidence.json("drafts"), "drafts")
    return all_true(
        (
            draft.keys() == {"id", "message"} and set(draft["message"]) == {"id", "threadId"}
            for draft in listed
        ),
        "there are no drafts",
    )


def _id_form(evidence: Evidence) -> Answer:
    listed = items(evidence.json("listing"), "messages")
    return all_true(
        (len(str(message.get("id"))) <= 16 and _hexadecimal(message.get("id")) > 0 for message in listed),
        "there are no messages",
    )


def _thread_ids(evidence: Evidence) -> Answer:
    """Whether the id of a thread is that of one of its messages."""
    listed = items(evidence.json("anywhere"), "messages")
    if "nextPageToken" in evidence.json("anywhere") or not listed:
        raise CannotTell("the mailbox is empty or has too many messages")
    ids = {message.get("id") for message in listed}
    threads = {message.get("threadId") for message in listed}
    share = len(threads & ids) / len(threads)
    return Answer("mostly" if share >= 0.5 else "rarely", len(threads))


PROBES: tuple[Probe, ...] = (
    Probe(
        "listings.order",
        "In which order are messages listed?",
        "newest",
        _order,
        "None for a complete load; an interrupted first load has not stored the newest messages first.",
        basis="assumed",
        behavior="listing_order",
    ),
    Probe(
        "listings.page_size",
        "Are all pages except the last one full?",
        "full",
        _page_size,
        "None: all pages are read, independent of their size.",
        basis="assumed",
    ),
    Probe(
        "listings.empty_pages",
        "Are there empty pages before the last one?",
        "0",
        _empty_pages,
        "None: all pages are read. A full load takes a little longer.",
        basis="assumed",
        behavior="empty_pages",
    ),
    Probe(
        "listings.no_overlap",
        "Do two pages list different messages?",
        "yes",
        _no_overlap,
        "None: a message that is listed twice is fetched once.",
        basis="assumed",
    ),
    Probe(
        "listings.absent_key",
        "Is the key `messages` absent if nothing matches?",
        "absent",
        _absent_key,
        "None: both count as an empty list.",
    ),
    Probe(
        "listings.item_keys",
        "Does messages.list return id and threadId, and nothing else?",
        "yes",
        _item_keys,
        "None if there are more fields; without threadId a load fails with a response error.",
    ),
    Probe(
        "listings.large_page",
        "What happens to a maxResults above 500?",
        "clamp",
        _large_page,
        "None: gmail-assets requests at most 500.",
        basis="assumed",
        behavior="max_results_above",
    ),
    Probe(
        "listings.spam_trash",
        "Does a listing without includeSpamTrash exclude the trash?",
        "yes",
        _spam_trash,
        "messages has rows from the trash although includeSpamTrash is off. Please report it.",
    ),
    Probe(
        "listings.labels_reach_trash",
        "Does labelIds=TRASH find messages without includeSpamTrash?",
        "true",
        _labels_reach_trash,
        "A table with labelIds=TRASH or SPAM needs includeSpamTrash too, or it is empty.",
        basis="assumed",
        behavior="label_ids_reach_spam_trash",
    ),
    Probe(
        "listings.total",
        "Does messagesTotal of the profile count spam and trash?",
        "counted",
        _total,
        "None for the tables; the estimates of `plan` and progress bars are a little too low or too high.",
        basis="assumed",
    ),
    Probe(
        "listings.drafts",
        "Does drafts.list return the id of each draft and of its message, and nothing else?",
        "yes",
        _drafts,
        "None if there are more fields.",
    ),
    Probe(
        "listings.id_form",
        "Are message ids hexadecimal numbers of at most 16 digits?",
        "yes",
        _id_form,
        "None: ids are text in the tables.",
        basis="captured",
    ),
    Probe(
        "listings.thread_ids",
        "Is the id of a thread the id of one of its messages?",
        "mostly",
        _thread_ids,
        "None: gmail-assets does not rely on it.",
        basis="assumed",
    ),
)
"""The probes of this subject."""
