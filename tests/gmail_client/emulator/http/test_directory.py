"""The Directory's list of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.gmail_api import Caller, reason

from gmail_client.emulator import Behavior, Emulator

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
PATH = "/admin/directory/v1/users"


def users(caller: Caller, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = None
    while True:
        more = {"pageToken": token} if token else {}
        answer = caller.send("GET", PATH, params={"customer": "my_customer", **params, **more})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page.get("users", [])
        token = page.get("nextPageToken")
        if not token:
            return found


def test_all_users_with_their_states(start: Start, call: Call) -> None:
    gmail = start(mailboxes=5, messages=0)
    me = call(gmail)
    found = {user["primaryEmail"]: user for user in users(me, maxResults=2)}
    assert set(gmail.addresses) < set(found)
    assert len(found) == 8
    usable = {
        address
        for address, user in found.items()
        if user["isMailboxSetup"] and not user["suspended"] and not user["archived"]
    }
    assert usable == set(gmail.addresses)
    assert len(users(me, query="isSuspended=false")) == 6
    assert len(users(me, domain="gmail.test")) == 8
    assert users(me, domain="other.test") == []


def test_without_the_extras(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=0, behavior=Behavior(directory_extras=False))
    assert [user["primaryEmail"] for user in users(call(gmail))] == sorted(gmail.addresses)


def test_only_admins_with_the_scope(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=0)
    customer = {"customer": "my_customer"}
    other = call(gmail, gmail.access_token(gmail.addresses[1])).send("GET", PATH, params=customer)
    assert (other.status_code, reason(other)) == (403, "forbidden")
    narrow = call(gmail, gmail.access_token(scopes=["https://mail.google.com/"])).send(
        "GET", PATH, params=customer
    )
    assert (narrow.status_code, reason(narrow)) == (403, "insufficientPermissions")
    assert call(gmail, "nonsense").send("GET", PATH, params=customer).status_code == 401


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"customer": "x", "maxResults": "501"},
        {"customer": "x", "pageSize": "1"},
        {"customer": "x", "query": "name:x"},
    ],
)
def test_wrong_parameters(start: Start, call: Call, params: dict[str, str]) -> None:
    assert call(start(messages=0)).send("GET", PATH, params=params).status_code == 400


def test_a_user_without_a_mailbox(start: Start, call: Call) -> None:
    gmail = start(messages=0)
    token = gmail._backend.tokens.new_access_token(
        "no.mailbox.example@gmail.test", ("https://mail.google.com/",)
    )
    answer = call(gmail, token).get("profile")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Mail service not enabled"
    assert reason(answer) == "failedPrecondition"


def test_org_units_and_changes_of_users(start: Start, call: Call) -> None:
    gmail = start(mailboxes=3, messages=0, behavior=Behavior(directory_extras=False))
    one, two, three = sorted(gmail.addresses)
    gmail.change_user(one, org_unit="/Sales")
    gmail.change_user(two, org_unit="/Sales/EMEA", suspended=True)
    gmail.change_user(three, org_unit="/Salesforce")
    me = call(gmail)
    found = users(me, query="orgUnitPath='/Sales'")
    assert [(user["primaryEmail"], user["suspended"]) for user in found] == [(one, False), (two, True)]
    assert len(users(me, query="orgUnitPath=/")) == 3
    gmail.remove_user(two)
    assert [user["primaryEmail"] for user in users(me, query="orgUnitPath='/Sales'")] == [one]


def test_members_of_nested_groups(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=0)
    one, two = gmail.addresses
    gmail.set_group("all@gmail.test", [one, "team@gmail.test", "guest@elsewhere.test"])
    gmail.set_group("team@gmail.test", [two, one, "all@gmail.test"])
    path = "/admin/directory/v1/groups/{}/members"
    me = call(gmail)
    direct = me.send("GET", path.format("all@gmail.test")).json()["members"]
    assert [(member["email"], member["type"]) for member in direct] == [
        (one, "USER"),
        ("team@gmail.test", "GROUP"),
        ("guest@elsewhere.test", "USER"),
    ]
    params = {"includeDerivedMembership": "true", "maxResults": "2"}
    first = me.send("GET", path.format("ALL@gmail.test"), params=params).json()
    rest = me.send(
        "GET", path.format("all@gmail.test"), params={**params, "pageToken": first["nextPageToken"]}
    ).json()
    derived = [member["email"] for member in (*first["members"], *rest["members"])]
    assert derived == [one, two, "guest@elsewhere.test"]
    assert me.send("GET", path.format("none@gmail.test")).status_code == 404
    narrow = call(
        gmail, gmail.access_token(scopes=["https://www.googleapis.com/auth/admin.directory.user.readonly"])
    )
    assert reason(narrow.send("GET", path.format("all@gmail.test"))) == "insufficientPermissions"


def test_a_renamed_user_keeps_id_and_mailbox_and_answers_to_the_old_address(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=5)
    me, (_, old) = call(gmail), gmail.addresses
    before = {user["primaryEmail"]: user for user in users(me)}[old]
    token, ids = gmail.access_token(old), sorted(gmail.mailbox(old).store.messages)
    gmail.rename_user(old, "new@gmail.test")
    after = {user["primaryEmail"]: user for user in users(me)}["new@gmail.test"]
    assert (after["id"], after["aliases"]) == (before["id"], [old])
    for issued in (token, gmail.access_token("new@gmail.test")):
        for user in ("me", old, "new@gmail.test"):
            profile = call(gmail, issued).send("GET", f"/gmail/v1/users/{user}/profile").json()
            assert profile["emailAddress"] == "new@gmail.test"
    assert sorted(gmail.mailbox("new@gmail.test").store.messages) == ids
    with pytest.raises(ValueError, match="another user"):
        gmail.rename_user("new@gmail.test", gmail.addresses[0])


def test_an_old_address_can_be_given_to_another_user(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=0)
    me, (admin, old) = call(gmail), gmail.addresses
    gmail.rename_user(old, "new@gmail.test")
    gmail.rename_user(admin, old)
    found = {user["primaryEmail"]: user for user in users(me)}
    assert "aliases" not in found["new@gmail.test"]
    assert found[old]["aliases"] == [admin]
    token = gmail.access_token(old)
    assert call(gmail, token).send("GET", "/gmail/v1/users/me/profile").json()["emailAddress"] == old
