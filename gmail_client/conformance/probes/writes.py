"""Questions that only writes can answer: `conformance` asks them of a throw-away mailbox."""

from __future__ import annotations

from gmail_client.conformance.evidence import CannotTell, Evidence, items
from gmail_client.conformance.probe import Answer, Probe

__all__ = ["WRITE_PROBES"]


def _draft_ids(evidence: Evidence) -> Answer:
    created, updated = (
        evidence.json(name).get("message") or {} for name in ("draft created", "draft updated")
    )
    if "id" not in created or "id" not in updated:
        raise CannotTell("the drafts have no messages")
    return Answer("new" if created["id"] != updated["id"] else "same")


def _trash_labels(evidence: Evidence) -> Answer:
    labels = set(evidence.json("trashed").get("labelIds") or ())
    if "TRASH" not in labels:
        return Answer("not in the trash")
    return Answer("TRASH and INBOX" if "INBOX" in labels else "TRASH instead of INBOX")


def _untrash_labels(evidence: Evidence) -> Answer:
    labels = set(evidence.json("untrashed").get("labelIds") or ())
    if "TRASH" in labels:
        return Answer("still in the trash")
    return Answer("INBOX comes back" if "INBOX" in labels else "INBOX stays removed")


def _label_change(evidence: Evidence) -> Answer:
    page = evidence.json("after label change")
    return Answer("records" if items(page, "history") else "no records")


def _groups(evidence: Evidence) -> Answer:
    named = [
        {event["message"]["id"] for event in items(record, "labelsAdded")}
        for record in items(evidence.json("after batch change"), "history")
    ]
    if not any(named):
        raise CannotTell("the history does not have the change yet")
    ids = {record.get("id") for record in items(evidence.json("after batch change"), "history")}
    return Answer("operation" if len(ids) == 1 or max(map(len, named)) > 1 else "message", len(named))


def _reply_thread(evidence: Evidence) -> Answer:
    inserted = evidence.pages("inserted")
    if len(inserted) < 4:
        raise CannotTell("fewer than four messages were inserted")
    threads = {str(message.get("threadId")) for message in inserted[1:4]}
    return Answer("yes" if len(threads) == 1 else "no", 3)


WRITE_PROBES: tuple[Probe, ...] = (
    Probe(
        "writes.groups",
        "Does messages.batchModify create one record, or one per message?",
        "operation",
        _groups,
        "None: both are read the same way.",
        basis="assumed",
        behavior="history_groups",
    ),
    Probe(
        "writes.draft_update",
        "Does every save of a draft create a message with a new id?",
        "new",
        _draft_ids,
        "None: drafts are read as a snapshot.",
        basis="captured",
    ),
    Probe(
        "writes.trash",
        "Which labels does a message of the inbox have in the trash?",
        "TRASH instead of INBOX",
        _trash_labels,
        "None: labels are stored as Gmail returns them.",
        basis="assumed",
    ),
    Probe(
        "writes.untrash",
        "Which labels are restored when a message is moved out of the trash?",
        "INBOX stays removed",
        _untrash_labels,
        "None: labels are stored as Gmail returns them.",
        basis="assumed",
    ),
    Probe(
        "writes.label_change",
        "Does a change of a label itself create a history record?",
        "no records",
        _label_change,
        "None: labels are read as a snapshot; a record without changes of messages is ignored.",
        basis="captured",
    ),
    Probe(
        "writes.reply",
        "Does a message that is inserted with a threadId and References join the thread?",
        "yes",
        _reply_thread,
        "None: threads are stored as Gmail returns them.",
    ),
)
"""The probes of this subject."""
