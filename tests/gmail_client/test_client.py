from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.fake_gmail import API, OAUTH, FakeGmail, FakeResponse, ManualClock, connect

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.errors import ConfigurationError, OptionError, ResponseError, UnknownTableError
from gmail_client.mailbox_changes import MailboxChange
from gmail_client.options import TableOptions
from gmail_client.quota import preset
from gmail_client.settings import Settings

ROBOT = Credentials("service account", service_account=SecretStr(json.dumps({"hush": 1})))


def test_me_is_resolved_once(wire: FakeGmail, client: GmailClient) -> None:
    wire.handler = lambda _: FakeResponse(json={"emailAddress": "ada@b.test", "historyId": "1"})
    mailbox = client.mailbox()
    assert (mailbox.user_id, mailbox.address, mailbox.address) == ("me", "ada@b.test", "ada@b.test")
    assert [request.path for request in wire.gets] == ["/gmail/v1/users/me/profile"]


@pytest.mark.parametrize("profile", [{}, {"emailAddress": ""}, {"emailAddress": None}])
def test_a_profile_without_address_is_an_error(
    wire: FakeGmail, client: GmailClient, profile: dict[str, str]
) -> None:
    wire.handler = lambda _: FakeResponse(json=profile)
    with pytest.raises(ResponseError, match=r"getProfile: emailAddress is "):
        _ = client.mailbox().address


def test_the_same_mailbox_is_the_same_object(client: GmailClient) -> None:
    assert client.mailbox() is client.mailbox("me") is client.mailbox(" me ")
    assert client.mailbox("ada@b.test") is client.mailbox("ada@b.test")


def test_one_user_has_one_rate_limiter_under_any_name(client: GmailClient) -> None:
    me, ada = client.mailbox().api._transport, client.mailbox("ada@b.test").api._transport
    assert me._user_limiter is ada._user_limiter
    assert me.concurrency is ada.concurrency
    assert me.tokens is ada.tokens
    assert me.usage is not ada.usage


def test_a_service_account_impersonates_each_mailbox_separately(wire: FakeGmail, clock: ManualClock) -> None:
    client = connect(wire, clock, credentials=ROBOT)
    ada, bob = client.mailbox("ada@b.test").api._transport, client.mailbox("bob@b.test").api._transport
    assert ada._user_limiter is not bob._user_limiter
    assert ada._project is bob._project
    assert ada.tokens._credentials.subject == "ada@b.test"
    assert bob.tokens._credentials.subject == "bob@b.test"


def test_a_service_account_has_no_mailbox_of_its_own(wire: FakeGmail, clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match="GMAIL_USER_ID"):
        connect(wire, clock, credentials=ROBOT).mailbox()
    connect(wire, clock, credentials=ROBOT.with_subject("ada@b.test")).mailbox()


def test_rows_take_options_as_a_mapping(wire: FakeGmail, client: GmailClient) -> None:
    wire.handler = lambda _: FakeResponse(json={"messages": []})
    mailbox = client.mailbox()
    assert list(mailbox.rows("messages", {"labelIds": "INBOX", "maxResults": "50"})) == []
    assert wire.gets[-1].params == {"labelIds": ["INBOX"], "maxResults": ["50"]}
    list(mailbox.rows("messages", TableOptions(labelIds=["INBOX"])))
    assert wire.gets[-1].params["labelIds"] == ["INBOX"]


@pytest.mark.parametrize("options", [{"q": "is:unread"}, TableOptions(q="is:unread")])
def test_an_option_that_a_table_does_not_have_is_an_error_before_anything_is_read(
    wire: FakeGmail, client: GmailClient, options: TableOptions | dict[str, str]
) -> None:
    with pytest.raises(OptionError, match="not an option of table 'labels'"):
        client.mailbox().rows("labels", options)
    with pytest.raises(OptionError, match="not an option of table 'labels'"):
        client.mailbox().read("labels", options)
    with pytest.raises(UnknownTableError):
        client.mailbox().rows("mails")
    assert wire.gets == []


ARRIVED = {"id": "a", "threadId": "t", "labelIds": ["INBOX", "UNREAD"]}
READ = {"id": "a", "threadId": "t", "labelIds": ["INBOX"]}
RECORDS = [
    {"id": "11", "messagesAdded": [{"message": ARRIVED}]},
    {"id": "12", "labelsRemoved": [{"message": READ, "labelIds": ["UNREAD"]}]},
    {"id": "13", "labelsAdded": [{"message": {"id": "b", "threadId": "u"}, "labelIds": ["STARRED"]}]},
    {"id": "14", "messagesDeleted": [{"message": {"id": "c", "threadId": "v"}}]},
]


@pytest.mark.parametrize("since", [10, "10", " 10 "])
def test_changes_are_one_per_message(wire: FakeGmail, client: GmailClient, since: str | int) -> None:
    wire.handler = lambda _: FakeResponse(json={"history": RECORDS, "historyId": "20"})
    changes = client.mailbox().changes(since)
    assert (changes.since, changes.history_id, len(changes)) == (10, 20, 3)
    assert list(changes) == [
        MailboxChange("added", "a", "t", 12, ("INBOX",)),
        MailboxChange("updated", "b", "u", 13, None, labels_added=("STARRED",)),
        MailboxChange("deleted", "c", "v", 14),
    ]
    assert wire.gets[-1].params["startHistoryId"] == ["10"]


@pytest.mark.parametrize("since", ["", "abc", -1, 0, True, 2**64, "9" * 5_000, None, 1.5, "١٢"])
def test_invalid_history_ids(wire: FakeGmail, client: GmailClient, since: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a history id"):
        client.mailbox().changes(since)
    assert wire.gets == []


def test_changes_from_now_on(wire: FakeGmail, client: GmailClient) -> None:
    wire.handler = lambda request: FakeResponse(json={"historyId": "30", "emailAddress": "ada@b.test"})
    mailbox = client.mailbox()
    assert len(mailbox.changes(mailbox.history_id())) == 0
    assert wire.gets[-1].params["startHistoryId"] == ["30"]


def test_all_mailboxes_share_one_session(wire: FakeGmail, clock: ManualClock) -> None:
    made = []

    def session() -> object:
        made.append(wire.session())
        return made[-1]

    client = GmailClient(
        Credentials.from_access_token("x"),
        api_root=API,
        oauth_root=OAUTH,
        clock=clock,
        session=session,  # type: ignore[arg-type]
    )
    client.mailbox("a@b.test").api.label("INBOX")
    client.mailbox("c@b.test").api.label("INBOX")
    assert len(made) == 1


def test_client_and_mailbox_pickle_without_connections(wire: FakeGmail) -> None:
    client = GmailClient(
        Credentials.from_refresh_token("id", "hush", "1//hush"), quota=preset("legacy"), workers=3
    )
    client._session()
    mailbox = client.mailbox("ada@b.test")
    data = pickle.dumps((client, mailbox))
    copy, copied_mailbox = pickle.loads(data)
    assert copied_mailbox.client is copy
    assert (copied_mailbox.user_id, copy.plan.name, copy.workers) == ("ada@b.test", "legacy", 3)
    assert copy.credentials == client.credentials
    assert copy._live_session is None
    assert copied_mailbox.api.plan.price("messages.get") == 5


def test_secrets_are_not_shown() -> None:
    client = GmailClient(Credentials.from_refresh_token("id", "hush", "1//hush"))
    assert "hush" not in f"{client!r} {client.mailbox()!r} {client.credentials!r}"


@pytest.mark.parametrize("root", ["api_root", "oauth_root"])
def test_tokens_are_not_sent_over_plain_http(root: str) -> None:
    with pytest.raises(ConfigurationError, match=f"GMAIL_{root.upper()}"):
        GmailClient(Credentials.from_access_token("hush"), **{root: "http://gmail.test"})  # type: ignore[arg-type]


def test_a_client_without_workers() -> None:
    with pytest.raises(ConfigurationError, match="workers"):
        GmailClient(Credentials.from_access_token("hush"), workers=0)


def test_settings_make_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.hush")
    monkeypatch.setenv("GMAIL_QUOTA", "legacy")
    monkeypatch.setenv("GMAIL_API_ROOT", "http://127.0.0.1:9/")
    for client in (
        GmailClient.from_settings(clock=clock),
        GmailClient.from_settings(Settings(), clock=clock, workers=2),
    ):
        assert (client.plan.name, client.api_root) == ("legacy", "http://127.0.0.1:9")
        assert client.credentials.kind == "access token"
        assert client.clock is clock


@pytest.mark.parametrize(
    "name",
    ["", " ", "\t", ".", "..", "a" * 255, "ada@b.test\x1b[31m", "ada @b.test", "a\u202eda@b.test", "a\x00b"],
)
def test_an_invalid_address_is_refused(client: GmailClient, name: str) -> None:
    with pytest.raises(ConfigurationError, match="neither 'me' nor a mailbox's address") as caught:
        client.mailbox(name)
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)
    assert client.mailbox(f"{'a' * 246}@b.test ").user_id == f"{'a' * 246}@b.test"


@pytest.mark.parametrize("address", ["", "a" * 255, "ada @b.test", "ada\n@b.test", None, 7, ["ada@b.test"]])
def test_a_profile_with_another_address_is_refused(clock: ManualClock, address: object) -> None:
    wire = FakeGmail(lambda request: FakeResponse(json={"emailAddress": address, "historyId": "5"}))
    with pytest.raises(ResponseError, match="emailAddress"):
        _ = connect(wire, clock).mailbox().address
