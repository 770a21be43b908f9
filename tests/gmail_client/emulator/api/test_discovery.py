"""The served discovery document: equals Google's for the offered methods, and works with Google's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.http import MediaInMemoryUpload
from support.gmail_api import discovery_document as googles_document

from gmail_client.emulator import Emulator
from gmail_client.emulator.api.discovery import discovery_document

Start = Callable[..., Emulator]
PATHS = ("/discovery/v1/apis/{api}/{apiVersion}/rest", "/$discovery/rest?version={apiVersion}")
UNDESCRIBED = ("description", "enumDescriptions", "annotations", "enumDeprecated", "deprecated")
MAIL = b"From: a@example.com\r\nTo: ada.ashdown@gmail.test\r\nSubject: Hi\r\n\r\nHello\r\n"


def without_words(value: Any, *, names: bool = False) -> Any:
    """A JSON value without descriptions; with `names`, the keys of an object are names of the API and are kept."""
    if isinstance(value, list):
        return [without_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_words(item, names=key in ("properties", "parameters", "schemas", "methods", "resources"))
        for key, item in value.items()
        if names or key not in UNDESCRIBED
    }


def methods_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(resource: dict[str, Any]) -> None:
        found.update({method["id"]: method for method in resource.get("methods", {}).values()})
        for below in resource.get("resources", {}).values():
            walk(below)

    walk(without_words(document))
    return found


SERVED = discovery_document("https://gmail.googleapis.com")
GOOGLE = googles_document()


@pytest.mark.parametrize("name", methods_of(SERVED))
def test_methods_are_googles(name: str) -> None:
    served, google = methods_of(SERVED)[name], methods_of(GOOGLE)[name]
    assert {**served, "scopes": sorted(served["scopes"])} == {**google, "scopes": sorted(google["scopes"])}


@pytest.mark.parametrize("name", SERVED["schemas"])
def test_schemas_are_googles(name: str) -> None:
    assert SERVED["schemas"][name] == without_words(GOOGLE["schemas"][name])


def test_standard_parameters_and_addresses_are_googles() -> None:
    assert SERVED["parameters"] == without_words(GOOGLE["parameters"], names=True)
    for key in ("id", "name", "version", "rootUrl", "baseUrl", "servicePath", "batchPath", "protocol"):
        assert SERVED[key] == GOOGLE[key]


def test_methods_that_are_not_offered() -> None:
    missing = set(methods_of(GOOGLE)) - set(methods_of(SERVED))
    assert {name for name in missing if ".cse." not in name and ".smimeInfo." not in name} == {
        "gmail.users.watch",
        "gmail.users.stop",
    }


@pytest.mark.parametrize("path", PATHS)
def test_googles_client_from_the_served_document(start: Start, path: str) -> None:
    gmail = start(messages=20)
    credentials = Credentials(gmail.access_token())  # type: ignore[no-untyped-call]
    with build(
        "gmail", "v1", credentials=credentials, discoveryServiceUrl=gmail.url + path, static_discovery=False
    ) as service:
        users = service.users()
        assert users.getProfile(userId="me").execute()["messagesTotal"] == 20
        answers: dict[str, Any] = {}
        batch = service.new_batch_http_request(
            callback=lambda key, answer, error: answers.update({key: error or answer["id"]})
        )
        ids = gmail.mailbox().message_ids()[:5]
        for message_id in ids:
            batch.add(users.messages().get(userId="me", id=message_id), request_id=message_id)
        batch.execute()
        assert answers == {message_id: message_id for message_id in ids}
        for resumable in (False, True):
            media = MediaInMemoryUpload(MAIL, "message/rfc822", resumable=resumable)
            inserted = (
                users.messages().insert(userId="me", body={"labelIds": ["INBOX"]}, media_body=media).execute()
            )
            assert inserted["labelIds"] == ["INBOX"]
            assert gmail.mailbox().message(inserted["id"]).content.raw() == MAIL
    assert gmail.usage.batches == 1


def test_a_service_account_creates_aliases_and_forwarding_addresses(start: Start, tmp_path: Any) -> None:
    gmail = start(messages=0)
    scopes = ["https://www.googleapis.com/auth/gmail.settings." + name for name in ("basic", "sharing")]
    credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
        str(gmail.service_account_file(tmp_path / "key.json")), scopes=scopes, subject=gmail.addresses[0]
    )
    url = gmail.url + PATHS[0]
    with build(
        "gmail", "v1", credentials=credentials, discoveryServiceUrl=url, static_discovery=False
    ) as service:
        settings = service.users().settings()
        alias = {"sendAsEmail": "shop@example.org", "displayName": "Shop", "replyToAddress": "r@example.org"}
        made = settings.sendAs().create(userId="me", body=alias).execute()
        assert made["verificationStatus"] == "pending"
        assert {key: made[key] for key in alias} == alias
        own = settings.sendAs().create(userId="me", body={"sendAsEmail": "sales@gmail.test"}).execute()
        assert own["verificationStatus"] == "accepted"
        settings.sendAs().verify(userId="me", sendAsEmail="shop@example.org").execute()
        body = {"forwardingEmail": "archive@gmail.test"}
        forwarding = settings.forwardingAddresses().create(userId="me", body=body).execute()
        assert forwarding == {**body, "verificationStatus": "accepted"}
        rule = {"enabled": True, "emailAddress": "archive@gmail.test", "disposition": "archive"}
        assert settings.updateAutoForwarding(userId="me", body=rule).execute() == rule
    assert {"shop@example.org", "sales@gmail.test"} <= {row["sendAsEmail"] for row in gmail.truth("send_as")}
    assert "archive@gmail.test" in {row["forwardingEmail"] for row in gmail.truth("forwarding_addresses")}


def test_other_versions_do_not_exist(start: Start) -> None:
    gmail = start(messages=0)
    assert requests.get(f"{gmail.url}/$discovery/rest?version=v2", timeout=10).status_code == 404
    assert requests.get(f"{gmail.url}/$discovery/rest", timeout=10).json()["rootUrl"] == f"{gmail.url}/"
