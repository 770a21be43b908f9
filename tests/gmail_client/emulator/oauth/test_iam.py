"""signJwt and the exchange of identities, as Google describes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gmail_api import Caller, reason

from gmail_client.emulator import Emulator
from gmail_client.emulator.oauth.iam import IDENTITY_AUDIENCE

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
CLOUD = "https://www.googleapis.com/auth/cloud-platform"


def exchange(me: Caller, token: str, **changes: str) -> Any:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": IDENTITY_AUDIENCE,
        "subject_token": token,
        "scope": CLOUD,
        **changes,
    }
    return me.send("POST", "/v1/token", data=form)


def sign(me: Caller, email: str, body: Any) -> Any:
    return me.send("POST", f"/v1/projects/-/serviceAccounts/{email}:signJwt", json=body)


def test_an_identity_signs_for_the_service_account_only(start: Start, call: Call, tmp_path: Path) -> None:
    gmail = start(messages=0)
    email = gmail.workload_identity(tmp_path / "identity.json")["GMAIL_SERVICE_ACCOUNT_EMAIL"]
    subject = json.loads((tmp_path / "identity.json").read_text())["credential_source"]["file"]
    token = exchange(call(gmail), Path(subject).read_text()).json()["access_token"]
    me = call(gmail, token)
    signed = sign(me, email, {"payload": json.dumps({"iss": email})}).json()
    assert signed["signedJwt"].count(".") == 2
    assert (
        sign(me, "other@p.iam.gserviceaccount.com", {"payload": "{}"}).json()["error"]["status"]
        == "PERMISSION_DENIED"
    )
    assert sign(me, email, {"payload": "no claims"}).status_code == 400
    assert sign(me, email, {}).status_code == 400
    assert sign(call(gmail, "nonsense"), email, {"payload": "{}"}).status_code == 401
    assert reason(sign(call(gmail), email, {"payload": "{}"})) == "insufficientPermissions"
    user = call(gmail, gmail.access_token(scopes=[CLOUD]))
    assert sign(user, email, {"payload": "{}"}).status_code == 403


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"subject_token": "stolen"}, "invalid_grant"),
        ({"audience": "//other"}, "invalid_target"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
    ],
)
def test_other_identities_are_refused(start: Start, call: Call, changes: dict[str, str], error: str) -> None:
    answer = exchange(call(start(messages=0)), "x", **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
