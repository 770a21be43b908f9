"""HTTP connections: a pooled requests session, and the proxy and certificates for a host.

requests reads the environment (proxies, CA bundle, .netrc) for every request, which costs more than parsing a
response; and a .netrc entry would replace the token. So these sessions ignore the environment, and `route_to` reads
it once per host.

A response of these sessions has to arrive within `DEADLINE`. A read timeout alone does not ensure that: a server that
sends one byte now and then never exceeds it.
"""

from __future__ import annotations

import http.client
import io
import os
import time
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from gmail_client.auth.endpoints import is_loopback

__all__ = ["DEADLINE", "Route", "new_session", "route_to"]

DEADLINE = 300.0
"""Seconds of real time from the end of a request to the end of its response."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a host is reached.

    Attributes:
        proxies: Proxy by scheme; none for hosts in `no_proxy`.
        verify: File or folder of trusted certificates, or True for those that come with requests.
    """

    proxies: dict[str, str]
    verify: str | bool


def new_session(connections: int = 16) -> requests.Session:
    """A session that keeps up to `connections` open per host and adds nothing from the environment."""
    session = requests.Session()
    session.trust_env = False
    # Mailboxes share the session: a cookie of one user's response must not go with another user's request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = _Adapter(pool_connections=8, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def route_to(url: str) -> Route:
    """The route to the host of `url`, according to `https_proxy`, `no_proxy` and `REQUESTS_CA_BUNDLE`.

    A server on this machine is never reached through a proxy, because the proxy would get unencrypted tokens.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    here = is_loopback(urlsplit(url).hostname or "")
    return Route({} if here else dict(get_environ_proxies(url)), bundle or True)


class _TimedStream(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, raw: io.RawIOBase, sock: Any, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("deadline exceeded")
        self._sock.settimeout(remaining if self._timeout is None else min(self._timeout, remaining))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """A response whose head and body have to arrive before a deadline."""

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedStream(raw, sock, time.monotonic() + DEADLINE))


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _TimedResponse


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _TimedResponse


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        if isinstance(manager, urllib3.ProxyManager):  # a SOCKS manager has its own connection classes
            manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager
