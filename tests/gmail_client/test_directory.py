"""The Directory API's client against responses that a server should not give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from support.fake_gmail import API, FakeGmail, FakeRequest, FakeResponse, ManualClock

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.tokens import TokenSource
from gmail_client.directory import Directory
from gmail_client.errors import GmailError, ResponseError, UnavailableError

ADA = {"primaryEmail": "ada@b.test"}


def directory(answer: Callable[[FakeRequest], FakeResponse | Exception]) -> Directory:
    gmail, clock = FakeGmail(answer), ManualClock()  # type: ignore[arg-type]
    session = gmail.session()
    tokens = TokenSource(Credentials.from_access_token("ya29.hush"), session=lambda: session, clock=clock)
    return Directory(tokens, session=lambda: session, api_root=API, clock=clock)


def pages(*documents: Any) -> Callable[[FakeRequest], FakeResponse]:
    """The documents, one after the other; the last again and again."""
    rest = list(documents)
    return lambda _: FakeResponse(json=rest.pop(0) if len(rest) > 1 else rest[0])


def test_empty_pages_and_missing_fields_are_fine() -> None:
    found = directory(pages({"nextPageToken": "x"}, {"users": [ADA], "nextPageToken": ""})).users()
    (user,) = found
    assert (user.address, user.suspended, user.archived, user.has_mailbox) == (
        "ada@b.test",
        False,
        False,
        True,
    )
    assert directory(pages({})).members("all@b.test").addresses == []


@pytest.mark.parametrize(
    "documents",
    [
        ({"users": [ADA], "nextPageToken": "x"}, {"users": [ADA], "nextPageToken": "x"}),
        ({"users": [ADA], "nextPageToken": 5},),
        ({"users": {"ada": ADA}},),
        ({"users": ["ada@b.test"]},),
        ({"users": [{}]},),
        ({"users": [{"primaryEmail": ["ada@b.test"]}]},),
        ({"error": {"code": 403, "message": "Blocked."}},),
        ({"kind": "admin#directory#users", "error": {"code": 403}},),
        ({"message": "no route"},),
        ([ADA],),
        ({"users": [ADA], "nextPageToken": "x"}, None),
    ],
)
def test_a_malformed_page_is_an_error(documents: tuple[Any, ...]) -> None:
    with pytest.raises(GmailError) as caught:
        directory(pages(*documents)).users()
    assert isinstance(caught.value, ResponseError | UnavailableError)
    assert caught.value.fix


class Tokens:
    """Gives a new token after each renewal."""

    def __init__(self) -> None:
        self.renewed: list[str] = []

    def token(self, scopes: tuple[str, ...]) -> str:
        return f"token {len(self.renewed)}"

    def renew(self, token: str, scopes: tuple[str, ...]) -> None:
        self.renewed.append(token)


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_refused_token_is_renewed_once(refusals: int) -> None:
    refused = FakeResponse(status=401, json={"error": {"code": 401, "message": "Invalid Credentials"}})
    rest = [refused] * refusals + [FakeResponse(json={"users": [ADA]})]
    gmail, tokens = FakeGmail(lambda _: rest.pop(0)), Tokens()
    session = gmail.session()
    found = Directory(tokens, session=lambda: session, api_root=API, clock=ManualClock())  # type: ignore[arg-type]
    if refusals == 1:
        assert len(found.users()) == 1
    else:
        with pytest.raises(GmailError) as caught:
            found.users()
        assert caught.value.status == 401
    assert tokens.renewed == ["token 0"]


def test_a_connection_that_breaks_names_no_token() -> None:
    def answer(_: FakeRequest) -> FakeResponse:
        raise requests.ConnectionError("Bearer ya29.hush")

    with pytest.raises(UnavailableError) as caught:
        directory(answer).users()
    assert "hush" not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
