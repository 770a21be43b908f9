"""Questions about history.list: what a record shows, how records are numbered, and where pages end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gmail_client.conformance.evidence import EVENTS, CannotTell, Evidence, Resource, items, number
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import all_true, any_true, first_of, refusal

__all__ = ["PROBES"]

_NO_EVENTS = "the history has no changes of messages"
_MANY_RECORDS = 8
"""Records after which "none does" is an answer."""
_RUN = 20
"""Number of consecutive equal label changes, each in a separate record, that a person would not make one by one."""


def _messages(evidence: Evidence) -> Iterator[Resource]:
    for _, _, event in evidence.events():
        yield event.get("message") or {}


def _fields(evidence: Evidence) -> Answer:
    shown = [
        message
        for _, kind, event in evidence.events()
        if kind != "messagesDeleted"
        for message in [event.get("message") or {}]
    ]
    if not shown:
        shown = list(_messages(evidence))
    if not shown:
        raise CannotTell(_NO_EVENTS)
    if any("labelIds" in message for message in shown):
        return Answer("all", len(shown))
    return Answer("ids" if all("threadId" in message for message in shown) else "id", len(shown))


def _resulting_labels(evidence: Evidence) -> Answer:
    checks = []
    for _, kind, event in evidence.events():
        message = event.get("message") or {}
        labels = set(message.get("labelIds") or ())
        if kind not in ("labelsAdded", "labelsRemoved") or "labelIds" not in message:
            continue
        changed = set(event.get("labelIds") or ())
        checks.append(changed <= labels if kind == "labelsAdded" else not changed & labels)
    return all_true(checks, "no label change in the history shows the labels of its message")


def _records_without_events(evidence: Evidence) -> Answer:
    return any_true(
        (not any(items(record, kind) for kind in EVENTS) for record in evidence.records),
        f"the history has fewer than {_MANY_RECORDS} records",
        least=_MANY_RECORDS,
    )


def _redundant_messages(evidence: Evidence) -> Answer:
    checks = []
    for record in evidence.records:
        named = {message.get("id") for message in items(record, "messages")}
        changed = {(event.get("message") or {}).get("id") for kind in EVENTS for event in items(record, kind)}
        if changed:
            checks.append(named == changed)
    return all_true(checks, _NO_EVENTS)


def _labels_of_deleted(evidence: Evidence) -> Answer:
    if _fields(evidence).text != "all":
        raise CannotTell("history records show no labels at all")
    return any_true(
        (
            bool((event.get("message") or {}).get("labelIds"))
            for _, kind, event in evidence.events()
            if kind == "messagesDeleted"
        ),
        "no message was permanently deleted since the start of the history",
    )


def _groups(evidence: Evidence) -> Answer:
    several = [
        record
        for record in evidence.records
        if len({message.get("id") for message in items(record, "messages")}) > 1
    ]
    if several:
        return Answer("operation", len(several))
    if len({record.get("id") for record in evidence.records}) < len(evidence.records):
        return Answer("operation")  # one operation, as several records with its id
    changes = [_change(record) for record in evidence.records]
    run = longest = 1
    for earlier, later in pairwise(changes):
        run = run + 1 if earlier and later and earlier[:2] == later[:2] and earlier[2] != later[2] else 1
        longest = max(longest, run)
    if longest < _RUN:
        raise CannotTell("no operation on several messages is in the history")
    return Answer("message", longest)


def _change(record: Resource) -> tuple[str, tuple[str, ...], str] | None:
    """Kind, labels and message of a record with one label change; None for other records, and if mail was read."""
    events = [(kind, event) for kind in EVENTS for event in items(record, kind)]
    if len(events) != 1 or events[0][0] not in ("labelsAdded", "labelsRemoved"):
        return None
    kind, event = events[0]
    labels = tuple(sorted(map(str, event.get("labelIds") or ())))
    if "UNREAD" in labels:
        return None  # a person reads many messages one after the other
    return kind, labels, str((event.get("message") or {}).get("id"))


def _ids_repeat(evidence: Evidence) -> Answer:
    ids = [str(record.get("id")) for record in evidence.records]
    return any_true(
        (earlier == later for earlier, later in pairwise(ids)),
        f"the history has fewer than {_MANY_RECORDS} records",
        least=_MANY_RECORDS,
    )


def _split(evidence: Evidence) -> Answer:
    if _ids_repeat(evidence).text == "true":
        raise CannotTell("several records have the same id anyway")
    pages = evidence.pages("history boundary")
    if len(pages) < 2:
        raise CannotTell("the only record of several messages is the last one")
    first, second = (items(page, "history") for page in pages)
    if not first or not second:
        raise CannotTell("a page of the history has no records")
    return Answer("true" if first[-1].get("id") == second[0].get("id") else "false")


def _order(evidence: Evidence) -> Answer:
    ids = [number(record.get("id")) for record in evidence.records]
    return all_true((earlier <= later for earlier, later in pairwise(ids)), "the history has one record only")


def _after_start(evidence: Evidence) -> Answer:
    return all_true(
        (number(record.get("id")) > evidence.history_start for record in evidence.records), _NO_EVENTS
    )


def _head(evidence: Evidence) -> Answer:
    heads = [number(page.get("historyId")) for page in evidence.pages("history")]
    newest = number(evidence.json("profile afterwards").get("historyId"))
    return all_true((evidence.head <= head <= newest for head in heads), "no page of the history was read")


def _head_without_records(evidence: Evidence) -> Answer:
    pages = evidence.pages("history")
    return all_true(("historyId" in page for page in pages), "no page of the history was read")


def _types(evidence: Evidence) -> Answer:
    page = evidence.json("history types")
    wanted = any(items(record, "messagesAdded") for record in evidence.records)
    other = any(items(record, kind) for record in items(page, "history") for kind in EVENTS[1:])
    if not wanted and not items(page, "history"):
        raise CannotTell("no message was added since the start of the history")
    return Answer("no" if other else "yes", max(1, len(items(page, "history"))))


def _empty_labels(evidence: Evidence) -> Answer:
    answers = []
    for _, kind, event in evidence.events() if "history" in evidence.replies else ():
        message = event.get("message") or {}
        if message.get("labelIds") == []:
            answers.append("empty")
        elif kind == "labelsRemoved" and "labelIds" not in message and _fields(evidence).text == "all":
            answers.append("absent")
    gotten = [
        reply.json
        for replies in evidence.messages.values()
        for reply in replies.values()
        if reply.status == 200 and reply.json
    ]
    for message in gotten:
        if message.get("labelIds") == []:
            answers.append("empty")
        elif "labelIds" not in message:
            answers.append("absent")
    return first_of(answers, "no message without labels was seen")


def _digits(evidence: Evidence) -> Answer:
    ids = [str(record.get("id")) for record in evidence.records]
    ids += [str(evidence.head), str(evidence.history_start)]
    return Answer("true" if len({len(one) for one in ids}) > 1 else "false", len(ids))


def _runs_ahead(evidence: Evidence) -> Answer:
    """Compare the history id of threads and messages with the last record that names them."""
    if not evidence.history_is_complete:
        raise CannotTell("the history has more pages than were read")
    last: dict[str, int] = {}
    for record, _, event in evidence.events():
        message = event.get("message") or {}
        last[str(message.get("id"))] = number(record.get("id"))
        if "threadId" in message:
            last[f"thread {message['threadId']}"] = number(record.get("id"))
    named = [(f"thread {thread.get('id')}", thread) for thread in items(evidence.json("threads"), "threads")]
    for replies in evidence.messages.values():
        named += [(str(reply.json.get("id")), reply.json) for reply in replies.values() if reply.json]
    if "thread" in evidence.replies:
        named += [(str(message.get("id")), message) for message in items(evidence.json("thread"), "messages")]
    # What changed while this was read may be newer than the resource.
    checks = [
        number(resource.get("historyId")) > last[key]
        for key, resource in named
        if key in last and last[key] <= evidence.head
    ]
    return any_true(checks, "fewer than 20 changed threads and messages were seen", least=20)


_MIXED_FORMS = "gmail-assets reads both forms; the tables are complete either way."

PROBES: tuple[Probe, ...] = (
    Probe(
        "history.message_fields",
        "Which fields of a message does a history record have?",
        "all",
        _fields,
        "gmail-assets fetches what a record does not show; the tables are complete either way.",
        basis="captured",
        behavior="history_message_fields",
        means={
            "ids": "A label change costs a fetch of up to 20 units: incremental syncs cost more.",
            "id": "A label change costs a fetch of up to 20 units: incremental syncs cost more.",
        },
    ),
    Probe(
        "history.resulting_labels",
        "Does a record have the labels of the message after the change?",
        "yes",
        _resulting_labels,
        "labelIds may be wrong after a label change until the next reconciliation. Please report it.",
        basis="captured",
    ),
    Probe(
        "history.labels_of_deleted",
        "Does a record of a deletion have the labels of the message?",
        "true",
        _labels_of_deleted,
        "None: a deleted message is deleted with any labels.",
        basis="captured",
        behavior="history_labels_of_deleted",
    ),
    Probe(
        "history.empty_labels",
        "How is a message without labels returned?",
        "absent",
        _empty_labels,
        "None: labelIds is an empty list in the tables in both cases.",
        basis="captured",
        behavior="empty_label_ids",
    ),
    Probe(
        "history.records_without_events",
        "Are there records that list messages without an event?",
        "false",
        _records_without_events,
        "None for the tables: such messages are fetched again, which costs 20 units each.",
        basis="captured",
        behavior="history_records_without_events",
    ),
    Probe(
        "history.redundant_messages",
        "Does `messages` of a record list the same messages as its events?",
        "yes",
        _redundant_messages,
        "None for the tables: a message that is only in `messages` counts as changed and is fetched.",
        basis="captured",
    ),
    Probe(
        "history.groups",
        "Does a change of several messages create one record, or one per message?",
        "operation",
        _groups,
        "None: both are read the same way.",
        basis="assumed",
        behavior="history_groups",
    ),
    Probe(
        "history.ids_repeat",
        "Do several records have the same id?",
        "false",
        _ids_repeat,
        "None: records with the same id are applied together, and a stream never stops between them.",
        basis="assumed",
        behavior="history_record_ids_repeat",
    ),
    Probe(
        "history.split",
        "Can a record be split between two pages?",
        "false",
        _split,
        "None: a sync reads all pages before it moves the cursor.",
        basis="assumed",
        behavior="record_split_across_pages",
    ),
    Probe(
        "history.order",
        "Are records in the order of their ids?",
        "yes",
        _order,
        "labelIds may be outdated until the next reconciliation. Please report it.",
    ),
    Probe(
        "history.after_start",
        "Are all records strictly after startHistoryId?",
        "yes",
        _after_start,
        "None: records that were applied before are ignored.",
    ),
    Probe(
        "history.head",
        "Is the historyId of every page the history id of the mailbox?",
        "yes",
        _head,
        "The cursor of incremental tables may be too high, so that changes are missed. Please report it.",
    ),
    Probe(
        "history.head_on_every_page",
        "Does every page of the history have a historyId?",
        "yes",
        _head_without_records,
        "A sync fails with a response error, and the cursor stays.",
    ),
    Probe(
        "history.types",
        "Does historyTypes exclude other kinds of changes?",
        "yes",
        _types,
        "None: gmail-assets does not use historyTypes.",
    ),
    Probe(
        "history.runs_ahead",
        "Is the historyId of a message or thread sometimes higher than its last record?",
        "true",
        _runs_ahead,
        "None: the cursor comes from the history, not from messages.",
        basis="captured",
        behavior="history_id_runs_ahead",
    ),
    Probe(
        "history.digits",
        "Do history ids of different lengths occur?",
        "false",
        _digits,
        "None: history ids are compared as numbers. In your own queries, order by historySequence.",
        basis="assumed",
        behavior="history_near_rollover",
    ),
    Probe(
        "history.expired",
        "What is the response to a startHistoryId that is too old?",
        "404 notFound",
        lambda evidence: refusal(evidence, "first history"),
        "An expired history is not recognized: incremental syncs fail. Please report it.",
        means={"200": "None: the history of this mailbox goes back to its start."},
    ),
    Probe(
        "history.future",
        "What is the response to a startHistoryId above the newest?",
        "not-found",
        lambda evidence: Answer(
            {404: "not-found", 200: "empty"}.get(
                evidence.reply("future history").status, refusal(evidence, "future history").text
            )
        ),
        "None: a cursor is never above the newest history id, except after a table was copied from another account.",
        basis="assumed",
        behavior="future_history_start",
    ),
    Probe(
        "history.malformed",
        "What is the response to a startHistoryId that is not a number?",
        "400",
        lambda evidence: Answer(str(evidence.reply("malformed history").status)),
        "None: gmail-assets checks history ids before it sends them.",
        basis="captured",
    ),
)
"""The probes of this subject."""
