"""Questions about labels and settings."""

from __future__ import annotations

from gmail_client.conformance.evidence import CannotTell, Evidence, items
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true, refusal
from gmail_client.conformance.reads import ABSENT_LABEL

__all__ = ["PROBES"]

_COUNTS = {"messagesTotal", "messagesUnread", "threadsTotal", "threadsUnread"}


def _used_labels(evidence: Evidence) -> set[str]:
    """The labels of the messages that were read. Those in the history may have been deleted since."""
    messages = [
        *evidence.full(),
        *(reply.json or {} for replies in evidence.messages.values() for reply in replies.values()),
    ]
    return {str(label) for message in messages for label in message.get("labelIds") or ()}


def _ghosts(evidence: Evidence) -> Answer:
    unlisted = _used_labels(evidence) - evidence.listed_labels.keys()
    if not unlisted:
        return Answer("false", len(evidence.listed_labels))
    statuses = {reply.status for label, reply in evidence.labels_by_id.items() if label in unlisted}
    return Answer("true" if 404 in statuses or not statuses else "unlisted", len(unlisted))


def _listed_exist(evidence: Evidence) -> Answer:
    statuses = [
        reply.status for label, reply in evidence.labels_by_id.items() if label in evidence.listed_labels
    ]
    if not statuses:
        raise CannotTell("no listed label was read")
    return Answer("true" if 404 in statuses else "false", len(statuses))


def _no_counts(evidence: Evidence) -> Answer:
    labels = list(evidence.listed_labels.values())
    return all_true((not label.keys() & {*_COUNTS, "color"} for label in labels), "there are no labels")


def _counts(evidence: Evidence) -> Answer:
    found = [reply.json for reply in evidence.labels_by_id.values() if reply.status == 200 and reply.json]
    return all_true((label.keys() >= _COUNTS for label in found), "no label was read")


def _types(evidence: Evidence) -> Answer:
    return all_true(
        (label.get("type") in ("system", "user") for label in evidence.listed_labels.values()),
        "there are no labels",
    )


def _absent(evidence: Evidence) -> Answer:
    reply = evidence.labels_by_id.get(ABSENT_LABEL)
    if reply is None:
        raise CannotTell(evidence.problems.get("batch", "the batch was not read"))
    return Answer(str(reply.status))


def _filter_key(evidence: Evidence) -> Answer:
    page = evidence.json("settings.filters.list")
    keys = [key for key in page if items(page, key)]
    if not keys:
        raise CannotTell("there are no filters")
    return Answer("filter" if keys == ["filter"] else "other")


def _delegates(evidence: Evidence) -> Answer:
    answer = refusal(evidence, "settings.delegates.list")
    return Answer("readable") if answer.text == "200" else answer


PROBES: tuple[Probe, ...] = (
    Probe(
        "labels.ghosts",
        "Do messages have labels that labels.list does not return?",
        "false",
        _ghosts,
        "message_labels has rows whose label_name is empty; the labels themselves are stored.",
        basis="captured",
        behavior="ghost_label",
    ),
    Probe(
        "labels.vanish",
        "Can a label be missing right after labels.list returned it?",
        "false",
        _listed_exist,
        "None: a label that is deleted meanwhile is omitted from the table.",
        basis="assumed",
        behavior="label_vanishes_after_list",
    ),
    Probe(
        "labels.no_counts",
        "Does labels.list omit counts and colors?",
        "yes",
        _no_counts,
        "None: each label is read separately.",
    ),
    Probe(
        "labels.counts",
        "Does labels.get return all four counts?",
        "yes",
        _counts,
        "Counts in labels are null, and `verify` lists the messages of such labels.",
    ),
    Probe(
        "labels.types",
        "Is every label of the type system or user?",
        "yes",
        _types,
        "`type` in labels has another value: check queries that filter by it.",
    ),
    Probe(
        "labels.absent",
        "What is the response to the id of a label that does not exist?",
        "404",
        _absent,
        "A label that is deleted during a sync makes the labels table fail. Please report it.",
    ),
    Probe(
        "settings.filter_key",
        "Are filters listed under the key `filter`?",
        "filter",
        _filter_key,
        "The filters table stays empty. Please report it.",
    ),
    Probe(
        "settings.delegates",
        "Is this account allowed to read its delegates?",
        "403 forbidden",
        _delegates,
        "A refusal in another form: the run reports an error for delegates instead of a warning. Please report it.",
        basis="captured",
        means={"readable": "The delegates table can be read: expected with a service account only."},
    ),
)
"""The probes of this subject."""
