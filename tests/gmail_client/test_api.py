from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.fake_gmail import (
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    connect,
    error_response,
    message_response,
)

from gmail_client.api import GmailApi, HistoryPage
from gmail_client.client import GmailClient
from gmail_client.errors import (
    ConfigurationError,
    ForbiddenError,
    GmailError,
    HistoryExpiredError,
    NotFoundError,
    ResponseError,
    UnavailableError,
)

Listing = Callable[[GmailApi], Any]

LISTINGS: dict[str, tuple[Listing, str]] = {
    "messages": (lambda api: list(api.list_messages()), "messages"),
    "threads": (lambda api: list(api.list_threads()), "threads"),
    "drafts": (lambda api: list(api.list_drafts()), "drafts"),
    "history": (lambda api: list(api.history("7")), "history"),
    "labels": (lambda api: api.labels(), "labels"),
    "filters": (lambda api: api.filters(), "filter"),
    "forwardingAddresses": (lambda api: api.forwarding_addresses(), "forwardingAddresses"),
    "sendAs": (lambda api: api.send_as(), "sendAs"),
    "delegates": (lambda api: api.delegates(), "delegates"),
}
PAGED = ["messages", "threads", "drafts", "history"]


@pytest.fixture
def api(client: GmailClient) -> GmailApi:
    return client.mailbox().api


def item(number: int | str) -> dict[str, Any]:
    """An item that is valid in any listing."""
    address = dict.fromkeys(("forwardingEmail", "sendAsEmail", "delegateEmail"), "a@b.test")
    return {"id": str(number), "threadId": "1", **address}


def page(request: FakeRequest, pages: list[dict[str, Any]]) -> FakeResponse:
    """Page n for the token n, with the head of the history on every page."""
    number = int(request.params.get("pageToken", ["0"])[0])
    more = {"nextPageToken": str(number + 1)} if number + 1 < len(pages) else {}
    return FakeResponse(json={"historyId": "99", "resultSizeEstimate": 3, **pages[number], **more})


def flat(result: Any) -> list[Any]:
    return [
        item
        for part in result
        for item in (
            part.records if isinstance(part, HistoryPage) else part if isinstance(part, list) else [part]
        )
    ]


@pytest.mark.parametrize("name", PAGED)
def test_pages_are_followed_to_the_last(wire: FakeGmail, api: GmailApi, name: str) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda request: page(request, [{key: [item(1), item(2)]}, {key: [item(3)]}])
    assert [item["id"] for item in flat(ask(api))] == ["1", "2", "3"]


@pytest.mark.parametrize("name", PAGED)
def test_an_empty_page_does_not_end_a_listing(wire: FakeGmail, api: GmailApi, name: str) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda request: page(request, [{}, {key: []}, {key: [item(1)]}, {}])
    assert [item["id"] for item in flat(ask(api))] == ["1"]
    assert len(wire.gets) == 4


@pytest.mark.parametrize("name", sorted(LISTINGS.keys() - {"labels"}))
def test_a_missing_key_means_an_empty_list(wire: FakeGmail, api: GmailApi, name: str) -> None:
    more = {"history": {"historyId": "99"}, **{key: {"resultSizeEstimate": 0} for key in PAGED[:3]}}
    wire.handler = lambda _: FakeResponse(json=more.get(name, {}))
    assert flat(LISTINGS[name][0](api)) == []


def test_no_mailbox_is_without_labels(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: FakeResponse(json={})
    with pytest.raises(UnavailableError, match=r"list: the response is empty"):
        api.labels()


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize(
    "document",
    [
        {"error": {"code": 429, "message": "Slow down."}},
        {"error": {"code": 403, "message": "Blocked."}, "historyId": "99", "resultSizeEstimate": 0},
        {"message": "no route"},
    ],
    ids=["error", "error and fields", "another server's"],
)
def test_a_refusal_with_status_200_is_never_an_empty_list(
    wire: FakeGmail, api: GmailApi, name: str, document: dict[str, Any]
) -> None:
    wire.handler = lambda _: FakeResponse(json=document)
    with pytest.raises(UnavailableError, match="has status 200, but an error or other fields"):
        LISTINGS[name][0](api)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"message": "no route"},
        {"error": "not found"},
        {"error": {"code": 404, "message": "No upstream."}},
    ],
)
def test_only_gmails_error_object_shows_that_an_item_is_gone(
    wire: FakeGmail, api: GmailApi, document: dict[str, Any]
) -> None:
    wire.handler = lambda _: FakeResponse(404, document)
    with pytest.raises(UnavailableError, match="without Gmail's error object"):
        api.label("Label_1")
    with pytest.raises(UnavailableError, match="without Gmail's error object"):
        list(api.history("1"))
    (result,) = api.get_many([api.message_call("18c")])
    assert type(result.error) is UnavailableError


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize(
    "response",
    [error_response(403, "forbidden"), error_response(400, "invalidArgument"), FakeResponse(500, {})],
)
def test_a_refused_listing_is_never_an_empty_table(
    wire: FakeGmail, api: GmailApi, name: str, response: FakeResponse
) -> None:
    wire.handler = lambda _: response
    with pytest.raises(GmailError):
        LISTINGS[name][0](api)


@pytest.mark.parametrize("name", PAGED)
def test_a_listing_refused_midway_is_never_shortened(wire: FakeGmail, api: GmailApi, name: str) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda request: (
        error_response(403, "forbidden")
        if "pageToken" in request.params
        else page(request, [{key: [item(1)]}, {}])
    )
    with pytest.raises(ForbiddenError):
        ask(api)


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("items", ["none", 7, {"id": "1"}, [1], [None], [["id"]]])
def test_a_list_of_another_type_is_an_error(wire: FakeGmail, api: GmailApi, name: str, items: Any) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda _: FakeResponse(json={"historyId": "99", key: items})
    with pytest.raises(ResponseError, match=rf": {key}.* is .*, not "):
        ask(api)


@pytest.mark.parametrize("name", PAGED)
def test_a_repeated_page_token_is_an_error(wire: FakeGmail, api: GmailApi, name: str) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda _: FakeResponse(json={"historyId": "99", key: [item(1)], "nextPageToken": "again"})
    with pytest.raises(UnavailableError, match="does not end"):
        ask(api)
    assert len(wire.gets) < 5


@pytest.mark.parametrize("name", PAGED)
def test_empty_pages_without_end_are_an_error(wire: FakeGmail, api: GmailApi, name: str) -> None:
    wire.handler = lambda _: FakeResponse(json={"historyId": "99", "nextPageToken": str(len(wire.gets))})
    with pytest.raises(UnavailableError, match="does not end"):
        LISTINGS[name][0](api)
    assert len(wire.gets) < 1_000


@pytest.mark.parametrize("name", PAGED)
def test_pages_of_known_items_without_end_are_an_error(wire: FakeGmail, api: GmailApi, name: str) -> None:
    ask, key = LISTINGS[name]
    wire.handler = lambda request: FakeResponse(
        json={
            "historyId": "99",
            key: [item(1 + len(wire.gets) % 7), item(1)],
            "nextPageToken": f"t{len(wire.gets)}",
        }
    )
    with pytest.raises(UnavailableError, match="does not end"):
        ask(api)
    assert len(wire.gets) < 30


@pytest.mark.parametrize("name", PAGED)
def test_items_that_move_between_pages_do_not_end_a_listing(
    wire: FakeGmail, api: GmailApi, name: str
) -> None:
    ask, key = LISTINGS[name]
    pages = [{key: [item(n // 10)]} for n in range(100)]
    wire.handler = lambda request: page(request, pages)
    assert len(flat(ask(api))) == 100


def test_one_history_id_may_fill_many_pages(wire: FakeGmail, api: GmailApi) -> None:
    pages = [{"history": [{"id": "8", "messages": [{"id": f"{n:x}"}]}]} for n in range(60)]
    wire.handler = lambda request: page(request, pages)
    assert len(flat(api.history("7"))) == 60


def test_listings_send_their_parameters(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: FakeResponse(json={})
    list(
        api.list_messages(q="from:a b", label_ids=["INBOX", "Label_1"], include_spam_trash=True, page_size=7)
    )
    list(api.list_threads(q="x"))
    list(api.list_drafts(include_spam_trash=True))
    assert [request.params for request in wire.gets] == [
        {
            "q": ["from:a b"],
            "labelIds": ["INBOX", "Label_1"],
            "includeSpamTrash": ["true"],
            "maxResults": ["7"],
        },
        {"q": ["x"], "maxResults": ["500"]},
        {"includeSpamTrash": ["true"], "maxResults": ["500"]},
    ]


def test_history_returns_the_head_and_the_resume_position(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda request: page(request, [{"history": [{"id": "8"}]}, {"history": [{"id": "9"}]}])
    assert list(api.history("7")) == [
        HistoryPage([{"id": "8"}], "99", "1"),
        HistoryPage([{"id": "9"}], "99", None),
    ]
    assert wire.gets[0].params == {"startHistoryId": ["7"], "maxResults": ["500"]}
    assert list(api.history("7", page_token="1")) == [HistoryPage([{"id": "9"}], "99", None)]


def test_an_expired_history_has_its_own_error(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: error_response(404, "notFound", "Requested entity was not found.")
    with pytest.raises(HistoryExpiredError):
        list(api.history("1"))


def test_a_history_without_head_is_an_error(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: FakeResponse(json={"history": []})
    with pytest.raises(ResponseError, match=r"history\.list: historyId is missing"):
        list(api.history("1"))


@pytest.mark.parametrize(
    ("ask", "path"),
    [
        (lambda api: api.profile(), "profile"),
        (lambda api: api.labels(), "labels"),
        (lambda api: api.label("Label_1"), "labels/Label_1"),
        (lambda api: api.filters(), "settings/filters"),
        (lambda api: api.forwarding_addresses(), "settings/forwardingAddresses"),
        (lambda api: api.send_as(), "settings/sendAs"),
        (lambda api: api.delegates(), "settings/delegates"),
        (lambda api: api.settings_part("autoForwarding"), "settings/autoForwarding"),
        (lambda api: api.settings_part("imap"), "settings/imap"),
        (lambda api: api.settings_part("language"), "settings/language"),
        (lambda api: api.settings_part("pop"), "settings/pop"),
        (lambda api: api.settings_part("vacation"), "settings/vacation"),
    ],
)
def test_each_read_has_its_path_and_costs_a_unit(
    wire: FakeGmail, api: GmailApi, ask: Callable[[GmailApi], Any], path: str
) -> None:
    documents = {
        "profile": {"emailAddress": "a@b.test", "historyId": "1"},
        "labels": {"labels": [{"id": "Label_1"}]},
        "labels/Label_1": {"id": "Label_1"},
        "settings/sendAs": {"sendAs": [{"sendAsEmail": "a@b.test"}]},
    }
    wire.handler = lambda _: FakeResponse(json=documents.get(path, {}))
    ask(api)
    assert wire.gets[0].path == f"/gmail/v1/users/me/{path}"
    assert api.usage.snapshot().total_units == 1


def test_an_unknown_part_of_the_settings(api: GmailApi) -> None:
    with pytest.raises(ConfigurationError, match="signature"):
        api.settings_part("signature")


def test_a_deleted_label(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: error_response(404, "notFound", "Label not found")
    with pytest.raises(NotFoundError):
        api.label("Label_9")


@pytest.mark.parametrize(
    ("name", "method", "units"),
    [("message", "messages.get", 20), ("thread", "threads.get", 40), ("draft", "drafts.get", 20)],
)
def test_calls_for_items(wire: FakeGmail, api: GmailApi, name: str, method: str, units: int) -> None:
    wire.handler = lambda _: FakeResponse(json={"id": "a/b?c"})
    call = getattr(api, f"{name}_call")("a/b?c", "metadata")
    assert (call.method, call.key) == (method, "a/b?c")
    [answer] = api.get_many([call])
    assert answer.error is None
    assert wire.gets[0].path == f"/gmail/v1/users/me/{name}s/a%2Fb%3Fc"
    assert wire.gets[0].params["format"] == ["metadata"]
    assert api.usage.snapshot().units == {method: units}


def test_the_mailbox_is_quoted_in_paths(wire: FakeGmail, clock: ManualClock) -> None:
    wire.handler = message_response
    connect(wire, clock).mailbox("ada+1/x?@b.test").api.label("INBOX")
    assert wire.gets[0].path == "/gmail/v1/users/ada%2B1%2Fx%3F@b.test/labels/INBOX"


def test_usage_is_counted_per_mailbox(wire: FakeGmail, client: GmailClient) -> None:
    wire.handler = lambda _: FakeResponse(json={"messages": [{"id": "1", "threadId": "1"}]})
    api = client.mailbox().api
    before = api.usage.snapshot()
    list(api.list_messages())
    since = api.usage.since(before)
    assert (since.calls, since.units) == ({"messages.list": 1}, {"messages.list": 5})
    assert since.total_bytes == len(b'{"messages": [{"id": "1", "threadId": "1"}]}')
    assert api.plan.price("messages.list") == 5
