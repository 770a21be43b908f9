"""HTTP connections: a pooled requests session, and the proxy and certificates for a host.

requests reads the environment (proxies, CA bundle, .netrc) for every request, which costs more than parsing a
response; and a .netrc entry would replace the token. So these sessions ignore the environment, and `route_to` reads
it once per host.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from gmail_client.auth.endpoints import is_loopback

__all__ = ["Route", "new_session", "route_to"]


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
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def route_to(url: str) -> Route:
    """The way to the host of `url`, as `https_proxy`, `no_proxy` and `REQUESTS_CA_BUNDLE` say now.

    This machine itself is never reached through a proxy: it would get tokens that are sent in the clear.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    here = is_loopback(urlsplit(url).hostname or "")
    return Route({} if here else dict(get_environ_proxies(url)), bundle or True)
