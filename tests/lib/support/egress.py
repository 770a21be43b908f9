"""Intercepts all requests that this process sends with `requests`: `egress`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

__all__ = ["Sent", "egress"]


@dataclass(frozen=True)
class Sent:
    """One request.

    Attributes:
        root: Its scheme, host and port.
        path: Its path.
        text: Its URL, headers and body, with decoded assertions, to be searched for secrets.
        proxies: The proxies that it would have used.
    """

    root: str
    path: str
    text: str
    proxies: dict[str, str]


@contextmanager
def egress() -> Iterator[list[Sent]]:
    """Intercept every request and respond as Google would; nothing reaches the network.

    The access token of a token endpoint contains the name of the secret in the request, so that it can be traced.
    """
    sent: list[Sent] = []

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        form = {name: values[0] for name, values in parse_qs(body).items()}
        claimed = _claims(form.get("assertion", ""))
        text = "\n".join(
            [request.url or "", *map(str, request.headers.items()), body, *form.values(), claimed]
        )
        sent.append(Sent(f"{url.scheme}://{url.netloc}", url.path, text, dict(options.get("proxies") or {})))
        given = form.get("refresh_token") or claimed or form.get("code") or "nothing"
        document = {"emailAddress": "ada@gmail.test", "historyId": "5"}
        if url.path.endswith(":signJwt"):
            claims = json.loads(body)["payload"].encode()
            document = {"keyId": "k", "signedJwt": f"e30.{base64.urlsafe_b64encode(claims).decode()}.c2ln"}
        if url.path == "/token":
            document = {"access_token": f"ya29.for({given})", "token_type": "Bearer"}
        response = requests.Response()
        response.status_code = 200
        response.headers["Content-Type"] = "application/json"
        response._content = json.dumps(document).encode()
        response.request = request
        response.url = request.url or ""
        return response

    with patch.object(HTTPAdapter, "send", send):
        yield sent


def _claims(assertion: str) -> str:
    """The claims of a signed assertion."""
    parts = assertion.split(".")
    if len(parts) != 3:
        return ""
    return str(json.loads(base64.urlsafe_b64decode(parts[1] + "==")).get("iss"))
