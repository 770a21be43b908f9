"""A Gmail of the tests' own behind an injected requests session: no sockets, no patches.

`Wire` is the adapter that a session sends through. It speaks HTTP as Gmail does (token endpoint, single calls, batches)
and asks a plain function what to answer. Batches are read and written with the standard library, so that the client's
own reader and writer meet another's.
"""

from __future__ import annotations

import email
import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.quota import QuotaPlan

API = "https://gmail.test"
OAUTH = "https://oauth.test"


class ManualClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self.slept.append(seconds)
                self.now += seconds


@dataclass(frozen=True)
class Asked:
    """One GET, single or inside a batch."""

    path: str
    params: dict[str, list[str]]
    batched: bool
    token: str

    @property
    def id(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass
class Said:
    """What to answer: JSON, or `raw` bytes as they are."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        return self.raw if self.raw is not None else json.dumps(self.json).encode()


def refused(status: int, reason: str, message: str = "No.", **metadata: str) -> Said:
    """An answer in Gmail's error format."""
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"domain": "usageLimits", "reason": reason, "message": message}],
    }
    if metadata:
        error["details"] = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
        ]
    return Said(status, {"error": error})


class Wire(BaseAdapter):
    """An adapter that answers by itself.

    Attributes:
        answer: Says what a GET gets.
        token_answer: Says what the token endpoint says.
        batch_answer: When set, what the batch endpoint says instead of working.
        order: Reorders or drops the parts of a batch's answer.
    """

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        super().__init__()
        self.answer = answer
        self.token_answer: Callable[[dict[str, str]], Said] = lambda _: Said(
            json={"access_token": f"ya29.token-{len(self.token_requests)}", "expires_in": 3600}
        )
        self.batch_answer: Callable[[], Said | Exception] | None = None
        self.order: Callable[[list[tuple[str, Said]]], list[tuple[str, Said]]] = lambda parts: parts
        self.requests: list[requests.PreparedRequest] = []
        self.token_requests: list[dict[str, str]] = []
        self.asked: list[Asked] = []
        self.batches: list[int] = []
        self._lock = threading.Lock()

    def session(self) -> requests.Session:
        session = requests.Session()
        session.mount("https://", self)
        return session

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        with self._lock:
            self.requests.append(request)
        url = urlsplit(request.url or "")
        if f"{url.scheme}://{url.netloc}" == OAUTH:
            form = {name: values[0] for name, values in parse_qs(_text(request.body)).items()}
            with self._lock:
                self.token_requests.append(form)
            return _response(request, self.token_answer(form))
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if request.method == "POST":
            return self._batch(request, token)
        target = (request.url or "").removeprefix(API)
        return _response(request, self._one(target, False, token))

    def close(self) -> None:
        pass

    def _one(self, target: str, batched: bool, token: str) -> Said:
        url = urlsplit(target)
        asked = Asked(url.path, parse_qs(url.query), batched, token)
        with self._lock:
            self.asked.append(asked)
        said = self.answer(asked)
        if isinstance(said, Exception):
            raise said
        return said

    def _batch(self, request: requests.PreparedRequest, token: str) -> requests.Response:
        assert urlsplit(request.url or "").path == "/batch/gmail/v1"
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n"
        parts = email.message_from_bytes(head.encode() + _bytes(request.body)).get_payload()
        assert isinstance(parts, list)
        with self._lock:
            self.batches.append(len(parts))
        if self.batch_answer is not None:
            said = self.batch_answer()
            if isinstance(said, Exception):
                raise said
            return _response(request, said)
        answers = []
        for part in parts:
            assert part["Content-Type"] == "application/http"
            verb, target, protocol = str(part.get_payload()).strip().split(" ")
            assert (verb, protocol) == ("GET", "HTTP/1.1")
            answers.append((part["Content-ID"].strip("<>"), self._one(target, True, token)))
        return _response(request, multipart(self.order(answers)))


def multipart(parts: list[tuple[str, Said]], boundary: str = "batch_foobar") -> Said:
    """Answers as Gmail packs them."""
    body = b""
    for name, said in parts:
        head = "".join(f"{key}: {value}\r\n" for key, value in said.headers.items())
        body += (
            (
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{name}>\r\n\r\n"
                f"HTTP/1.1 {said.status} Whatever\r\nContent-Type: application/json; charset=UTF-8\r\n{head}"
                f"Content-Length: {len(said.content)}\r\n\r\n"
            ).encode()
            + said.content
            + b"\r\n"
        )
    body += f"--{boundary}--\r\n".encode()
    return Said(raw=body, headers={"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _response(request: requests.PreparedRequest, said: Said) -> requests.Response:
    response = requests.Response()
    response.status_code = said.status
    response.headers.update({"Content-Type": "application/json; charset=UTF-8", **said.headers})
    response.raw = urllib3.HTTPResponse(
        io.BytesIO(said.content), headers=response.headers, preload_content=False, decode_content=False
    )
    response.request = request
    response.url = request.url or ""
    return response


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else (body or "").encode()


def _text(body: Any) -> str:
    return _bytes(body).decode()


def message(asked: Asked) -> Said:
    """Any message exists and says its own id."""
    return Said(json={"id": asked.id, "threadId": asked.id, "format": asked.params.get("format")})


def connect(
    wire: Wire,
    clock: ManualClock,
    *,
    credentials: Credentials | None = None,
    quota: QuotaPlan | None = None,
    workers: int = 5,
) -> GmailClient:
    return GmailClient(
        credentials or Credentials.from_refresh_token("client", "s3cret", "1//refresh"),
        quota=quota,
        api_root=API,
        oauth_root=OAUTH,
        workers=workers,
        clock=clock,
        session=wire.session,
    )
