from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator
from gmail_client.errors import ResponseError
from gmail_client.http import sessions, transport
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


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_loopback_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    assert route_to(root).proxies == {}
    assert route_to("https://gmail.googleapis.com").proxies


def test_the_ca_bundle_of_the_environment_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert route_to("https://gmail.googleapis.com").verify is True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
    assert route_to("https://gmail.googleapis.com").verify == "/etc/company.pem"


def test_sessions_take_nothing_from_netrc() -> None:
    assert new_session().trust_env is False


@pytest.fixture
def slow_server() -> Iterator[tuple[str, list[bytes]]]:
    """Sends its first text at once and then spaces, until the client disconnects."""
    texts: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        ended = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65_536)
                        connection.sendall(texts[0])
                        while not ended.wait(0.02):
                            connection.sendall(b" ")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", texts
        ended.set()
    thread.join(5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        HEAD + b"Content-Length: 100000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n{",
        HEAD + b"\r\n{",
    ],
    ids=["head", "length", "chunked", "until-closed"],
)
def test_a_response_that_never_ends_ends_at_the_deadline(
    slow_server: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    url, texts = slow_server
    texts.append(text)
    for module in (sessions, transport):
        monkeypatch.setattr(module, "DEADLINE", 0.3)
    client = GmailClient(Credentials.from_access_token("ya29.x"), api_root=url, oauth_root=url)
    with pytest.raises(ResponseError, match=r"labels\.get: the response did not arrive within 0 seconds"):
        client.mailbox().api.label("INBOX")


def test_a_connection_is_reused_after_a_response() -> None:
    with Emulator(messages=3) as gmail:
        session = new_session()
        for _ in range(3):
            assert session.get(f"{gmail.url}/nothing").status_code == 404
        pools = session.get_adapter(gmail.url).poolmanager.pools  # type: ignore[attr-defined]
        (key,) = pools.keys()
        assert pools[key].num_connections == 1
        session.close()


def test_a_cookie_of_one_response_goes_with_no_later_request() -> None:
    received: list[str | None] = []

    class SetsCookies(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("Cookie"))
            self.send_response(200)
            self.send_header("Set-Cookie", "user=ada")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), SetsCookies) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with new_session() as session:
            for _ in range(2):
                session.get(f"http://127.0.0.1:{server.server_port}/", timeout=10)
        server.shutdown()
        thread.join(10)
    assert received == [None, None]
