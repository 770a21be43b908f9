"""Each probe notices a response that differs in what it asks about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.chaos import client_of
from support.lively import live, lively

from gmail_client.conformance.evidence import Evidence, items, part_list
from gmail_client.conformance.examination import examine
from gmail_client.conformance.probes import PROBES
from gmail_client.conformance.reads import ABSENT_LABEL
from gmail_client.errors import NotFoundError, RequestError

Change = Callable[[Evidence], None]


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    with lively() as gmail:
        live(gmail.mailbox())
        yield examine(client_of(gmail).mailbox("me")).evidence


def json_of(evidence: Evidence, read: str) -> dict[str, Any]:
    document = evidence.replies[read][0].json
    assert document is not None
    return document


def put(read: str, **values: Any) -> Change:
    """Set fields of a response."""
    return lambda evidence: json_of(evidence, read).update(values)


def drop(read: str, key: str) -> Change:
    return lambda evidence: json_of(evidence, read).pop(key) and None


def first(read: str, key: str, **values: Any) -> Change:
    """Set fields of the first item of a listing."""
    return lambda evidence: items(json_of(evidence, read), key)[0].update(values)


def status(read: str, code: int, error: Any = None) -> Change:
    def change(evidence: Evidence) -> None:
        evidence.replies[read][0] = replace(evidence.replies[read][0], status=code, error=error)

    return change


def messages(**values: Any) -> Change:
    """Set fields of every message that was read."""

    def change(evidence: Evidence) -> None:
        for message in evidence.full():
            message.update(values)

    return change


def parts(change_part: Callable[[dict[str, Any]], Any]) -> Change:
    """Change every part of every message that was read in full."""

    def change(evidence: Evidence) -> None:
        for message in evidence.full():
            for part in tree(message["payload"]):
                change_part(part)

    return change


def tree(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield part
    for child in part.get("parts", ()):
        yield from tree(child)


def other_format(format: str, **values: Any) -> Change:
    def change(evidence: Evidence) -> None:
        for replies in evidence.messages.values():
            if format in replies:
                document = replies[format].json
                assert document is not None
                document.update(values)

    return change


def labels(**values: Any) -> Change:
    def change(evidence: Evidence) -> None:
        for reply in evidence.labels_by_id.values():
            if reply.json is not None:
                reply.json.update(values)
                for key in [key for key, value in values.items() if value is None]:
                    del reply.json[key]

    return change


def absent_label(evidence: Evidence) -> None:
    evidence.labels_by_id[ABSENT_LABEL] = replace(evidence.labels_by_id[ABSENT_LABEL], status=400)


def records(change_record: Callable[[dict[str, Any]], Any]) -> Change:
    def change(evidence: Evidence) -> None:
        for record in evidence.records:
            change_record(record)

    return change


def unresulting(record: dict[str, Any]) -> None:
    for event in record.get("labelsAdded", ()):
        event["message"]["labelIds"] = []


def batch(**values: Any) -> Change:
    def change(evidence: Evidence) -> None:
        assert evidence.batch is not None
        evidence.batch = replace(evidence.batch, **values)

    return change


def batch_parts(change_parts: Callable[[list[Any]], list[Any]]) -> Change:
    def change(evidence: Evidence) -> None:
        assert evidence.batch is not None
        evidence.batch = replace(evidence.batch, parts=change_parts(list(evidence.batch.parts)))

    return change


def errors(change_error: Callable[[dict[str, Any]], Any]) -> Change:
    def change(evidence: Evidence) -> None:
        for reply in [*evidence.everything, *(evidence.batch.parts if evidence.batch else ())]:
            if reply.status >= 400 and reply.json is not None:
                change_error(reply.json["error"])

    return change


def headers(**values: str | None) -> Change:
    def change(evidence: Evidence) -> None:
        for replies in evidence.replies.values():
            for number, reply in enumerate(replies):
                changed = {
                    **reply.headers,
                    **{name.replace("_", "-"): value for name, value in values.items()},
                }
                replies[number] = replace(
                    reply, headers={name: value for name, value in changed.items() if value}
                )

    return change


def same_attachment_ids(evidence: Evidence) -> None:
    parts(lambda part: part["body"].update(attachmentId="same") if "attachmentId" in part["body"] else None)(
        evidence
    )


def one_value(header: str) -> Change:
    def change(part: dict[str, Any]) -> None:
        for entry in part.get("headers", ()):
            if entry["name"].lower() == header:
                entry["value"] += "  and more"

    return parts(change)


def refusal_without_json(evidence: Evidence) -> None:
    evidence.replies["malformed id"][0] = replace(evidence.replies["malformed id"][0], json=None)
    assert evidence.batch is not None
    evidence.batch = replace(
        evidence.batch,
        parts=[replace(part, json=None) if part.status == 400 else part for part in evidence.batch.parts],
    )


def overlap(evidence: Evidence) -> None:
    small = evidence.replies["small pages"]
    assert small[1].json is not None
    small[1].json["messages"] = json_of(evidence, "small pages")["messages"]


def show_trash(evidence: Evidence) -> None:
    json_of(evidence, "listing")["messages"] += json_of(evidence, "trash")["messages"]


def foreign_thread_ids(evidence: Evidence) -> None:
    for message in json_of(evidence, "anywhere")["messages"]:
        message["threadId"] = f"x{message['threadId']}"


CHANGES: dict[str, Change] = {
    "history.resulting_labels": records(unresulting),
    "history.redundant_messages": records(lambda record: record.update(messages=[])),
    "history.order": lambda evidence: json_of(evidence, "history")["history"].reverse(),
    "history.after_start": put("history", history=[{"id": "1"}]),
    "history.head": put("history", historyId="1"),
    "history.head_on_every_page": drop("history", "historyId"),
    "history.types": put("history types", history=[{"id": "1", "labelsAdded": [{}]}]),
    "history.expired": status("first history", 400, RequestError("x", status=400, reason="badRequest")),
    "history.malformed": status("malformed history", 404),
    "threads.order": lambda evidence: json_of(evidence, "thread")["messages"].reverse(),
    "threads.same_form": lambda evidence: (
        [message.update(more=1) for message in json_of(evidence, "thread")["messages"]] and None
    ),
    "threads.listed_keys": lambda evidence: (
        json_of(evidence, "threads")["threads"][0].pop("historyId") and None
    ),
    "listings.page_size": put("small pages", messages=[{"id": "1", "threadId": "1"}]),
    "listings.no_overlap": overlap,
    "listings.absent_key": put("empty listing", messages=[]),
    "listings.item_keys": first("listing", "messages", more=1),
    "listings.spam_trash": show_trash,
    "listings.total": lambda evidence: (
        [put(read, messagesTotal=3)(evidence) for read in ("profile", "profile afterwards")] and None
    ),
    "listings.drafts": first("drafts", "drafts", more=1),
    "listings.id_form": first("listing", "messages", id="not hexadecimal"),
    "listings.thread_ids": foreign_thread_ids,
    "messages.tree": parts(lambda part: part.update(mimeType="x/y")),
    "messages.header_names": parts(lambda part: part["headers"].reverse()),
    "messages.header_values": one_value("from"),
    "messages.folded": one_value("subject"),
    "messages.filenames": parts(lambda part: part.update(filename="other")),
    "messages.sizes": parts(lambda part: part["body"].update(size=7)),
    "messages.data": parts(lambda part: part["body"].update(data="AAAA")),
    "messages.attachments": parts(lambda part: part["body"].update(data="AAAA")),
    "messages.attachment_ids": same_attachment_ids,
    "messages.size_estimate": messages(sizeEstimate=7),
    "messages.padding": parts(lambda part: part["body"].update(data="AAA")),
    "messages.alphabet": parts(lambda part: part["body"].update(data="AA+/")),
    "messages.part_ids": parts(lambda part: part.update(partId="a")),
    "messages.raw_keys": other_format("raw", payload={}),
    "messages.metadata_keys": other_format("metadata", payload={"mimeType": "a/b", "body": {}}),
    "messages.number_fields": messages(historyId=7),
    "labels.no_counts": first("labels", "labels", messagesTotal=1),
    "labels.counts": labels(messagesTotal=None),
    "labels.types": first("labels", "labels", type="other"),
    "labels.absent": absent_label,
    "settings.filter_key": put("settings.filters.list", filter=None, filters=[{"id": "1"}]),
    "settings.delegates": status("settings.delegates.list", 200),
    "batches.status": batch(status=207),
    "batches.multipart": batch(headers={"content-type": "application/json"}),
    "batches.content_ids": batch_parts(lambda found: [replace(part, content_id="<1>") for part in found]),
    "batches.order": batch_parts(lambda found: sorted(found, key=lambda part: int(part.content_id[15:-1]))),
    "batches.complete": batch_parts(lambda found: found[1:]),
    "batches.own_status": batch_parts(lambda found: [replace(part, status=404) for part in found]),
    "batches.refused": batch_parts(lambda found: [replace(part, status=429) for part in found]),
    "errors.absent_message": status("absent id", 410, NotFoundError("x", status=410, reason="gone")),
    "errors.malformed_message": status("malformed id", 404),
    "errors.body": errors(lambda error: error.pop("status", None)),
    "errors.list": errors(lambda error: error.pop("errors", None)),
    "errors.json": refusal_without_json,
    "transport.gzip": headers(content_encoding=None),
    "transport.quota_headers": headers(x_goog_quota_remaining="1"),
    "transport.retry_after": lambda evidence: evidence.refusals.append(
        replace(evidence.replies["profile"][0], status=503, headers={"retry-after": "1"})
    ),
    "transport.json": headers(content_type="text/html"),
    "transport.history_id": put("profile", historyId=7),
    "transport.fields": put("profile", newField=7),
}
BY_ID = {probe.id: probe for probe in PROBES}


def test_the_table_has_every_probe_that_is_no_switch_of_the_emulator() -> None:
    assert CHANGES.keys() == {probe.id for probe in PROBES if not probe.behavior}


@pytest.mark.parametrize("probe", CHANGES)
def test_a_difference_is_noticed(evidence: Evidence, probe: str) -> None:
    changed = copy.deepcopy(evidence)
    changed.__dict__.pop("records", None)
    changed.__dict__.pop("listed_labels", None)
    CHANGES[probe](changed)
    finding = BY_ID[probe].ask(changed)
    assert finding.status == "differs", finding
    assert finding.meaning


def test_nothing_is_answered_without_evidence() -> None:
    assert {probe.ask(Evidence()).status for probe in PROBES} == {"unknown"}


def test_parts_are_listed_in_order() -> None:
    payload = {"partId": "", "parts": [{"partId": "0", "parts": [{"partId": "0.0"}]}, {"partId": "1"}]}
    assert [part["partId"] for part in part_list(payload)] == ["", "0", "0.0", "1"]
