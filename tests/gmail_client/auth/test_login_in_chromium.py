"""The login in a real browser: consent page, click, landing page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.chromium import Chromium, why_not

from gmail_client.auth.login import Login, consent
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.emulator import Emulator
from gmail_client.errors import CredentialsError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(autouse=True)
def _no_threads_left() -> None:
    """The emulator of this module keeps running between its tests."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=3) as emulator:
        yield emulator


def _login(gmail: Emulator) -> Login:
    environment = gmail.environment()
    client = OAuthClient.of(environment["GMAIL_CLIENT_ID"], environment["GMAIL_CLIENT_SECRET"])
    return Login(client, oauth_root=gmail.url, api_root=gmail.url)


def test_a_click_on_allow_logs_in_the_chosen_account(gmail: Emulator, browser: Chromium) -> None:
    def show(url: str, paste: bool) -> None:
        browser.open(url)
        assert "gmail.readonly" in browser.text()
        browser.click(f"input[name=account][value='{gmail.addresses[1]}']")
        browser.click("button[value=approve]")

    granted = consent(_login(gmail), show=show, timeout=60)
    assert granted.address == gmail.addresses[1]
    assert "You can close this window" in browser.text()


def test_a_click_on_cancel_is_reported_in_browser_and_terminal(gmail: Emulator, browser: Chromium) -> None:
    def show(url: str, paste: bool) -> None:
        browser.open(url)
        browser.click("button[value=deny]")

    with pytest.raises(CredentialsError, match="access was denied in the browser"):
        consent(_login(gmail), show=show, timeout=60)
    assert "Access was not granted" in browser.text()


def test_an_unticked_scope_gives_no_access(gmail: Emulator, browser: Chromium) -> None:
    def show(url: str, paste: bool) -> None:
        browser.open(url)
        browser.click("input[name=scope]")
        browser.click("button[value=approve]")

    with pytest.raises(CredentialsError, match="access was denied"):
        consent(_login(gmail), show=show, timeout=60)
