"""Web pages can't control the emulator; programs can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from gmail_client.emulator import Emulator

JSON = {"Content-Type": "application/json"}
POSTS = {
    "usage/reset": "{}",
    "faults": '{"method": "messages.get"}',
    "faults/clear": "{}",
    "expire": "{}",
    "revoke": "{}",
    "token": "{}",
    "write": '{"operation": "insert", "arguments": {}}',
}
FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)
SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")
"""Content types that a page may send to another origin without a preflight request; "": none."""


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=2, seed=1) as emulator:
        yield emulator


def send(
    gmail: Emulator, verb: str, action: str, headers: dict[str, str], body: str = ""
) -> requests.Response:
    return requests.request(
        verb, f"{gmail.url}/_emulator/{action}", headers=headers, data=body.encode(), timeout=10
    )


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("action", POSTS)
def test_a_page_of_another_origin_changes_nothing(
    gmail: Emulator, action: str, headers: dict[str, str]
) -> None:
    before = (gmail.mailbox().head, gmail.faults.listed(), gmail.environment())
    assert send(gmail, "POST", action, {**JSON, **headers}, POSTS[action]).status_code == 403
    assert (gmail.mailbox().head, gmail.faults.listed(), gmail.environment()) == before
    assert requests.get(f"{gmail.url}/gmail/v1/users/me/profile", timeout=10).status_code == 401


@pytest.mark.parametrize("content_type", SIMPLE)
@pytest.mark.parametrize("action", POSTS)
def test_a_form_changes_nothing(gmail: Emulator, action: str, content_type: str) -> None:
    head = gmail.mailbox().head
    assert send(gmail, "POST", action, {"Content-Type": content_type}, POSTS[action]).status_code == 415
    assert gmail.mailbox().head == head
    assert gmail.faults.listed() == []


@pytest.mark.parametrize("action", ["usage", "faults", "truth?table=messages", "time", "state"])
def test_a_page_of_another_origin_reads_nothing(gmail: Emulator, action: str) -> None:
    for headers in FOREIGN:
        reply = send(gmail, "GET", action, headers)
        assert reply.status_code == 403
        assert gmail.addresses[0] not in reply.text
    assert send(gmail, "GET", action, {}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"])
@pytest.mark.parametrize("path", ["/_emulator/usage", "/o/oauth2/v2/auth", "/token", "/tokeninfo"])
def test_a_domain_that_resolves_to_loopback_is_refused(gmail: Emulator, host: str, path: str) -> None:
    reply = requests.get(gmail.url + path, headers={"Host": host}, timeout=10)
    assert reply.status_code == 400
    assert "Consent" not in reply.text


def test_its_own_pages_and_programs_have_access(gmail: Emulator) -> None:
    own = [{}, {"Origin": gmail.url, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
    for headers in own:
        assert send(gmail, "POST", "usage/reset", {**JSON, **headers}, "{}").status_code == 200
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert send(gmail, "POST", "usage/reset", charset, "{}").status_code == 200


def test_no_reply_lets_a_page_of_another_origin_read_it(gmail: Emulator) -> None:
    origin = {"Origin": "https://evil.example"}
    token = {"Authorization": f"Bearer {gmail.access_token()}", **origin}
    replies = [
        requests.get(f"{gmail.url}/gmail/v1/users/me/messages", headers=token, timeout=10),
        requests.get(f"{gmail.url}/tokeninfo", headers=origin, timeout=10),
        requests.options(f"{gmail.url}/_emulator/write", headers=origin, timeout=10),
        requests.options(f"{gmail.url}/gmail/v1/users/me/messages", headers=origin, timeout=10),
    ]
    assert not [one for one in replies if "access-control-allow-origin" in one.headers]
