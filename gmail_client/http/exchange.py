"""Requests whose responses are returned unchanged, with status and headers: `Exchange`, for diagnostics of a server.

All other code reads through `GmailApi`, which validates and converts each response. A diagnosis needs the original
response: error objects, header names, the parts of a batch in their order.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from gmail_client.auth.endpoints import BATCH_PATH
from gmail_client.errors import (
    ApiDisabledError,
    CredentialsError,
    DailyLimitError,
    GmailError,
    NoMailboxError,
    UnavailableError,
)
from gmail_client.http.calls import ApiCall
from gmail_client.http.multipart import encode_batch
from gmail_client.http.retry import RetryPolicy
from gmail_client.http.transport import HttpResponse, Transport
from gmail_client.parsing import parse_json

__all__ = ["BatchReply", "Exchange", "Reply"]

_OF_ALL_CALLS = (ApiDisabledError, CredentialsError, DailyLimitError, NoMailboxError)
"""Errors that would also occur in every later call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response.

    Attributes:
        name: The method, and after a space the variant of the call (`messages.get full`).
        status: HTTP status.
        headers: Header values by lower-case name.
        json: The JSON object in the body; None if there is none.
        size: Bytes of the uncompressed body.
        error: The error of this client for a refusal; None for 200.
        content_id: Of a part of a batch: its Content-ID.
    """

    name: str
    status: int
    headers: Mapping[str, str]
    json: dict[str, Any] | None
    size: int
    error: GmailError | None = None
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class BatchReply:
    """The response to a batch.

    Attributes:
        status: HTTP status of the whole.
        headers: Its headers, by lower-case name.
        parts: The parts, in the order in which they came.
        answers: The part of each call by its number; a refused call was sent again on its own.
    """

    status: int
    headers: Mapping[str, str]
    parts: Sequence[Reply] = ()
    answers: Mapping[int, Reply] = field(default_factory=dict)


class Exchange:
    """Sends requests to one mailbox.

    Args:
        transport: Sends the requests.
        root: The path of the mailbox (`/gmail/v1/users/me`).

    Attributes:
        refusals: Transient refusals that were retried.
    """

    def __init__(self, transport: Transport, root: str) -> None:
        self._transport = transport
        self._root = root
        self.refusals: list[Reply] = []

    def get(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, variant: str = ""
    ) -> Reply:
        """Get one resource. Transient refusals are retried; any other response is returned.

        Args:
            method: Name in the price table.
            path: Path below the mailbox, ids quoted.
            params: Query parameters, as in `ApiCall`.
            variant: What is special about this call.

        Raises:
            GmailError: A refusal that lasts, or one that every call would meet.
        """
        call = ApiCall(method, self._root + path, params or {})
        prices = {method: self._transport.plan.price(method)}
        return self._request("GET", call.target, prices, _named(method, variant))

    def write(
        self,
        method: str,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        units: int,
        params: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Send a request that changes the mailbox; see `get`.

        Args:
            method: Name of the method, for errors and counters.
            verb: HTTP method.
            path: Path below the mailbox, ids quoted.
            body: JSON of the request; None for none.
            units: Its price.
            params: Query parameters.
        """
        target = ApiCall(method, self._root + path, params or {}).target
        content = None if body is None else json.dumps(body).encode()
        content_type = "application/json" if body is not None else ""
        return self._request(verb, target, {method: units}, method, content, content_type)

    def batch(self, calls: Sequence[tuple[str, str, Mapping[str, Any], str]]) -> BatchReply:
        """Send several calls as one batch.

        Args:
            calls: Method, path, parameters and variant of each, as in `get`.

        Raises:
            GmailError: The batch or one of its calls is permanently refused, as every call would be.
        """
        prices = [self._transport.plan.price(method) for method, *_ in calls]
        targets = [ApiCall(method, self._root + path, params).target for method, path, params, _ in calls]
        boundary = f"batch_{secrets.token_hex(12)}"
        response = self._transport.exchange(
            "POST",
            BATCH_PATH,
            {"batch": sum(prices)},
            encode_batch(targets, boundary),
            f"multipart/mixed; boundary={boundary}",
        )
        parts = self._parts(response, calls) if response.status == 200 else {}
        answers = dict(parts)
        for number, (method, path, params, variant) in enumerate(calls):
            known = answers.get(number)
            if known is not None and known.error is not None and known.error.retryable:
                self.refusals.append(known)
                known = None
            if known is None:
                answers[number] = self.get(method, path, params, variant)
        headers = _lower(response.headers)
        return BatchReply(response.status, headers, tuple(parts.values()), answers)

    def _parts(
        self, response: HttpResponse, calls: Sequence[tuple[str, str, Mapping[str, Any], str]]
    ) -> dict[int, Reply]:
        content_type = response.headers.get("Content-Type", "")
        head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
        message = message_from_bytes(head + response.content, policy=policy.compat32)
        found: dict[int, Reply] = {}
        for part in list(message.walk())[1:]:
            content_id = str(part.get("Content-ID", ""))
            digits = "".join(character for character in content_id if character.isdigit())
            number = int(digits) if 0 < len(digits) < 5 else -1
            if not 0 <= number < len(calls):
                continue
            method, _, _, variant = calls[number]
            content = part.get_payload(decode=True)
            if not isinstance(content, bytes):
                continue
            reply = self._part(content, _named(method, variant), content_id)
            found.setdefault(number, reply)
        return found

    def _part(self, part: bytes, name: str, content_id: str) -> Reply:
        head, _, content = part.replace(b"\r\n", b"\n").partition(b"\n\n")
        status_line, *lines = head.decode("latin-1").split("\n")
        words = status_line.split()
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        return self._reply(HttpResponse(status, headers, content), name, content_id)

    def _request(
        self,
        verb: str,
        target: str,
        prices: Mapping[str, int],
        name: str,
        body: bytes | None = None,
        content_type: str = "",
    ) -> Reply:
        retry_policy = RetryPolicy(self._transport.clock)
        while True:
            try:
                response = self._transport.exchange(verb, target, prices, body, content_type)
            except UnavailableError as error:
                self._transport.wait(retry_policy, [error])
                continue
            reply = self._reply(response, name)
            if reply.error is None or not reply.error.retryable:
                return reply
            self.refusals.append(reply)
            self._transport.wait(retry_policy, [reply.error])

    def _reply(self, response: HttpResponse, name: str, content_id: str = "") -> Reply:
        method = name.partition(" ")[0]
        error: GmailError | None = None
        if not 200 <= response.status < 300:
            error = self._transport.to_error(method, response, -1)
            if isinstance(error, _OF_ALL_CALLS):
                raise error
        document = parse_json(response.content, method) if response.content.strip() else None
        headers = _lower(response.headers)
        return Reply(name, response.status, headers, document, len(response.content), error, content_id)


def _named(method: str, variant: str) -> str:
    return f"{method} {variant}" if variant else method


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
