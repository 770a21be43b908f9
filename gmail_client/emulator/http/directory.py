"""The Directory API's list of users: `directory_reply`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from gmail_client.emulator.api.errors import (
    ApiError,
    bad_argument,
    insufficient_scope,
    missing_token,
    rejected_token,
)
from gmail_client.emulator.api.methods import STANDARD_PARAMETERS
from gmail_client.emulator.backend import Backend, DirectoryUser
from gmail_client.emulator.http.calls import ServerReply
from gmail_client.emulator.http.gateway import error_reply
from gmail_client.emulator.mailbox.listing import read_token, write_token
from gmail_client.emulator.mailbox.render import to_json

__all__ = ["directory_reply"]

_METHOD = "directory.users.list"
_SCOPES = ("https://www.googleapis.com/auth/admin.directory.user.readonly",)
_PAGING = ("maxResults", "orderBy", "pageToken", "sortOrder")
_FILTERS = ("customer", "domain", "projection", "query", "showDeleted", "viewType")
_KNOWN = frozenset((*STANDARD_PARAMETERS, *_PAGING, *_FILTERS))


def directory_reply(backend: Backend, query: str, authorization: str | None) -> ServerReply:
    """The reply to `GET /admin/directory/v1/users`: a page of the domain's users."""
    try:
        fault = backend.faults.next_for(_METHOD)
        if fault is not None and fault.is_error:
            raise fault.error()
        body = to_json(_users(backend, dict(parse_qsl(query, keep_blank_values=True)), authorization))
        reply = ServerReply(200, body)
    except ApiError as error:
        reply = error_reply(error)
    backend.usage.count(_METHOD, reply.status, 0, len(reply.body))
    return reply


def _users(backend: Backend, query: dict[str, str], authorization: str | None) -> dict[str, Any]:
    _check_admin(backend, authorization)
    for name in query:
        if name not in _KNOWN:
            raise bad_argument(f"Invalid Input: {name}")
    if "customer" not in query and "domain" not in query:
        raise bad_argument("Bad Request")
    size = query.get("maxResults", "100")
    if not size.isdigit() or not 1 <= int(size) <= 500:
        raise bad_argument(f"Invalid Input: maxResults {size}")
    users = _matching(backend, query)
    start = read_token(query["pageToken"], "users", (int,))[0] if query.get("pageToken") else 0
    page = users[start : start + int(size)]
    answer: dict[str, Any] = {"kind": "admin#directory#users", "etag": '"emulator"'}
    if page:
        answer["users"] = [_resource(user) for user in page]
    if start + len(page) < len(users):
        answer["nextPageToken"] = write_token("users", start + len(page))
    return answer


def _check_admin(backend: Backend, authorization: str | None) -> None:
    if not authorization:
        raise missing_token(_METHOD)
    access = backend.tokens.access(authorization.removeprefix("Bearer ").strip())
    if access is None:
        raise rejected_token(_METHOD)
    if access.scopes.isdisjoint(_SCOPES):
        raise insufficient_scope(_METHOD, _SCOPES)
    user = backend.users.get(access.address)
    if user is None or not user.admin:
        raise ApiError(403, "forbidden", "Not Authorized to access this resource/api")


def _matching(backend: Backend, query: dict[str, str]) -> list[DirectoryUser]:
    users = sorted(backend.users.values(), key=lambda user: user.address)
    if "domain" in query:
        users = [user for user in users if user.address.endswith(f"@{query['domain'].lower()}")]
    state = query.get("query", "").strip()
    if state in ("isSuspended=true", "isSuspended=false"):
        return [user for user in users if user.suspended == state.endswith("true")]
    if state:
        raise bad_argument(f"Invalid Input: query {state} (the emulator knows isSuspended=true and =false)")
    return users


def _resource(user: DirectoryUser) -> dict[str, Any]:
    local = user.address.partition("@")[0]
    given, _, family = local.replace("-", ".").partition(".")
    return {
        "kind": "admin#directory#user",
        "id": user.id,
        "primaryEmail": user.address,
        "name": {
            "givenName": given.title(),
            "familyName": family.title(),
            "fullName": f"{given} {family}".strip().title(),
        },
        "isAdmin": user.admin,
        "suspended": user.suspended,
        "archived": user.archived,
        "isMailboxSetup": user.mailbox,
        "includeInGlobalAddressList": True,
    }
