"""What `conformance` makes answers the questions, and is found and removed again, after a kill too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.chaos import InstantClock
from support.lively import BY_BEHAVIOR, GROUPS, answered

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient, Mailbox
from gmail_client.conformance.examination import examine
from gmail_client.conformance.probes.writes import WRITE_PROBES
from gmail_client.conformance.seeding import MESSAGES, change, clean_up, seed, wait_until_listed
from gmail_client.emulator import Behavior, Emulator, Fault
from gmail_client.errors import RequestError, ScopeError
from gmail_client.http.exchange import Exchange
from gmail_client.quota import preset

MODIFY = "https://www.googleapis.com/auth/gmail.modify"
FULL = "https://mail.google.com/"


def mailbox_of(gmail: Emulator, scope: str = MODIFY) -> Mailbox:
    credentials = Credentials.from_access_token(gmail.access_token(scopes=[scope]))
    return GmailClient(
        credentials, quota=preset(1_200_000), api_root=gmail.url, oauth_root=gmail.url, clock=InstantClock()
    ).mailbox("me")


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=8, seed=4) as emulator:
        yield emulator


@pytest.fixture
def exchange(gmail: Emulator) -> Iterator[Exchange]:
    yield mailbox_of(gmail).api.exchange()
    gmail.faults.clear()
    clean_up(mailbox_of(gmail, FULL).api.exchange())


def state(gmail: Emulator) -> dict[str, Any]:
    mailbox = gmail.mailbox()
    return {
        "messages": {message_id: mailbox.label_ids(message_id) for message_id in mailbox.message_ids()},
        "labels": mailbox.labels.ids_by_name(),
        "drafts": sorted(mailbox.store.drafts),
    }


def test_a_seeded_mailbox_answers_every_question() -> None:
    with Emulator(messages=0) as gmail:
        mailbox = mailbox_of(gmail)
        exchange = mailbox.api.exchange()
        made = seed(exchange)
        change(exchange, made)
        examination = examine(mailbox, written=made.evidence)
    unanswered = {finding.probe.id for finding in examination.findings if finding.status == "unknown"}
    assert unanswered == {"transport.retry_after"}
    assert not [finding.probe.id for finding in examination.findings if finding.status == "differs"]
    assert {finding.probe.id for finding in examination.findings} >= {probe.id for probe in WRITE_PROBES}


@pytest.mark.slow
@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_a_seeded_mailbox_shows_every_flipped_behavior(group: int) -> None:
    # Seeded messages carry no ghost labels: only the mailbox's own could.
    flipped = {name: value for name, value in GROUPS[group].items() if name != "ghost_label"}
    with Emulator(messages=0, behavior=Behavior(**flipped)) as gmail:
        mailbox = mailbox_of(gmail)
        exchange = mailbox.api.exchange()
        made = seed(exchange)
        change(exchange, made)
        examination = examine(mailbox, written=made.evidence)
    different = {
        finding.probe.id: finding.answer.text
        for finding in examination.findings
        if finding.status == "differs" and finding.answer is not None
    }
    expected = {BY_BEHAVIOR[name].id: answered(value) for name, value in flipped.items()}
    if expected.pop("history.groups", None):  # reading alone needs more than six equal changes to tell
        expected["writes.groups"] = "message"
    assert different == expected


def test_everything_is_removed_for_good_with_full_access(gmail: Emulator) -> None:
    before = state(gmail)
    exchange = mailbox_of(gmail, FULL).api.exchange()
    made = seed(exchange)
    assert wait_until_listed(exchange, made, lambda seconds: pytest.fail("waited"))
    change(exchange, made)
    done = clean_up(exchange)
    assert state(gmail) == before
    assert (done.labels, done.deleted, done.trashed) == (1, MESSAGES + 2, 0)
    assert clean_up(exchange).labels == 0


def test_the_rest_is_in_the_trash_with_the_scope_modify(gmail: Emulator, exchange: Exchange) -> None:
    before = state(gmail)
    change(exchange, seed(exchange))
    done = clean_up(exchange)
    after = state(gmail)
    assert (done.labels, done.deleted, done.trashed) == (1, 1, MESSAGES + 1)
    assert (after["labels"], after["drafts"]) == (before["labels"], before["drafts"])
    extra = {key: labels for key, labels in after["messages"].items() if key not in before["messages"]}
    assert len(extra) == MESSAGES + 1
    assert all("TRASH" in labels for labels in extra.values())
    assert before["messages"].items() <= after["messages"].items()
    gmail.mailbox().batch_delete(list(extra))


@pytest.mark.parametrize("writes", [1, 2, 5, 30, 32, 44, 47])
def test_what_a_killed_run_left_is_removed_by_the_next(
    gmail: Emulator, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(gmail)
    exchange = mailbox_of(gmail, FULL).api.exchange()
    write = Exchange.write
    count = 0

    class Killed(BaseException):
        pass

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count > writes:
            raise Killed
        return write(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "write", counted)
        with pytest.raises(Killed):
            change(exchange, seed(exchange))
    assert state(gmail) != before
    clean_up(exchange)
    assert state(gmail) == before


def test_nothing_else_is_removed(gmail: Emulator) -> None:
    exchange = mailbox_of(gmail, FULL).api.exchange()
    mailbox = gmail.mailbox()
    mailbox.create_label("gmail-assets-conformance")
    mailbox.create_label("gmail-assets-conformance2/x")
    own = mailbox.create_label("gmail-assets-conformance/notes of my own")
    mailbox.modify(mailbox.message_ids()[0], add=[own])
    draft = mailbox.create_draft(b"Subject: About A draft of gmail-assets conformance\r\n\r\nx")
    before = state(gmail)
    seed(exchange)
    clean_up(exchange)
    assert state(gmail) == before
    mailbox.delete_draft(draft)


def test_what_a_search_finds_is_removed_only_with_the_message_id(gmail: Emulator) -> None:
    exchange = mailbox_of(gmail, FULL).api.exchange()
    before = state(gmail)
    seed(exchange)
    listed = {"messages": [{"id": id_, "threadId": id_} for id_ in before["messages"]]}
    # As if the server did not know the search: it lists the user's messages.
    gmail.faults.add(Fault("messages.list", kind="patch", patch=listed, nth=2))
    clean_up(exchange)
    gmail.faults.clear()
    assert before["messages"].items() <= state(gmail)["messages"].items()


def test_a_login_that_only_reads_is_told_what_to_do(gmail: Emulator) -> None:
    before = state(gmail)
    exchange = mailbox_of(gmail, "https://www.googleapis.com/auth/gmail.readonly").api.exchange()
    with pytest.raises(ScopeError, match="may not change the mailbox") as caught:
        seed(exchange)
    assert "login --scope modify" in caught.value.fix
    assert state(gmail) == before


def test_a_listing_that_lags_is_waited_for(gmail: Emulator, exchange: Exchange) -> None:
    made = seed(exchange)
    gmail.faults.add(Fault("messages.list", kind="patch", patch={"messages": []}, times=3))
    waits: list[float] = []
    assert wait_until_listed(exchange, made, waits.append)
    assert len(waits) == 3
    gmail.faults.add(Fault("messages.list", kind="patch", patch={"messages": []}))
    assert not wait_until_listed(exchange, made, waits.append)


def test_another_server_is_named(gmail: Emulator, exchange: Exchange) -> None:
    gmail.faults.add(Fault("labels.create", kind="patch", patch={"id": None}))
    with pytest.raises(RequestError, match="the response has no id"):
        seed(exchange)
