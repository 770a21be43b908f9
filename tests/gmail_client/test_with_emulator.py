"""The client with the emulator, over real sockets: the same results and counts with every fault."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from gmail_client.api import GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.emulator import Behavior, Emulator, Fault
from gmail_client.errors import (
    CredentialsError,
    DailyLimitError,
    DelegationError,
    ForbiddenError,
    GmailError,
    HistoryExpiredError,
    NotFoundError,
    ScopeError,
    UnavailableError,
)
from gmail_client.http.clock import ScaledClock
from gmail_client.quota import QuotaPlan, preset

PLENTY = preset(1_200_000)


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(messages=150, seed=5, clock=ScaledClock(50)) as gmail:
        yield gmail


@pytest.fixture
def gmail(shared: Emulator) -> Iterator[Emulator]:
    shared.usage.reset()
    yield shared
    shared.faults.clear()


def connected(
    gmail: Emulator, credentials: Credentials | None = None, quota: QuotaPlan = PLENTY
) -> GmailClient:
    if credentials is None:
        variables = gmail.environment()
        credentials = Credentials.of(
            client_id=variables["GMAIL_CLIENT_ID"],
            client_secret=variables["GMAIL_CLIENT_SECRET"],
            refresh_token=variables["GMAIL_REFRESH_TOKEN"],
        )
    return GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url, clock=gmail.clock, quota=quota)


@pytest.fixture
def api(gmail: Emulator) -> GmailApi:
    return connected(gmail).mailbox().api


def listed(pages: Iterator[list[dict[str, Any]]]) -> list[str]:
    return [item["id"] for page in pages for item in page]


def comparable(value: Any) -> Any:
    """Without attachment ids, which differ from one get to the next."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key != "attachmentId"}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def by_id(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["id"]: comparable(row) for row in rows}


def fetched(api: GmailApi) -> list[dict[str, Any]]:
    ids = listed(api.list_messages(include_spam_trash=True))
    return [answer.json for answer in api.get_many(map(api.message_call, ids)) if answer.json is not None]


def test_messages_threads_and_drafts_come_whole(gmail: Emulator, api: GmailApi) -> None:
    threads = listed(api.list_threads(include_spam_trash=True, page_size=40))
    drafts = listed(api.list_drafts())
    got_threads = [answer.json for answer in api.get_many(map(api.thread_call, threads))]
    got_drafts = [answer.json for answer in api.get_many(map(api.draft_call, drafts))]
    assert by_id(fetched(api)) == by_id(gmail.truth("messages", include_spam_trash=True))
    assert {thread["id"] for thread in got_threads if thread} == set(
        by_id(gmail.truth("threads", include_spam_trash=True))
    )
    assert by_id([draft for draft in got_drafts if draft]) == by_id(gmail.truth("drafts"))


def test_small_reads_equal_the_truth(gmail: Emulator, api: GmailApi) -> None:
    labels = [answer.json for answer in api.get_many(api.label_call(label["id"]) for label in api.labels())]
    assert by_id([label for label in labels if label]) == by_id(gmail.truth("labels"))
    assert by_id(api.filters()) == by_id(gmail.truth("filters"))
    for got, table, key in (
        (api.forwarding_addresses(), "forwarding_addresses", "forwardingEmail"),
        (api.send_as(), "send_as", "sendAsEmail"),
    ):
        assert sorted(got, key=lambda row: row[key]) == sorted(gmail.truth(table), key=lambda row: row[key])
    [profile] = gmail.truth("profile")
    assert api.profile() == profile
    [settings] = gmail.truth("settings")
    for part in ("autoForwarding", "imap", "language", "pop", "vacation"):
        assert api.settings_part(part) == settings[part]


def test_both_sides_count_the_same(gmail: Emulator, api: GmailApi) -> None:
    fetched(api)
    api.labels()
    usage = api.usage.snapshot()
    assert gmail.usage.calls.pop("oauth.token") == 1
    assert dict(usage.calls) == dict(gmail.usage.calls)
    assert dict(usage.units) == dict(+gmail.usage.units)
    assert {**usage.bytes, "oauth.token": gmail.usage.bytes["oauth.token"]} == dict(gmail.usage.bytes)
    assert usage.requests == gmail.usage.http_requests
    assert gmail.usage.fetched_twice == {}


TROUBLE = [
    Fault(method="messages.get", status=503, share=0.1, times=20),
    Fault(method="messages.get", status=403, reason="rateLimitExceeded", share=0.1, times=20),
    Fault(method="messages.get", status=429, reason="rateLimitExceeded", share=0.2, times=10),
    Fault(method="messages.get", kind="truncate", share=0.05, times=5),
    Fault(method="messages.get", kind="reset", share=0.05, times=5),
    Fault(method="messages.get", kind="content-type", share=0.1, times=10),
    Fault(method="messages.list", status=403, reason="userRateLimitExceeded", times=2),
    Fault(method="messages.list", kind="reset", times=2),
    Fault(method="messages.list", kind="truncate", times=2),
    Fault(method="messages.list", kind="content-type", times=1),
    Fault(method="*", status=500, share=0.2, times=30),
    Fault(method="*", status=401, reason="authError", nth=2),
    Fault(method="batch", status=503),
    Fault(method="batch", status=404),
    Fault(method="batch", status=429, reason="rateLimitExceeded", times=3),
    Fault(method="batch", status=401, reason="authError", times=1),
    Fault(method="batch", kind="reset", times=3),
    Fault(method="batch", kind="truncate", times=3),
    Fault(method="batch", kind="content-type", times=3),
    Fault(method="oauth.token", status=503, reason="temporarily_unavailable", times=2),
]


@pytest.mark.parametrize("fault", TROUBLE, ids=lambda fault: f"{fault.method}-{fault.kind}-{fault.status}")
def test_no_message_is_lost_to_passing_trouble(gmail: Emulator, api: GmailApi, fault: Fault) -> None:
    gmail.faults.add(fault)
    messages = fetched(api)
    assert any(listed["done"] for listed in gmail.faults.listed())
    gmail.faults.clear()
    assert by_id(messages) == by_id(gmail.truth("messages", include_spam_trash=True))
    assert len(messages) == 150


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(method="messages.list", status=403, reason="dailyLimitExceeded"), DailyLimitError),
        (Fault(method="messages.list", status=500), UnavailableError),
        (Fault(method="messages.list", kind="truncate"), UnavailableError),
        (Fault(method="messages.get", status=503), UnavailableError),
        (Fault(method="messages.get", status=403, reason="quotaExceeded", nth=60), DailyLimitError),
        (Fault(method="messages.get", status=401, reason="authError"), CredentialsError),
        (Fault(method="oauth.token", status=400, reason="invalid_grant"), CredentialsError),
        (Fault(method="oauth.token", status=401, reason="invalid_client"), CredentialsError),
    ],
    ids=lambda value: getattr(value, "method", getattr(value, "__name__", "")),
)
def test_lasting_trouble_is_an_error_of_its_class(
    gmail: Emulator, api: GmailApi, fault: Fault, kind: type[GmailError]
) -> None:
    gmail.faults.add(fault)
    with pytest.raises(kind) as caught:
        fetched(api)
    assert caught.value.fix


def test_one_message_that_cannot_be_served_holds_nobody_up(gmail: Emulator, api: GmailApi) -> None:
    ids = [*listed(api.list_messages()), "1234567890abcdef"]
    answers = list(api.get_many(map(api.message_call, ids)))
    failed = [answer for answer in answers if answer.error is not None]
    assert [answer.call.key for answer in failed] == ["1234567890abcdef"]
    assert isinstance(failed[0].error, NotFoundError)


@pytest.mark.parametrize("pages", [Behavior(empty_pages=2), Behavior(listing_order="shuffled")])
def test_odd_listings_are_complete(pages: Behavior) -> None:
    with Emulator(messages=60, seed=2, behavior=pages) as gmail:
        api = connected(gmail).mailbox().api
        ids = listed(api.list_messages(include_spam_trash=True, page_size=7))
        assert sorted(ids) == sorted(by_id(gmail.truth("messages", include_spam_trash=True)))


def test_history_is_read_and_expires(api: GmailApi, gmail: Emulator) -> None:
    start = api.profile()["historyId"]
    ids = listed(api.list_messages())[:3]
    for message_id in ids:
        gmail.mailbox().modify(message_id, add=["STARRED"], remove=[])
        gmail.mailbox().modify(message_id, add=[], remove=["STARRED"])
    pages = list(api.history(start, page_size=1))
    assert len(pages) >= 3
    assert pages[-1].next_page_token is None
    assert int(pages[-1].head) > int(start)
    again = list(api.history(start, page_size=1, page_token=pages[0].next_page_token))
    assert [page.records for page in again] == [page.records for page in pages[1:]]
    gmail.expire_history()
    with pytest.raises(HistoryExpiredError):
        list(api.history(start))


def test_delegates_are_for_service_accounts(gmail: Emulator, api: GmailApi, tmp_path: Path) -> None:
    with pytest.raises(ForbiddenError, match="domain-wide"):
        api.delegates()
    key = gmail.service_account_file(tmp_path / "key.json")
    client = connected(gmail, Credentials.from_service_account_file(key))
    assert client.mailbox(gmail.addresses[0]).api.delegates() == gmail.truth("delegates")
    assert client.mailbox(gmail.addresses[0]).address == gmail.addresses[0]


def test_a_service_account_for_a_stranger(gmail: Emulator, tmp_path: Path) -> None:
    key = gmail.service_account_file(tmp_path / "key.json")
    client = connected(gmail, Credentials.from_service_account_file(key))
    with pytest.raises(CredentialsError, match="mailbox"):
        client.mailbox("nobody@elsewhere.test").api.profile()


def test_another_mailbox_is_denied(gmail: Emulator) -> None:
    with pytest.raises(DelegationError, match="GMAIL_USER_ID"):
        connected(gmail).mailbox("nobody@elsewhere.test").api.profile()


def test_a_token_without_the_scope(gmail: Emulator) -> None:
    token = gmail.access_token(scopes=["https://www.googleapis.com/auth/gmail.send"])
    with pytest.raises(ScopeError, match=r"gmail\.readonly"):
        list(connected(gmail, Credentials.from_access_token(token)).mailbox().api.list_messages())


def test_an_access_token_that_expires(gmail: Emulator) -> None:
    token = gmail.access_token(expires_in=30)
    api = connected(gmail, Credentials.from_access_token(token)).mailbox().api
    api.profile()
    gmail.clock.sleep(40)
    with pytest.raises(CredentialsError, match="GMAIL_ACCESS_TOKEN"):
        api.profile()


def test_a_wrong_client_secret(gmail: Emulator) -> None:
    variables = gmail.environment()
    wrong = Credentials.of(
        client_id=variables["GMAIL_CLIENT_ID"],
        client_secret="hush",
        refresh_token=variables["GMAIL_REFRESH_TOKEN"],
    )
    with pytest.raises(CredentialsError, match="GMAIL_CLIENT_SECRET"):
        connected(gmail, wrong).mailbox().api.profile()


def test_a_grant_revoked_midway() -> None:
    with Emulator(messages=200, seed=1, clock=ScaledClock(50)) as gmail:
        api = connected(gmail).mailbox().api
        ids = listed(api.list_messages(include_spam_trash=True))
        stream = api.get_many(map(api.message_call, ids * 10))
        next(stream)
        gmail.revoke_tokens()
        with pytest.raises(CredentialsError, match="revoked"):
            list(stream)


@pytest.mark.parametrize(
    ("quota", "seconds"), [("current", 60), pytest.param("600", 180, marks=pytest.mark.slow)]
)
def test_at_least_95_percent_of_the_quota_is_used_and_nothing_refused(quota: str, seconds: int) -> None:
    clock = ScaledClock(20)
    with Emulator(messages=300, seed=3, quota=quota, clock=clock) as gmail:
        api = connected(gmail, quota=preset(quota)).mailbox().api
        ids = listed(api.list_messages())
        start, before = clock.time(), api.usage.snapshot()
        for _ in api.get_many(api.message_call(ids[number % len(ids)]) for number in count()):
            if clock.time() >= start + seconds:
                break
        share = api.usage.since(before).total_units / (
            preset(quota).user_per_minute * (clock.time() - start) / 60
        )
        assert dict(gmail.usage.errors) == {}
        assert share >= 0.95


@pytest.mark.parametrize(("believed", "true"), [("legacy", "current"), (12_000, "current")])
def test_a_wrong_belief_about_the_limit_costs_no_message(believed: str | int, true: str | int) -> None:
    clock = ScaledClock(100)
    with Emulator(messages=300, seed=3, quota=true, clock=clock) as gmail:
        api = connected(gmail, quota=preset(believed)).mailbox().api
        ids = listed(api.list_messages(include_spam_trash=True))
        answers = list(islice(api.get_many(map(api.message_call, ids * 3)), 600))
        assert all(answer.error is None for answer in answers)
        refusals = sum(sum(statuses.values()) for statuses in gmail.usage.errors.values())
        assert refusals < 200
