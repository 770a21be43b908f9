"""Listings: pages, tokens, filters, order, and undocumented behavior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.gmail_api import Caller, reason

from gmail_client.emulator import Behavior, Emulator

Start = Callable[..., Emulator]
Call = Callable[..., Caller]


@pytest.mark.parametrize("size", [1, 7, 100, 500])
@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_pages_contain_everything_once(start: Start, call: Call, size: int, order: Any) -> None:
    gmail = start(messages=60, behavior=Behavior(listing_order=order))
    me, mailbox = call(gmail), gmail.mailbox()
    ids = [item["id"] for item in me.pages("messages", "messages", maxResults=size, includeSpamTrash="true")]
    assert sorted(ids) == sorted(mailbox.message_ids())
    dates = [mailbox.message(one).internal_date_ms for one in ids]
    assert (dates == sorted(dates, reverse=True)) == (order == "newest")
    assert (dates == sorted(dates)) == (order == "oldest")
    threads = me.pages("threads", "threads", maxResults=size, includeSpamTrash="true")
    assert sorted(item["id"] for item in threads) == sorted(mailbox.thread_ids())
    drafts = me.pages("drafts", "drafts", maxResults=size, includeSpamTrash="true")
    assert sorted(item["id"] for item in drafts) == sorted(mailbox.store.drafts)


def test_spam_and_trash_only_on_request(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    me, mailbox = call(gmail), gmail.mailbox()
    ids = [mailbox.insert(mailbox.random_mail(), [label]) for label in ("INBOX", "SPAM", "TRASH")]

    def listed(**params: Any) -> set[int]:
        return {ids.index(item["id"]) for item in me.me("messages", **params).get("messages", [])}

    assert listed() == {0}
    assert listed(includeSpamTrash="true") == {0, 1, 2}
    assert listed(labelIds="SPAM") == {1}
    assert listed(q="in:trash") == {2}
    assert listed(q="in:anywhere") == {0, 1, 2}
    assert {item["id"] for item in me.me("threads")["threads"]} == {ids[0]}


def test_me_is_the_owner_by_each_of_their_addresses(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    me, mailbox = call(gmail), gmail.mailbox()
    alias = next(name for name in mailbox.settings.send_as if name != mailbox.address)
    ids = [
        mailbox.insert(f"From: {sender}\r\nTo: {to}\r\nSubject: Hello\r\n\r\nHello.\r\n".encode(), ["INBOX"])
        for sender, to in (
            (mailbox.address, "eve@example.test"),
            (alias, "eve@example.test"),
            ("eve@example.test", alias),
        )
    ]

    def listed(q: str) -> set[int]:
        return {ids.index(item["id"]) for item in me.me("messages", q=q).get("messages", [])}

    assert listed("from:me") == {0, 1}
    assert listed("to:me") == {2}
    assert listed("-from:me") == {2}


def test_spam_needs_include_where_the_behavior_says_so(start: Start, call: Call) -> None:
    gmail = start(messages=0, behavior=Behavior(label_ids_reach_spam_trash=False))
    gmail.mailbox().insert(gmail.mailbox().random_mail(), ["SPAM"])
    assert "messages" not in call(gmail).me("messages", labelIds="SPAM")
    assert len(call(gmail).me("messages", labelIds="SPAM", includeSpamTrash="true")["messages"]) == 1


def test_label_ids_mean_and(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    me, mailbox = call(gmail), gmail.mailbox()
    both = mailbox.insert(mailbox.random_mail(), ["INBOX", "STARRED"])
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    # A thread needs one message with all the labels, not two messages with one of them each.
    first = mailbox.insert(mailbox.random_mail(), ["INBOX"])
    mailbox.insert(mailbox.random_mail(reply_to=first), ["STARRED"])
    found = me.me("messages", labelIds=["INBOX", "STARRED"])
    assert [item["id"] for item in found["messages"]] == [both]
    assert [item["id"] for item in me.me("threads", labelIds=["INBOX", "STARRED"])["threads"]] == [both]
    answer = me.get("messages", labelIds="Label_404")
    assert (answer.status_code, reason(answer)) == (400, "invalidArgument")
    assert "Invalid label: Label_404" in answer.text


def test_an_empty_result_has_no_array(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    assert call(gmail).me("messages") == {"resultSizeEstimate": 0}
    assert call(gmail).me("threads", q="nothing") == {"resultSizeEstimate": 0}
    assert call(gmail).me("settings/filters").keys() <= {"filter"}


def test_max_results(start: Start, call: Call) -> None:
    gmail = start(messages=620)
    me = call(gmail)
    assert len(me.me("messages", includeSpamTrash="true")["messages"]) == 100
    assert len(me.me("messages", includeSpamTrash="true", maxResults=501)["messages"]) == 500
    assert len(me.me("messages", includeSpamTrash="true", maxResults=0)["messages"]) == 100
    assert me.get("messages", maxResults=-1).status_code == 400
    assert me.get("messages", maxResults=2**32).status_code == 400
    strict = start(messages=1, behavior=Behavior(max_results_above="refuse"))
    assert call(strict).get("messages", maxResults=501).status_code == 400
    assert call(strict).get("messages", maxResults=500).status_code == 200


def test_the_estimate_is_not_a_count(start: Start, call: Call) -> None:
    gmail = start(messages=300)
    page = call(gmail).me("messages", maxResults=10, includeSpamTrash="true")
    assert page["resultSizeEstimate"] == 201


def test_tokens_of_other_listings_are_refused(start: Start, call: Call) -> None:
    gmail = start(messages=30)
    me = call(gmail)
    token = me.me("messages", maxResults=2)["nextPageToken"]
    assert not token.isalpha()
    for path, wrong in (
        ("threads", token),
        ("messages", "nonsense"),
        ("messages", token[:-3]),
        ("drafts", token),
    ):
        answer = me.get(path, pageToken=wrong)
        assert (answer.status_code, reason(answer)) == (400, "invalidArgument")


def test_a_listing_continues_while_the_mailbox_changes(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    me, mailbox = call(gmail), gmail.mailbox()
    ids = [mailbox.insert(mailbox.random_mail(), ["INBOX"]) for _ in range(10)][::-1]
    page = me.me("messages", maxResults=4)
    mailbox.delete(ids[4])
    mailbox.trash(ids[6])
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    rest = me.me("messages", maxResults=100, pageToken=page["nextPageToken"])
    assert [item["id"] for item in rest["messages"]] == [ids[5], *ids[7:]]


def test_empty_pages_with_a_token(start: Start, call: Call) -> None:
    gmail = start(messages=60, behavior=Behavior(empty_pages=3))
    me = call(gmail)
    empty, ids, token = 0, [], None
    while True:
        page = me.me(
            "messages", maxResults=10, includeSpamTrash="true", **({"pageToken": token} if token else {})
        )
        empty += "messages" not in page
        ids += [item["id"] for item in page.get("messages", [])]
        token = page.get("nextPageToken")
        if not token:
            break
    assert empty >= 2
    assert ids == gmail.mailbox().message_ids()


def test_a_label_deleted_right_after_it_was_listed(start: Start, call: Call) -> None:
    gmail = start(messages=20, behavior=Behavior(label_vanishes_after_list=True))
    me, mailbox = call(gmail), gmail.mailbox()
    mailbox.create_label("Another")
    listed = [label["id"] for label in me.me("labels")["labels"]]
    missing = [label_id for label_id in listed if me.get(f"labels/{label_id}").status_code == 404]
    assert len(missing) == 1
    assert me.get("messages", labelIds=missing[0]).status_code == 400
    again = [label["id"] for label in me.me("labels")["labels"]]
    assert again == [label_id for label_id in listed if label_id not in missing]
    assert {row["id"] for row in gmail.truth("labels")} == set(again)


def test_a_ghost_label(start: Start, call: Call) -> None:
    gmail = start(messages=40, behavior=Behavior(ghost_label=True))
    me = call(gmail)
    known = {label["id"] for label in me.me("labels")["labels"]}
    carried = {label for row in gmail.truth("messages") for label in row.get("labelIds", [])}
    (ghost,) = carried - known
    assert me.get(f"labels/{ghost}").status_code == 404


def test_threads_list_shows_snippet_and_history(start: Start, call: Call) -> None:
    gmail = start(messages=40)
    me = call(gmail)
    truth = {row["id"]: row for row in gmail.truth("threads", include_spam_trash=True)}
    for item in me.pages("threads", "threads", includeSpamTrash="true"):
        assert item == {key: truth[item["id"]][key] for key in ("id", "snippet", "historyId")}
    for item in me.pages("messages", "messages", includeSpamTrash="true"):
        assert set(item) == {"id", "threadId"}
    for item in me.pages("drafts", "drafts"):
        assert set(item) == {"id", "message"}
        assert set(item["message"]) == {"id", "threadId"}


def test_thread_snippet_is_the_newest_outside_trash_and_spam(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    me, mailbox = call(gmail), gmail.mailbox()
    first = mailbox.insert(b"Subject: S\r\nMessage-ID: <1@x>\r\n\r\nfirst one\r\n", ["INBOX"])
    second = mailbox.insert(b"Subject: Re: S\r\nReferences: <1@x>\r\n\r\nsecond one\r\n", ["INBOX"])
    assert me.me("threads")["threads"][0]["snippet"] == "second one"
    mailbox.trash(second)
    assert me.me("threads")["threads"][0]["snippet"] == "first one"
    mailbox.trash(first)
    assert me.me("threads", includeSpamTrash="true")["threads"][0]["snippet"] == "second one"


def test_a_long_search_ends_its_page_early(start: Start, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmail_client.emulator.mailbox.listing._MOST_TESTED", 30)
    gmail = start(messages=100)
    me = call(gmail)
    first = me.me("messages", q="in:anywhere -from:nobody", maxResults=500)
    assert len(first["messages"]) == 30
    ids = [
        item["id"] for item in me.pages("messages", "messages", q="in:anywhere -from:nobody", maxResults=500)
    ]
    assert ids == gmail.mailbox().message_ids()
    threads = me.pages("threads", "threads", q="in:anywhere -from:nobody", maxResults=500)
    assert [item["id"] for item in threads] == gmail.mailbox().thread_ids()
    assert me.me("messages", q="from:nobody.at.all", maxResults=500).get("messages") is None
    assert me.pages("messages", "messages", q="from:nobody.at.all") == []
