"""The users of a Google Workspace domain: `Directory`, over the Admin SDK's Directory API.

https://developers.google.com/workspace/admin/directory/reference/rest. A service account reads it as an administrator.
A listing is complete or raises an error: a refusal in the middle never looks like a shorter list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import requests
import urllib3

from gmail_client.auth.endpoints import API_ROOT, DIRECTORY_SCOPE, GROUP_SCOPE
from gmail_client.auth.tokens import TIMEOUT, TokenSource
from gmail_client.errors import (
    ApiDisabledError,
    CredentialsError,
    GmailError,
    NotFoundError,
    ResponseError,
    UnavailableError,
)
from gmail_client.http.body import read_body
from gmail_client.http.clock import Clock
from gmail_client.http.error_mapping import error_from_response
from gmail_client.http.retry import RetryPolicy
from gmail_client.http.sessions import route_to
from gmail_client.parsing import parse_json
from gmail_client.printable import printable_line, short_repr

__all__ = ["DIRECTORY_ENTRY", "Directory", "DirectoryUser", "GroupMembers"]

DIRECTORY_ENTRY = re.compile(r"all|domain:[^\s:@/]+|org-unit:/.*|group:[^\s:/]+@[^\s:/]+")
"""A setting that names users of the directory."""

_DIRECTORY_ROOT = "https://admin.googleapis.com"
_USERS = "directory.users.list"
_MEMBERS = "directory.members.list"
_FIELDS = frozenset(("kind", "etag", "users", "members", "nextPageToken"))
"""Fields of both responses."""


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user of the Workspace domain.

    Attributes:
        address: Primary e-mail address, in lower case.
        suspended: The user has no access, and Gmail can't be read.
        archived: The user has an archive license only.
        has_mailbox: Gmail is set up.
        id: Google's id of the user, which stays when the address is changed; empty if unknown.
    """

    address: str
    suspended: bool = False
    archived: bool = False
    has_mailbox: bool = True
    id: str = ""


class GroupMembers(NamedTuple):
    """The members of a group: addresses in lower case, and whether all users of the domain are members."""

    addresses: list[str]
    everybody: bool


class Directory:
    """The users and groups of a Workspace domain.

    Args:
        tokens: Access tokens of an administrator.
        session: Returns the session to send with.
        api_root: URL of the Gmail API. Another server than Google's has to serve the directory as well.
        clock: Measures waits.
    """

    def __init__(
        self, tokens: TokenSource, *, session: Callable[[], requests.Session], api_root: str, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._session = session
        self._root = _DIRECTORY_ROOT if api_root == API_ROOT else api_root
        self._clock = clock

    def users(self, *, domain: str | None = None, org_unit: str | None = None) -> list[DirectoryUser]:
        """All users, in the order of the directory.

        Args:
            domain: Only users of this domain; default: all domains of the account.
            org_unit: Only users of this organizational unit and those below it, such as `/Sales`.

        Raises:
            GmailError: The directory can't be read to its end.
        """
        query: dict[str, str] = {"customer": "my_customer"} if domain is None else {"domain": domain}
        if org_unit is not None:
            escaped = org_unit.replace("\\", "\\\\").replace("'", "\\'")
            query["query"] = f"orgUnitPath='{escaped}'"
        asked = "the users" if domain is None else f"the domain {domain}"
        asked = asked if org_unit is None else f"the organizational unit {org_unit}"
        path = "/admin/directory/v1/users"
        pages = self._pages(_USERS, path, "users", {**query, "maxResults": "500"}, asked)
        return [_user(item) for item in pages]

    def members(self, group: str) -> GroupMembers:
        """A group's members; groups in it are replaced by their members.

        Raises:
            GmailError: The group does not exist, or can't be read to its end.
        """
        path = f"/admin/directory/v1/groups/{quote(group, safe='@')}/members"
        query = {"includeDerivedMembership": "true", "maxResults": "200"}
        items = list(self._pages(_MEMBERS, path, "members", query, f"the group {group}"))
        kinds = [item.get("type", "USER") for item in items]
        users = [item for item, kind in zip(items, kinds, strict=True) if kind == "USER"]
        return GroupMembers([_address(item, "email", _MEMBERS) for item in users], "CUSTOMER" in kinds)

    def _pages(
        self, method: str, path: str, key: str, query: Mapping[str, str], asked: str
    ) -> Iterator[dict[str, Any]]:
        token, seen = "", {""}
        while True:
            more = {"pageToken": token} if token else {}
            document = self._get(method, f"{path}?{urlencode({**query, **more})}", asked)
            items = document.get(key, [])
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise _malformed(method, f"{key} is not a list of objects")
            yield from items
            token = document.get("nextPageToken", "")
            if token == "":
                return
            if not isinstance(token, str) or token in seen:
                raise _malformed(method, "nextPageToken repeats a page")
            seen.add(token)

    def _get(self, method: str, target: str, asked: str) -> dict[str, Any]:
        scopes = (DIRECTORY_SCOPE,) if method == _USERS else (GROUP_SCOPE,)
        retry_policy = RetryPolicy(self._clock)
        renewed = False
        while True:
            try:
                token = self._tokens.token(scopes)
            except CredentialsError as error:
                if error.reason != "invalid_grant":
                    raise
                raise _no_administrator(error) from None
            try:
                return self._once(method, target, token)
            except GmailError as error:
                if error.status == 401 and not renewed:
                    renewed = True
                    self._tokens.renew(token, scopes)
                elif error.retryable:
                    self._clock.sleep(retry_policy.delay(error))
                else:
                    raise _explained(error, scopes, asked) from None

    def _once(self, method: str, target: str, token: str) -> dict[str, Any]:
        problem = ""
        route = route_to(self._root)
        try:
            response = self._session().request(
                "GET",
                self._root + target,
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
                timeout=TIMEOUT,
                allow_redirects=False,
                proxies=route.proxies,
                verify=route.verify,
                stream=True,
            )
            content = read_body(response, method)
        except (OSError, HTTPException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            # Raised outside of this block, because the original error contains the request, and so the token.
            problem = type(error).__name__
        if problem:
            raise UnavailableError(
                f"{method}: no complete response from the Workspace directory ({problem}).",
                fix="Check the network, the proxy and GMAIL_API_ROOT.",
                method=method,
            )
        if response.status_code != 200:
            raise error_from_response(
                response.status_code,
                content,
                method=method,
                headers=response.headers,
                now=self._clock.time(),
            )
        document = parse_json(content, method)
        if not isinstance(document, dict):
            raise _malformed(method, "the response is not an object")
        # A proxy can respond with status 200 and an error as JSON, which would look like an empty directory.
        if isinstance(document.get("error"), dict) or (document and _FIELDS.isdisjoint(document)):
            raise _malformed(
                method, "the response has status 200, but an error or other fields than Google's"
            )
        return document


def _user(item: Mapping[str, Any]) -> DirectoryUser:
    return DirectoryUser(
        _address(item, "primaryEmail", _USERS),
        suspended=item.get("suspended") is True,
        archived=item.get("archived") is True,
        has_mailbox=item.get("isMailboxSetup") is not False,
        id=user_id if isinstance(user_id := item.get("id"), str) else "",
    )


def _address(item: Mapping[str, Any], field: str, method: str) -> str:
    address = item.get(field)
    if not isinstance(address, str) or "@" not in address:
        raise _malformed(method, f"{field} is {short_repr(address)}, not an address")
    return address.lower()


def _malformed(method: str, what: str) -> ResponseError:
    return ResponseError(
        f"{method}: {what}.", fix="Try again later; check the proxy and GMAIL_API_ROOT.", method=method
    )


def _no_administrator(error: CredentialsError) -> CredentialsError:
    return CredentialsError(
        f"The directory can't be read as GMAIL_DIRECTORY_ADMIN. {error.what}",
        fix=f"Set GMAIL_DIRECTORY_ADMIN to an administrator of this domain. {error.fix}",
        status=error.status,
        reason=error.reason,
    )


def _explained(error: GmailError, scopes: tuple[str, ...], asked: str) -> GmailError:
    """A refusal, with a fix for the directory instead of one for Gmail."""
    if isinstance(error, ApiDisabledError):
        fix = "Enable the Admin SDK API in the service account's Cloud project (it takes a few minutes)."
    elif isinstance(error, NotFoundError):
        fix = f"Correct GMAIL_DIRECTORY: the directory does not know {printable_line(asked)}."
    elif error.status == 403:
        fix = (
            f"GMAIL_DIRECTORY_ADMIN has to be an administrator who may read users and groups, and the domain-wide "
            f"delegation has to include {' and '.join(scopes)}."
        )
    elif error.status == 400:
        fix = f"Correct GMAIL_DIRECTORY: the directory refuses {printable_line(asked)}."
    else:
        return error
    return type(error)(error.what, fix=fix, status=error.status, reason=error.reason, method=error.method)
