"""Questions about threads.list and threads.get."""

from __future__ import annotations

from gmail_client.conformance.evidence import CannotTell, Evidence, items, number
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true

__all__ = ["PROBES"]

_LABEL_CHANGES = ("labelsAdded", "labelsRemoved")
_HIDDEN = {"SPAM", "TRASH"}


def _moves_with_labels(evidence: Evidence) -> Answer:
    """Compare the history id of listed threads with their last record, if that changes labels only."""
    if not evidence.history_is_complete:
        raise CannotTell("the history has more pages than were read")
    last: dict[str, tuple[int, str]] = {}
    thread_of = {
        str(message.get("id")): str(message.get("threadId"))
        for name in ("listing", "anywhere")
        for message in items(evidence.json(name), "messages")
    }
    for record, kind, event in evidence.events():
        message = event.get("message") or {}
        thread_id = str(message.get("threadId") or thread_of.get(str(message.get("id")), ""))
        record_id = number(record.get("id"))
        if kind in _LABEL_CHANGES and last.get(thread_id, (0, ""))[0] == record_id:
            continue  # the same record also adds or deletes
        last[thread_id] = record_id, kind
    moved = [
        number(thread.get("historyId")) >= last[thread_id][0]
        for thread in items(evidence.json("threads"), "threads")
        if (thread_id := str(thread.get("id"))) in last
        and last[thread_id][1] in _LABEL_CHANGES
        and last[thread_id][0] <= evidence.head
    ]
    return all_true(moved, "no listed thread has a label change as its last change", yes="true", no="false")


def _includes_trash(evidence: Evidence) -> Answer:
    thread = evidence.json("thread")
    hidden = {
        str(message.get("id"))
        for message in items(evidence.json("trash"), "messages")
        if message.get("threadId") == thread.get("id")
    }
    if not hidden:
        raise CannotTell("no listed thread has a message in the trash")
    shown = {str(message.get("id")) for message in items(thread, "messages")}
    return Answer("true" if hidden <= shown else "false", len(hidden))


def _snippet(evidence: Evidence) -> Answer:
    return Answer("true" if "snippet" in evidence.json("thread") else "false")


def _order(evidence: Evidence) -> Answer:
    dates = [number(message.get("internalDate")) for message in items(evidence.json("thread"), "messages")]
    if len(dates) < 2:
        raise CannotTell("the thread that was read has one message only")
    return Answer("yes" if dates == sorted(dates) else "no", len(dates))


def _same_form(evidence: Evidence) -> Answer:
    """Compare the keys of messages in a thread with those of messages on their own."""
    inside = {key for message in items(evidence.json("thread"), "messages") for key in message}
    alone = {
        key
        for replies in evidence.messages.values()
        if (reply := replies.get("full")) is not None and reply.json
        for key in reply.json
    }
    if not inside or not alone:
        raise CannotTell("no message was read on its own")
    optional = {"labelIds", "classificationLabelValues", "snippet"}
    return Answer("yes" if inside - optional == alone - optional else "no", 2)


def _listed_keys(evidence: Evidence) -> Answer:
    listed = items(evidence.json("threads"), "threads")
    return all_true(
        ({"id", "historyId", "snippet"} <= thread.keys() for thread in listed), "there are no threads"
    )


PROBES: tuple[Probe, ...] = (
    Probe(
        "threads.moves_with_labels",
        "Does the historyId of a thread rise when labels of its messages change?",
        "true",
        _moves_with_labels,
        "After an expired history, threads with label changes look unchanged. gmail-assets samples them each time, "
        "finds the mismatch and reads all labels again: such a reconciliation costs as much as listing every label.",
        basis="assumed",
        behavior="thread_history_moves_with_labels",
    ),
    Probe(
        "threads.includes_trash",
        "Does threads.get return messages in the trash?",
        "true",
        _includes_trash,
        "With includeSpamTrash, messages of threads in the trash are fetched one by one, at 20 units each.",
        basis="captured",
        behavior="threads_get_includes_trash",
    ),
    Probe(
        "threads.get_snippet",
        "Does threads.get return a snippet of the thread?",
        "false",
        _snippet,
        "None: the snippet of a thread comes from the listing, or from its newest message.",
        basis="captured",
        behavior="threads_get_snippet",
    ),
    Probe(
        "threads.order",
        "Are the messages of a thread in the order of internalDate?",
        "yes",
        _order,
        "None: messages of a thread are sorted before they are stored.",
        basis="captured",
    ),
    Probe(
        "threads.same_form",
        "Does a message in a thread have the same fields as in messages.get?",
        "yes",
        _same_form,
        "Rows of messages may differ by how they were fetched. Please report it.",
    ),
    Probe(
        "threads.listed_keys",
        "Does threads.list return id, historyId and snippet of every thread?",
        "yes",
        _listed_keys,
        "A reconciliation can't skip unchanged threads: it fetches them, or reads all labels again.",
    ),
)
"""The probes of this subject."""
