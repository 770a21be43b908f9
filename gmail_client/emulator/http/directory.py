"""The Directory API's lists of users and of a group's members: `users_reply` and `members_reply`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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

__all__ = ["EVERYBODY", "members_reply", "users_reply"]

Query = dict[str, str]

EVERYBODY = "*"
"""In a group of the emulator: all users of the domain, a member of the type CUSTOMER."""

_USERS = "directory.users.list"
_MEMBERS = "directory.members.list"
_AUTH = "https://www.googleapis.com/auth/admin.directory."
_SCOPES = {
    _USERS: (f"{_AUTH}user.readonly",),
    _MEMBERS: (f"{_AUTH}group.member.readonly", f"{_AUTH}group.readonly"),
}
_PAGING = ("maxResults", "pageToken")
_FILTERS = {
    _USERS: ("customer", "domain", "orderBy", "projection", "query", "showDeleted", "sortOrder", "viewType"),
    _MEMBERS: ("includeDerivedMembership", "roles"),
}
_MOST = {_USERS: (100, 500), _MEMBERS: (200, 200)}
"""Default and maximum of maxResults."""

_STATE = re.compile(r"isSuspended=(true|false)")
_ORG_UNIT = re.compile(r"orgUnitPath='?(/[^']*)'?")


def users_reply(backend: Backend, query: str, authorization: str | None) -> ServerReply:
    """The reply to `GET /admin/directory/v1/users`: a page of the domain's users."""

    def read(given: Query) -> dict[str, Any]:
        if "customer" not in given and "domain" not in given:
            raise bad_argument("Bad Request")
        return _page("users", [_resource(user) for user in _matching(backend, given)], given, _USERS)

    return _reply(backend, _USERS, query, authorization, read)


def members_reply(backend: Backend, group: str, query: str, authorization: str | None) -> ServerReply:
    """The reply to `GET /admin/directory/v1/groups/{group}/members`: a page of the group's members."""

    def read(given: Query) -> dict[str, Any]:
        if group.lower() not in backend.groups:
            raise ApiError(404, "notFound", "Resource Not Found: groupKey")
        derived = given.get("includeDerivedMembership") == "true"
        members = dict.fromkeys(_members(backend, group.lower(), derived, set()))
        return _page("members", [_member(backend, address) for address in members], given, _MEMBERS)

    return _reply(backend, _MEMBERS, query, authorization, read)


def _reply(
    backend: Backend,
    method: str,
    query: str,
    authorization: str | None,
    read: Callable[[Query], dict[str, Any]],
) -> ServerReply:
    try:
        fault = backend.faults.next_for(method)
        if fault is not None and fault.is_error:
            raise fault.error()
        _check_admin(backend, method, authorization)
        given = dict(parse_qsl(query, keep_blank_values=True))
        for name in given:
            if name not in (*STANDARD_PARAMETERS, *_PAGING, *_FILTERS[method]):
                raise bad_argument(f"Invalid Input: {name}")
        reply = ServerReply(200, to_json(read(given)))
    except ApiError as error:
        reply = error_reply(error)
    backend.usage.count(method, reply.status, 0, len(reply.body))
    return reply


def _page(key: str, items: list[dict[str, Any]], query: Query, method: str) -> dict[str, Any]:
    default, most = _MOST[method]
    size = query.get("maxResults", str(default))
    if not size.isdigit() or not 1 <= int(size) <= most:
        raise bad_argument(f"Invalid Input: maxResults {size}")
    start = read_token(query["pageToken"], key, (int,))[0] if query.get("pageToken") else 0
    page = items[start : start + int(size)]
    answer: dict[str, Any] = {"kind": f"admin#directory#{key}", "etag": '"emulator"'}
    if page:
        answer[key] = page
    if start + len(page) < len(items):
        answer["nextPageToken"] = write_token(key, start + len(page))
    return answer


def _check_admin(backend: Backend, method: str, authorization: str | None) -> None:
    if not authorization:
        raise missing_token(method)
    access = backend.tokens.access(authorization.removeprefix("Bearer ").strip())
    if access is None:
        raise rejected_token(method)
    if access.scopes.isdisjoint(_SCOPES[method]):
        raise insufficient_scope(method, _SCOPES[method])
    user = backend.users.get(access.address)
    if user is None or not user.admin:
        raise ApiError(403, "forbidden", "Not Authorized to access this resource/api")


def _matching(backend: Backend, query: Query) -> list[DirectoryUser]:
    users = sorted(backend.users.values(), key=lambda user: user.address)
    if "domain" in query:
        users = [user for user in users if user.address.endswith(f"@{query['domain'].lower()}")]
    wanted = query.get("query", "").strip()
    if (found := _STATE.fullmatch(wanted)) is not None:
        return [user for user in users if user.suspended == (found[1] == "true")]
    if (found := _ORG_UNIT.fullmatch(wanted)) is not None:
        below = found[1].rstrip("/") + "/"
        return [user for user in users if f"{user.org_unit.rstrip('/')}/".startswith(below)]
    if wanted:
        raise bad_argument(f"Invalid Input: query {wanted} (the emulator knows isSuspended and orgUnitPath)")
    return users


def _members(backend: Backend, group: str, derived: bool, seen: set[str]) -> Iterator[str]:
    """A group's members; with `derived`, those of the groups in it instead of these groups."""
    seen.add(group)
    for address in backend.groups[group]:
        if not derived or address not in backend.groups:
            yield address
        elif address not in seen:
            yield from _members(backend, address, derived, seen)


def _member(backend: Backend, address: str) -> dict[str, Any]:
    if address == EVERYBODY:
        return {"kind": "admin#directory#member", "id": "C0emulator", "role": "MEMBER", "type": "CUSTOMER"}
    user = backend.users.get(address)
    status = {} if user is None else {"status": "SUSPENDED" if user.suspended else "ACTIVE"}
    return {
        "kind": "admin#directory#member",
        "id": DirectoryUser(address).id,
        "email": address,
        "role": "MEMBER",
        "type": "GROUP" if address in backend.groups else "USER",
        **status,
    }


def _resource(user: DirectoryUser) -> dict[str, Any]:
    local = user.address.partition("@")[0]
    given, _, family = local.replace("-", ".").partition(".")
    return {
        "kind": "admin#directory#user",
        "id": user.id,
        "primaryEmail": user.address,
        **({"aliases": list(user.aliases)} if user.aliases else {}),
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
        "orgUnitPath": user.org_unit,
    }
