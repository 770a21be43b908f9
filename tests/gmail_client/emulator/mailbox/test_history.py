"""The history: applied to any earlier state, it gives the current one."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gmail_api import Caller, reason

from gmail_client.emulator import Behavior, EmulatedMailbox, Emulator
from gmail_client.emulator.generate.generator import seeded_mailbox
from gmail_client.http.clock import SYSTEM_CLOCK

State = dict[str, frozenset[str]]


def state_of(mailbox: EmulatedMailbox) -> State:
    return {key: frozenset(message.label_ids) for key, message in mailbox.store.messages.items()}


def any_write(mailbox: EmulatedMailbox, rng: random.Random) -> None:
    """Make a random write of any kind that changes mail."""
    messages, threads = mailbox.message_ids(), mailbox.thread_ids()
    labels = ["STARRED", "INBOX", "UNREAD", "SPAM", "TRASH"]
    labels += [key for key, label in mailbox.labels.labels.items() if label["type"] == "user"]
    kind = rng.randrange(17)
    add = rng.sample(labels, rng.randrange(3))
    remove = [label for label in rng.sample(labels, rng.randrange(3)) if label not in add]
    some = rng.sample(messages, min(len(messages), 6))
    if kind < 3 or not messages:
        reply = rng.choice(messages) if messages and kind else None
        mailbox.insert(mailbox.random_mail(reply_to=reply), rng.sample(labels, rng.randrange(4)))
    elif kind == 3:
        mailbox.receive(mailbox.random_mail())
    elif kind == 4:
        mailbox.trash(rng.choice(messages))
    elif kind == 5:
        mailbox.untrash(rng.choice(messages))
    elif kind == 6:
        mailbox.delete(rng.choice(messages))
    elif kind == 7:
        mailbox.modify(rng.choice(messages), add, remove)
    elif kind == 8:
        mailbox.batch_modify(some, add, remove)
    elif kind == 9:
        mailbox.batch_delete(some[:2])
    elif kind == 10:
        mailbox.modify_thread(rng.choice(threads), add, remove)
    elif kind == 11:
        rng.choice([mailbox.trash_thread, mailbox.untrash_thread, mailbox.delete_thread])(rng.choice(threads))
    elif kind == 12:
        mailbox.create_draft(mailbox.random_mail())
    elif kind == 13 and mailbox.store.drafts:
        draft = rng.choice(list(mailbox.store.drafts))
        rng.choice([mailbox.send_draft, mailbox.delete_draft])(draft)
    elif kind == 14 and mailbox.store.drafts:
        mailbox.update_draft(rng.choice(list(mailbox.store.drafts)), mailbox.random_mail())
    elif kind == 15:
        mailbox.create_label(f"Label {rng.random()}")
    elif kind == 16 and labels[5:]:
        mailbox.delete_label(rng.choice(labels[5:]))


def applied(state: State, records: list[dict[str, Any]]) -> State:
    """The state after the records; label changes carry the resulting set."""
    result = dict(state)
    last = 0
    for record in records:
        assert int(record["id"]) >= last
        last = int(record["id"])
        for entry in record.get("messagesAdded", []):
            result[entry["message"]["id"]] = frozenset(entry["message"].get("labelIds", []))
        for kind in ("labelsAdded", "labelsRemoved"):
            for entry in record.get(kind, []):
                labels = frozenset(entry["message"].get("labelIds", []))
                changed = frozenset(entry["labelIds"])
                assert changed <= labels if kind == "labelsAdded" else changed.isdisjoint(labels)
                assert entry["message"]["id"] in result
                result[entry["message"]["id"]] = labels
        for entry in record.get("messagesDeleted", []):
            del result[entry["message"]["id"]]
        assert {item["id"] for item in record["messages"]} == {
            entry["message"]["id"]
            for kind in ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved")
            for entry in record.get(kind, [])
        }
    return result


def read(mailbox: EmulatedMailbox, start: int, size: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    position = (start, 0)
    while True:
        page = mailbox.log.page(position[0], size, offset=position[1])
        assert len(page.records) <= size
        records += page.records
        if page.next is None:
            return records
        assert page.records
        assert page.next != position
        position = page.next


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    writes=st.integers(1, 40),
    size=st.integers(1, 7),
    split=st.booleans(),
    groups=st.sampled_from(["message", "operation"]),
)
def test_history_leads_from_any_earlier_state_to_the_current_one(
    seed: int, writes: int, size: int, split: bool, groups: Any
) -> None:
    behavior = Behavior(record_split_across_pages=split, history_groups=groups)
    mailbox = EmulatedMailbox(seeded_mailbox(seed % 5, 0, 12), clock=SYSTEM_CLOCK, behavior=behavior)
    rng = random.Random(seed)
    points = [(mailbox.log.head, state_of(mailbox))]
    for _ in range(writes):
        any_write(mailbox, rng)
        points.append((mailbox.log.head, state_of(mailbox)))
    present = state_of(mailbox)
    for head, state in points:
        records = read(mailbox, head, size)
        assert all(head < int(record["id"]) <= mailbox.log.head for record in records)
        assert applied(state, records) == present


EVENTS = ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 7),
    split=st.booleans(),
    shown=st.sampled_from(["all", "ids", "id"]),
    repeat=st.booleans(),
    without_events=st.booleans(),
)
def test_every_form_of_a_record_names_the_messages_that_changed(
    seed: int, size: int, split: bool, shown: Any, repeat: bool, without_events: bool
) -> None:
    behavior = Behavior(
        record_split_across_pages=split,
        history_message_fields=shown,
        history_record_ids_repeat=repeat,
        history_records_without_events=without_events,
    )
    mailbox = EmulatedMailbox(seeded_mailbox(seed % 5, 0, 12), clock=SYSTEM_CLOCK, behavior=behavior)
    rng = random.Random(seed)
    start, before = mailbox.log.head, state_of(mailbox)
    for _ in range(12):
        any_write(mailbox, rng)
    present = state_of(mailbox)
    records = read(mailbox, start, size)
    changed = {key for key in before.keys() | present.keys() if before.get(key) != present.get(key)}
    assert changed <= {message["id"] for record in records for message in record["messages"]}
    for record in records:
        events = [event for kind in EVENTS for event in record.get(kind, [])]
        assert not events or {event["message"]["id"] for event in events} == {
            message["id"] for message in record["messages"]
        }
        assert events or without_events
        assert len(record["messages"]) == 1 or not repeat
        for message in (*record["messages"], *(event["message"] for event in events)):
            assert {"id"} <= set(message) <= {"id", "threadId", "labelIds"}
            assert ("threadId" in message) == (shown != "id")
            assert "labelIds" not in message or shown == "all"


def test_record_forms_one_by_one() -> None:
    def starring_two(**fields: Any) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        """Two messages as id and threadId, and the history records after starring both in one batchModify."""
        behavior = Behavior(**fields)
        mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 0), clock=SYSTEM_CLOCK, behavior=behavior)
        ids = [mailbox.insert(mailbox.random_mail(), ["INBOX"]) for _ in range(2)]
        start = mailbox.log.head
        mailbox.batch_modify(ids, ["STARRED"])
        return [{"id": one, "threadId": one} for one in ids], read(mailbox, start, 500)

    messages, (record,) = starring_two()
    assert record["messages"] == messages
    assert record["labelsAdded"] == [
        {"message": {**message, "labelIds": ["INBOX", "STARRED"]}, "labelIds": ["STARRED"]}
        for message in messages
    ]
    messages, (record,) = starring_two(history_message_fields="ids")
    assert record["messages"] == messages
    assert record["labelsAdded"] == [{"message": one, "labelIds": ["STARRED"]} for one in messages]
    messages, (record,) = starring_two(history_message_fields="id")
    assert record["messages"] == [{"id": one["id"]} for one in messages]
    assert record["labelsAdded"] == [
        {"message": {"id": one["id"]}, "labelIds": ["STARRED"]} for one in messages
    ]
    messages, (first, second) = starring_two(history_record_ids_repeat=True)
    assert first["id"] == second["id"]
    assert [first["messages"], second["messages"]] == [[one] for one in messages]


def test_about_one_record_in_four_may_have_no_events() -> None:
    behavior = Behavior(history_records_without_events=True)
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 0), clock=SYSTEM_CLOCK, behavior=behavior)
    start = mailbox.log.head
    for _ in range(80):
        mailbox.insert(mailbox.random_mail())
    records = read(mailbox, start, 500)
    assert len(records) == 80
    assert 8 <= sum("messagesAdded" not in record for record in records) <= 40
    assert all(record["messages"] for record in records)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_history_ids_of_messages_and_threads_are_never_below_their_records(seed: int) -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 12), clock=SYSTEM_CLOCK, behavior=Behavior())
    start = mailbox.log.head
    rng = random.Random(seed)
    for _ in range(30):
        any_write(mailbox, rng)
    for record in read(mailbox, start, 500):
        for item in record["messages"]:
            message = mailbox.store.messages.get(item["id"])
            thread = mailbox.store.threads.get(item["threadId"])
            assert message is None or message.history_id >= int(record["id"])
            assert thread is None or thread.history_id >= int(record["id"])
    assert all(message.history_id <= mailbox.log.head for message in mailbox.store.messages.values())


def test_ids_have_gaps_and_messages_run_ahead() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 5), clock=SYSTEM_CLOCK, behavior=Behavior())
    start = mailbox.log.head
    inserted = [mailbox.insert(mailbox.random_mail(), ["INBOX"]) for _ in range(60)]
    ids = [int(record["id"]) for record in read(mailbox, start, 500)]
    assert len(ids) == 60
    assert any(second - first > 1 for first, second in pairwise(ids))
    ahead = [mailbox.message(one).history_id - record for one, record in zip(inserted, ids, strict=True)]
    assert min(ahead) == 0
    assert max(ahead) > 0


def test_a_saved_draft_is_a_new_message() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 5), clock=SYSTEM_CLOCK, behavior=Behavior())
    draft = mailbox.create_draft(mailbox.random_mail())
    old = mailbox.draft(draft)
    start = mailbox.log.head
    new = mailbox.update_draft(draft, mailbox.random_mail())
    assert new != old.id
    added, deleted = read(mailbox, start, 500)
    assert added["messagesAdded"][0]["message"] == {
        "id": new,
        "threadId": old.thread.id,
        "labelIds": ["DRAFT"],
    }
    assert deleted["messagesDeleted"][0]["message"]["id"] == old.id


def test_trash_is_recorded_as_label_changes_once() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 0), clock=SYSTEM_CLOCK, behavior=Behavior())
    message_id = mailbox.insert(mailbox.random_mail(), ["INBOX", "UNREAD"])
    start = mailbox.log.head
    mailbox.trash(message_id)
    after = mailbox.log.head
    mailbox.trash(message_id)
    assert mailbox.log.head == after
    (record,) = read(mailbox, start, 500)
    message = {"id": message_id, "threadId": message_id, "labelIds": ["UNREAD", "TRASH"]}
    assert record["labelsAdded"] == [{"message": message, "labelIds": ["TRASH"]}]
    assert record["labelsRemoved"] == [{"message": message, "labelIds": ["INBOX"]}]
    assert "messagesDeleted" not in record


def test_labels_settings_and_filters_leave_no_record() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 3), clock=SYSTEM_CLOCK, behavior=Behavior())
    start = mailbox.log.head
    label = mailbox.create_label("Trips")
    mailbox.patch_label(label, name="Voyages")
    mailbox.update_settings("language", {"displayLanguage": "fr"})
    mailbox.create_filter({"from": "x"}, {"addLabelIds": [label]})
    mailbox.delete_label(label)
    assert mailbox.log.head == start


def test_deleting_a_label_removes_it_from_its_messages() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 3), clock=SYSTEM_CLOCK, behavior=Behavior())
    label = mailbox.create_label("Trips")
    message_id = mailbox.insert(mailbox.random_mail(), ["INBOX", label])
    start = mailbox.log.head
    mailbox.delete_label(label)
    (record,) = read(mailbox, start, 500)
    assert record["labelsRemoved"][0]["labelIds"] == [label]
    assert record["labelsRemoved"][0]["message"]["labelIds"] == ["INBOX"]
    assert mailbox.label_ids(message_id) == ("INBOX",)


def test_labels_of_filters_are_in_messages_added() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 3), clock=SYSTEM_CLOCK, behavior=Behavior())
    label = mailbox.create_label("Bills")
    mailbox.create_filter(
        {"from": "billing@shop.example", "subject": "invoice"},
        {"addLabelIds": [label, "STARRED"], "removeLabelIds": ["INBOX"]},
    )
    start = mailbox.log.head
    hit = b"From: Shop <billing@shop.example>\r\nSubject: Your Invoice 7\r\n\r\nHi\r\n"
    miss = b"From: Shop <billing@shop.example>\r\nSubject: Hello\r\n\r\nHi\r\n"
    for mail in (hit, miss):
        mailbox.receive(mail)
        mailbox.import_(mail)
        mailbox.insert(mail, ["INBOX"])
    labels = [record["messagesAdded"][0]["message"]["labelIds"] for record in read(mailbox, start, 500)]
    filtered = ["UNREAD", label, "STARRED"]
    assert labels == [filtered, filtered, ["INBOX"], ["INBOX", "UNREAD"], ["INBOX", "UNREAD"], ["INBOX"]]
    assert all("labelsAdded" not in record for record in read(mailbox, start, 500))


def test_thread_history_ids_may_ignore_label_changes() -> None:
    for moves in (True, False):
        behavior = Behavior(thread_history_moves_with_labels=moves)
        mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 3), clock=SYSTEM_CLOCK, behavior=behavior)
        message_id = mailbox.insert(mailbox.random_mail(), ["INBOX"])
        thread = mailbox.message(message_id).thread
        before = thread.history_id
        mailbox.modify(message_id, ["STARRED"])
        assert (thread.history_id > before) == moves
        before = thread.history_id
        mailbox.insert(mailbox.random_mail(reply_to=message_id))
        assert len(thread.members) == 2
        assert thread.history_id > before


def test_deleting_a_message_raises_the_history_id_of_its_thread() -> None:
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 3), clock=SYSTEM_CLOCK, behavior=Behavior())
    message_id = mailbox.insert(mailbox.random_mail(), ["INBOX"])
    second = mailbox.insert(mailbox.random_mail(reply_to=message_id))
    thread = mailbox.message(message_id).thread
    before = thread.history_id
    mailbox.delete(second)
    assert thread.history_id > before


def test_over_http(start: Callable[..., Emulator], call: Callable[..., Caller]) -> None:
    gmail = start(messages=10, behavior=Behavior(history_groups="message"))
    me, mailbox = call(gmail), gmail.mailbox()
    begin = mailbox.head
    ids = [mailbox.insert(mailbox.random_mail(), ["INBOX"]) for _ in range(5)]
    mailbox.batch_modify(ids, ["STARRED"])
    mailbox.delete(ids[0])
    first = me.me("history", startHistoryId=begin, maxResults=4)
    assert len(first["history"]) == 4
    assert first["historyId"] == mailbox.head
    second = me.me("history", startHistoryId=begin, maxResults=4, pageToken=first["nextPageToken"])
    assert second["historyId"] == mailbox.head
    assert len(me.pages("history", "history", startHistoryId=begin, maxResults=4)) == 11
    only = me.me("history", startHistoryId=begin, historyTypes=["messageDeleted", "labelRemoved"])
    assert [list(record) for record in only["history"]] == [["id", "messages", "messagesDeleted"]]
    assert "history" not in me.me("history", startHistoryId=mailbox.head)
    assert reason(me.get("history", startHistoryId=begin, labelId="Label_404")) == "notFound"
    assert me.get("history").status_code == 400


def test_expired_and_future_starts(start: Callable[..., Emulator], call: Callable[..., Caller]) -> None:
    gmail = start(messages=10)
    me, mailbox = call(gmail), gmail.mailbox()
    begin = mailbox.head
    assert me.get("history", startHistoryId=begin).status_code == 200
    assert me.get("history", startHistoryId=int(begin) - 1).status_code == 404
    assert me.get("history", startHistoryId=int(begin) + 1_000_000).status_code == 404
    mailbox.insert(mailbox.random_mail())
    late = mailbox.head
    gmail.expire_history()
    assert me.get("history", startHistoryId=begin).status_code == 404
    answer = me.get("history", startHistoryId=late)
    assert (answer.status_code, reason(answer)) == (404, "notFound")
    fresh = me.me("profile")["historyId"]
    mailbox.insert(mailbox.random_mail())
    assert len(me.me("history", startHistoryId=fresh)["history"]) == 1


def test_history_expires_up_to_an_id(start: Callable[..., Emulator], call: Callable[..., Caller]) -> None:
    gmail = start(messages=3)
    me, mailbox = call(gmail), gmail.mailbox()
    heads = [mailbox.head]
    for _ in range(4):
        mailbox.insert(mailbox.random_mail())
        heads.append(mailbox.head)
    gmail.expire_history(upto=heads[2])
    answers = [me.get("history", startHistoryId=head) for head in heads]
    assert [answer.status_code for answer in answers] == [404, 404, 200, 200, 200]
    assert reason(answers[1]) == "notFound"
    assert [len(answer.json().get("history", [])) for answer in answers[2:]] == [2, 1, 0]
    assert mailbox.head == heads[4]
    gmail.expire_history(upto=int(heads[2]) - 1)
    assert me.get("history", startHistoryId=int(heads[2]) - 1).status_code == 404
    with pytest.raises(ValueError, match="upto is at most the head"):
        gmail.expire_history(upto=int(mailbox.head) + 1)
    assert len(me.me("history", startHistoryId=heads[2])["history"]) == 2


def test_expiry_within_a_record_drops_the_rest_of_it() -> None:
    behavior = Behavior(record_split_across_pages=True)
    mailbox = EmulatedMailbox(seeded_mailbox(1, 0, 0), clock=SYSTEM_CLOCK, behavior=behavior)
    ids = [mailbox.insert(mailbox.random_mail()) for _ in range(4)]
    start = mailbox.log.head
    mailbox.batch_modify(ids, ["STARRED"])
    mailbox.modify(ids[0], ["UNREAD"])
    position = mailbox.log.page(start, 1).next
    assert position is not None
    mailbox.expire_history(position[0])
    rest = mailbox.log.page(position[0], 500, offset=position[1])
    assert [list(record) for record in rest.records] == [["id", "messages", "labelsAdded"]]
    assert rest.records[0]["labelsAdded"][0]["labelIds"] == ["UNREAD"]


@pytest.mark.parametrize("shown", ["absent", "empty"])
def test_a_message_without_labels(
    start: Callable[..., Emulator], call: Callable[..., Caller], shown: Any
) -> None:
    gmail = start(messages=0, behavior=Behavior(empty_label_ids=shown))
    mailbox = gmail.mailbox()
    begin = mailbox.head
    message_id = mailbox.insert(mailbox.random_mail(), ["INBOX"])
    mailbox.modify(message_id, remove=["INBOX"])
    record = call(gmail).me("history", startHistoryId=begin)["history"][-1]
    for message in (record["labelsRemoved"][0]["message"], gmail.truth("messages")[0]):
        assert message.get("labelIds", "absent") == ("absent" if shown == "absent" else [])


def test_history_ids_gain_a_digit_near_a_rollover(
    start: Callable[..., Emulator], call: Callable[..., Caller]
) -> None:
    gmail = start(messages=20, behavior=Behavior(history_near_rollover=True))
    mailbox = gmail.mailbox()
    begin = mailbox.head
    assert all(int(row["historyId"]) <= int(begin) for row in gmail.truth("messages"))
    for _ in range(12):
        mailbox.insert(mailbox.random_mail(), ["INBOX"])
    ids = [record["id"] for record in call(gmail).me("history", startHistoryId=begin)["history"]]
    assert len(ids[-1]) == len(begin) + 1
    assert len(ids) == 12


def test_deleted_messages_with_and_without_their_labels(
    start: Callable[..., Emulator], call: Callable[..., Caller]
) -> None:
    for shown in (True, False):
        gmail = start(messages=0, behavior=Behavior(history_labels_of_deleted=shown))
        mailbox = gmail.mailbox()
        message_id = mailbox.insert(mailbox.random_mail(), ["INBOX"])
        begin = mailbox.head
        mailbox.delete(message_id)
        (record,) = call(gmail).me("history", startHistoryId=begin)["history"]
        assert ("labelIds" in record["messagesDeleted"][0]["message"]) == shown


def test_a_start_in_the_future_may_be_an_empty_page(
    start: Callable[..., Emulator], call: Callable[..., Caller]
) -> None:
    gmail = start(messages=1, behavior=Behavior(future_history_start="empty"))
    head = gmail.mailbox().head
    assert call(gmail).me("history", startHistoryId=int(head) + 99) == {"historyId": head}


def test_a_record_continues_on_the_next_page(
    start: Callable[..., Emulator], call: Callable[..., Caller]
) -> None:
    gmail = start(messages=0, behavior=Behavior(record_split_across_pages=True))
    mailbox = gmail.mailbox()
    ids = [mailbox.insert(mailbox.random_mail(), ["INBOX"]) for _ in range(5)]
    begin = mailbox.head
    mailbox.batch_modify(ids, ["STARRED"])
    first, second = call(gmail).pages("history", "history", startHistoryId=begin, maxResults=1)
    assert first["id"] == second["id"]
    touched = [entry["message"]["id"] for record in (first, second) for entry in record["labelsAdded"]]
    assert touched == ids
