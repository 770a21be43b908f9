"""The values that the modules of the server exchange: `ServerRequest`, `ServerReply`, `MethodCall`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gmail_client.emulator.api.methods import Method
from gmail_client.emulator.counters import RequestCounters
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import Renderer
from gmail_client.emulator.oauth.tokens import AccessGrant

__all__ = ["MethodCall", "ServerReply", "ServerRequest"]


class ServerRequest(NamedTuple):
    """One request for a method, single or part of a batch; header names are lower-case."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class ServerReply:
    """One response, before compression; `method` is for the counters."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    method: str = ""


@dataclass(slots=True)
class MethodCall:
    """An accepted call.

    Attributes:
        method: The method.
        variables: Variables of the path.
        query: The parameters that were given, typed.
        request: The request.
        upload: Whether the body is media.
        mailbox: The mailbox.
        access: What the token grants.
        renderer: Renders resources.
        usage: Counts fetched messages.
    """

    method: Method
    variables: dict[str, str]
    query: dict[str, Any]
    request: ServerRequest
    upload: bool
    mailbox: EmulatedMailbox
    access: AccessGrant
    renderer: Renderer
    usage: RequestCounters
