from __future__ import annotations

import pytest

from gmail_client.http.sessions import new_session, route_to


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "https_proxy",
        "http_proxy",
        "all_proxy",
        "no_proxy",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_way_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    assert route_to("https://gmail.googleapis.com").proxies["https"] == "http://proxy.test:3128"


def test_hosts_without_proxy_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "googleapis.com")
    assert route_to("https://gmail.googleapis.com").proxies == {}


@pytest.mark.parametrize(
    "root",
    [
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://LOCALHOST",
        "http://[::1]:8080",
        "https://127.0.0.1",
    ],
)
def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    assert route_to(root).proxies == {}
    assert route_to("https://gmail.googleapis.com").proxies


def test_certificates_of_the_company_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert route_to("https://gmail.googleapis.com").verify is True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
    assert route_to("https://gmail.googleapis.com").verify == "/etc/company.pem"


def test_sessions_take_nothing_from_netrc() -> None:
    assert new_session().trust_env is False
