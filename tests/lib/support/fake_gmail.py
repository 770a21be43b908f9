"""A fake Gmail behind an injected requests session, without sockets and patches: `FakeGmail`.

`FakeGmail` is a transport adapter of requests. It implements Gmail's HTTP interface (token endpoint, single calls,
batches) and takes the responses from a function. It parses and writes batches with the standard library, so that the
client's own parser and writer are tested against another implementation.
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
    """A clock that only moves when `sleep` is called."""

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
class FakeRequest:
    """One GET, single or part of a batch."""

    path: str
    params: dict[str, list[str]]
    batched: bool
    token: str

    @property
    def id(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass
class FakeResponse:
    """The response to send: JSON, or `raw` bytes unchanged."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        return self.raw if self.raw is not None else json.dumps(self.json).encode()


def error_response(status: int, reason: str, message: str = "No.", **metadata: str) -> FakeResponse:
    """A response in Gmail's error format."""
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"domain": "usageLimits", "reason": reason, "message": message}],
    }
    if metadata:
        error["details"] = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}
        ]
    return FakeResponse(status, {"error": error})


class FakeGmail(BaseAdapter):
    """A transport adapter that responds to requests itself.

    Attributes:
        handler: Returns the response to a GET.
        token_handler: Returns the response of the token endpoint.
        batch_handler: If set, returns the response of the batch endpoint, whose calls are then not handled.
        order: Reorders or drops the parts of a batch response.
        gets: The GETs so far, single and in batches.
        batches: The number of calls of each batch.
    """

    def __init__(self, handler: Callable[[FakeRequest], FakeResponse]) -> None:
        super().__init__()
        self.handler = handler
        self.token_handler: Callable[[dict[str, str]], FakeResponse] = lambda _: FakeResponse(
            json={"access_token": f"ya29.token-{len(self.token_requests)}", "expires_in": 3600}
        )
        self.batch_handler: Callable[[], FakeResponse | Exception] | None = None
        self.order: Callable[[list[tuple[str, FakeResponse]]], list[tuple[str, FakeResponse]]] = (
            lambda parts: parts
        )
        self.requests: list[requests.PreparedRequest] = []
        self.token_requests: list[dict[str, str]] = []
        self.gets: list[FakeRequest] = []
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
            return _response(request, self.token_handler(form))
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if request.method == "POST":
            return self._batch(request, token)
        target = (request.url or "").removeprefix(API)
        return _response(request, self._one(target, False, token))

    def close(self) -> None:
        pass

    def _one(self, target: str, batched: bool, token: str) -> FakeResponse:
        url = urlsplit(target)
        request = FakeRequest(url.path, parse_qs(url.query), batched, token)
        with self._lock:
            self.gets.append(request)
        response = self.handler(request)
        if isinstance(response, Exception):
            raise response
        return response

    def _batch(self, request: requests.PreparedRequest, token: str) -> requests.Response:
        assert urlsplit(request.url or "").path == "/batch/gmail/v1"
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n"
        parts = email.message_from_bytes(head.encode() + _bytes(request.body)).get_payload()
        assert isinstance(parts, list)
        with self._lock:
            self.batches.append(len(parts))
        if self.batch_handler is not None:
            response = self.batch_handler()
            if isinstance(response, Exception):
                raise response
            return _response(request, response)
        responses = []
        for part in parts:
            assert part["Content-Type"] == "application/http"
            verb, target, protocol = str(part.get_payload()).strip().split(" ")
            assert (verb, protocol) == ("GET", "HTTP/1.1")
            responses.append((part["Content-ID"].strip("<>"), self._one(target, True, token)))
        return _response(request, multipart(self.order(responses)))


def multipart(parts: list[tuple[str, FakeResponse]], boundary: str = "batch_foobar") -> FakeResponse:
    """Responses as the parts of a batch response."""
    body = b""
    for name, response in parts:
        head = "".join(f"{key}: {value}\r\n" for key, value in response.headers.items())
        body += (
            (
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{name}>\r\n\r\n"
                f"HTTP/1.1 {response.status} Whatever\r\nContent-Type: application/json; charset=UTF-8\r\n{head}"
                f"Content-Length: {len(response.content)}\r\n\r\n"
            ).encode()
            + response.content
            + b"\r\n"
        )
    body += f"--{boundary}--\r\n".encode()
    return FakeResponse(raw=body, headers={"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _response(request: requests.PreparedRequest, fake: FakeResponse) -> requests.Response:
    response = requests.Response()
    response.status_code = fake.status
    response.headers.update({"Content-Type": "application/json; charset=UTF-8", **fake.headers})
    response.raw = urllib3.HTTPResponse(
        io.BytesIO(fake.content), headers=response.headers, preload_content=False, decode_content=False
    )
    response.request = request
    response.url = request.url or ""
    return response


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else (body or "").encode()


def _text(body: Any) -> str:
    return _bytes(body).decode()


def message_response(request: FakeRequest) -> FakeResponse:
    """A response for any message, with the requested id."""
    return FakeResponse(
        json={"id": request.id, "threadId": request.id, "format": request.params.get("format")}
    )


def connect(
    wire: FakeGmail,
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
