"""Accepted and refused calls: tokens, mailboxes, scopes, parameters, and the form of errors."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from support.gmail_api import Caller, reason

from gmail_client.emulator import Emulator
from gmail_client.emulator.api.methods import METHODS
from gmail_client.emulator.api.schemas import SCHEMAS
from gmail_client.http.clock import ScaledClock

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
SCOPE = "https://www.googleapis.com/auth/gmail."


def test_missing_and_bad_tokens(start: Start, call: Call) -> None:
    gmail = start(messages=1)
    nobody = requests.get(f"{gmail.url}/gmail/v1/users/me/profile", timeout=10)
    assert nobody.status_code == 401
    assert nobody.json()["error"]["details"][0]["reason"] == "CREDENTIALS_MISSING"
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer realm=")
    bad = call(gmail, "ya29.nonsense").get("profile")
    assert (bad.status_code, reason(bad)) == (401, "authError")
    assert bad.json()["error"]["status"] == "UNAUTHENTICATED"
    assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]


def test_expired_token(start: Start, call: Call) -> None:
    gmail = start(messages=1, clock=ScaledClock(1000))
    token = gmail.access_token(expires_in=2)
    gmail.clock.sleep(3)
    assert call(gmail, token).get("profile").status_code == 401


def test_revoked_tokens(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=1)
    first, second = call(gmail), call(gmail, gmail.access_token(gmail.addresses[1]))
    gmail.revoke_tokens()
    assert first.get("profile").status_code == 401
    assert second.get("profile").status_code == 200


def test_token_as_parameter(start: Start) -> None:
    gmail = start(messages=1)
    for name in ("access_token", "oauth_token"):
        url = f"{gmail.url}/gmail/v1/users/me/profile"
        answer = requests.get(url, params={name: gmail.access_token()}, timeout=10)
        assert answer.status_code == 200


def test_whose_mailbox(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=1)
    me = call(gmail)
    mine, other = gmail.addresses
    for name in ("me", mine, mine.upper(), mine.replace("@", "%40")):
        answer = me.send("GET", f"/gmail/v1/users/{name}/profile")
        assert answer.json()["emailAddress"] == mine
    refused = me.send("GET", f"/gmail/v1/users/{other}/profile")
    assert (refused.status_code, reason(refused)) == (403, "forbidden")
    assert refused.json()["error"]["message"] == f"Delegation denied for {mine}"


def test_scopes(start: Start, call: Call) -> None:
    gmail = start(messages=3)
    message_id = gmail.mailbox().message_ids()[0]
    labels_only = call(gmail, gmail.access_token(scopes=[SCOPE + "labels"]))
    assert labels_only.get("labels").status_code == 200
    refused = labels_only.get("messages")
    assert (refused.status_code, reason(refused)) == (403, "insufficientPermissions")
    assert refused.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    reader = call(gmail, gmail.access_token(scopes=[SCOPE + "readonly"]))
    assert reader.get(f"messages/{message_id}").status_code == 200
    assert reader.post(f"messages/{message_id}/trash").status_code == 403
    metadata = call(gmail, gmail.access_token(scopes=[SCOPE + "metadata"]))
    assert metadata.get(f"messages/{message_id}", format="metadata").status_code == 200
    assert "format FULL" in metadata.get(f"messages/{message_id}").text
    assert "'q' parameter" in metadata.get("messages", q="x").text


READS = (
    "profile",
    "messages",
    "threads",
    "labels",
    "drafts",
    "settings/filters",
    "settings/sendAs",
    "settings/forwardingAddresses",
    "settings/autoForwarding",
    "settings/imap",
    "settings/pop",
    "settings/language",
    "settings/vacation",
)


@pytest.mark.parametrize("path", READS)
def test_readonly_is_enough_for_every_read(start: Start, call: Call, path: str) -> None:
    gmail = start(messages=2)
    assert call(gmail, gmail.access_token(scopes=[SCOPE + "readonly"])).get(path).status_code == 200


def test_delegates_only_for_service_accounts(start: Start, call: Call) -> None:
    gmail = start(messages=1)
    gmail.mailbox().create_delegate("helper@gmail.test")
    refused = call(gmail, gmail.access_token()).get("settings/delegates")
    assert (refused.status_code, reason(refused)) == (403, "forbidden")
    assert "delegated domain-wide authority" in refused.text
    found = call(gmail, gmail.access_token(delegated=True)).me("settings/delegates")["delegates"]
    assert {"delegateEmail": "helper@gmail.test", "verificationStatus": "accepted"} in found


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("messages", {"maxResult": "5"}),
        ("messages", {"maxResults": "five"}),
        ("messages", {"includeSpamTrash": "yes"}),
        ("messages", {"maxResults": ["5", "6"]}),
        ("messages", {"format": "full"}),
        ("messages/1", {"format": "complete"}),
        ("threads/1", {"format": "raw"}),
        ("history", {"startHistoryId": "-1"}),
        ("history", {"startHistoryId": "1", "historyTypes": "messagesAdded"}),
        ("profile", {"fields": "nothing"}),
        ("profile", {"fields": "emailAddress("}),
        ("profile", {"alt": "media"}),
        ("profile", {"$.xgafv": "3"}),
    ],
)
def test_wrong_parameters_are_400(start: Start, call: Call, path: str, params: dict[str, Any]) -> None:
    answer = call(start(messages=1)).get(path, **params)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["errors"][0]["reason"] in ("badRequest", "invalidArgument")
    assert error["errors"][0]["message"] == error["message"]


def test_enumerations_ignore_case(start: Start, call: Call) -> None:
    gmail = start(messages=1)
    message_id = gmail.mailbox().message_ids()[0]
    assert "payload" not in call(gmail).me(f"messages/{message_id}", format="MINIMAL")


def test_version_two_errors_have_no_list(start: Start, call: Call) -> None:
    error = call(start(messages=1)).get("messages/0", **{"$.xgafv": "2"}).json()["error"]
    assert error == {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}


def test_unknown_paths(start: Start, call: Call) -> None:
    me = call(start(messages=1))
    for verb, path in (
        ("GET", "/gmail/v1/users/me/nothing"),
        ("PUT", "/gmail/v1/users/me/messages"),
        ("GET", "/gmail/v1/users/me"),
        ("POST", "/gmail/v1/users/me/watch"),
        ("POST", "/upload/gmail/v1/users/me/labels"),
        ("GET", "/gmail/v2/users/me/profile"),
        ("GET", "/"),
    ):
        assert me.send(verb, path).status_code == 404, path


def test_jsonp_and_fields(start: Start, call: Call) -> None:
    me = call(start(messages=1))
    text = me.get("profile", callback="show", fields="messagesTotal").text
    assert text == '// API callback\nshow({"messagesTotal":1});'


def test_gzip_needs_both_headers(start: Start, call: Call) -> None:
    gmail = start(messages=60)
    me = call(gmail)
    for encoding, agent, zipped in (
        ("gzip", "reader (gzip)", True),
        ("gzip", "reader", False),
        ("identity", "reader (gzip)", False),
    ):
        answer = me.send(
            "GET",
            "/gmail/v1/users/me/messages",
            headers={"Accept-Encoding": encoding, "User-Agent": agent},
        )
        assert (answer.headers.get("Content-Encoding") == "gzip") == zipped
        assert answer.json()["messages"]
    plain = me.get("messages").content
    assert gmail.usage.bytes["messages.list"] == 4 * len(plain)


def test_usage_counts(start: Start, call: Call) -> None:
    gmail = start(messages=5)
    me = call(gmail)
    ids = gmail.mailbox().message_ids()
    for message_id in (ids[0], ids[0], ids[1]):
        me.me(f"messages/{message_id}")
    me.me(f"messages/{ids[2]}", format="minimal")
    me.me(f"threads/{gmail.mailbox().message(ids[1]).thread.id}")
    me.get("messages/0")
    usage = gmail.usage
    assert usage.calls == {"messages.get": 5, "threads.get": 1}
    assert usage.units == {"messages.get": 100, "threads.get": 40}
    assert usage.errors == {"messages.get": {404: 1}}
    assert usage.http_requests == 6
    twice = usage.fetched_twice[gmail.addresses[0]]
    assert twice[ids[0]] >= 2
    assert twice[ids[1]] == 2
    assert ids[2] not in twice
    usage.reset()
    assert usage.total_calls == usage.total_units == usage.total_bytes == usage.fetched == 0
    assert json.dumps(usage.as_json())


def any_value(rng: random.Random, kind: str, depth: int = 0) -> Any:
    """A value for a field of this kind, sometimes of another."""
    if rng.random() < 0.1:
        return rng.choice([None, 1, "x", [], {}, True, "\ud800", "\x00", 2**70])
    if kind.endswith("[]"):
        return [any_value(rng, kind[:-2], depth + 1) for _ in range(rng.randrange(3))]
    if kind in SCHEMAS:
        fields = SCHEMAS[kind].items() if depth < 4 else ()
        return {name: any_value(rng, below, depth + 1) for name, below in fields if rng.random() < 0.5}
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("int32", "uint32"):
        return rng.randrange(-5, 3000)
    return rng.choice(["", "x", "1", "INBOX", "UNREAD", "a@b.c", "RnJvbTogYUB4DQoNCg==", "ü" * 5])


@pytest.mark.parametrize("seed", range(3))
def test_no_request_breaks_the_server(
    start: Start, call: Call, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gmail = start(messages=20)
    me, mailbox, rng = call(gmail), gmail.mailbox(), random.Random(seed)

    def some_id(match: re.Match[str]) -> str:
        known = [mailbox.message_ids(), list(mailbox.store.drafts), list(mailbox.labels.labels)]
        known += [list(mailbox.settings.send_as), ["x", "%00", "a%2Fb", "%ff"]]
        return str(rng.choice(rng.choice([ids for ids in known if ids])))

    texts = ["", "1", "true", "x", "500", "INBOX", "-1", "from:(", '"open', str(10**12), "WzEsMSwxXQ", "id,*"]
    for method in [*METHODS.values()] * 3:
        path = "/gmail/v1/users/me/" + re.sub(r"\{\w+\}", some_id, method.path)
        names = [*(parameter.name for parameter in method.parameters), "fields"]
        params = {name: rng.choice(texts) for name in names if rng.random() < 0.3}
        body = json.dumps(any_value(rng, method.request)) if method.request else rng.choice(["", "{}", "{"])
        answer = me.send(method.verb, path, params=params, data=body)
        assert answer.status_code < 500, (method.name, path, params, body, capsys.readouterr().err)
    assert gmail.usage.calls.keys() == METHODS.keys()
