"""Google's own client against the emulator: every method offered, paging, batch, media, retry, strict schemas."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload, MediaIoBaseUpload
from support.gmail_api import Caller, discovery_document, google_client

from gmail_client.emulator import Emulator, Fault
from gmail_client.emulator.api.methods import METHODS, SCOPES, STANDARD_PARAMETERS, Method, Parameter

from .schema_check import problems

Start = Callable[..., Emulator]
Google = Callable[..., Any]
DOCUMENT = discovery_document()
MAIL = b"From: a@example.com\r\nTo: b@gmail.test\r\nSubject: Hi\r\nMessage-ID: <1@example.com>\r\n\r\nHello \xff\r\n"
RAW = base64.urlsafe_b64encode(MAIL).decode()


def resource_of(service: Any, method: Method) -> tuple[Any, str]:
    node = service.users()
    *path, name = method.name.split(".")
    for step in path:
        node = getattr(node, step)()
    return node, {"import": "import_"}.get(name, name)


def arguments_for(gmail: Emulator, method: Method) -> dict[str, Any]:
    """Arguments with which the method succeeds on a fresh mailbox."""
    mailbox = gmail.mailbox()
    message_id = mailbox.insert(MAIL, ["INBOX"])
    mark = f"x{len(mailbox.labels.labels)}.{mailbox.head}"
    arguments: dict[str, Any] = {"userId": "me"}
    if "{id}" in method.path or "{messageId}" in method.path:
        kind = method.name.split(".")[-2]
        match kind:
            case "messages":
                arguments["id"] = message_id
            case "threads":
                arguments["id"] = message_id
            case "drafts":
                arguments["id"] = mailbox.create_draft(MAIL)
            case "labels":
                arguments["id"] = mailbox.create_label(f"Made {mark}")
            case "filters":
                arguments["id"] = mailbox.create_filter({"from": mark}, {"addLabelIds": ["STARRED"]})["id"]
            case "attachments":
                parts = mailbox_with_attachment(gmail)
                arguments["messageId"], arguments["id"] = parts
    for variable, make in {
        "forwardingEmail": lambda: mailbox.create_forwarding_address(f"to.{mark}@gmail.test")[
            "forwardingEmail"
        ],
        "sendAsEmail": lambda: mailbox.create_send_as(f"alias.{mark}@example.org")["sendAsEmail"],
        "delegateEmail": lambda: mailbox.create_delegate(f"helper.{mark}@gmail.test")["delegateEmail"],
    }.items():
        if f"{{{variable}}}" in method.path:
            arguments[variable] = make()
    bodies: dict[str, dict[str, Any]] = {
        "messages.insert": {"raw": RAW, "labelIds": ["INBOX"]},
        "messages.import": {"raw": RAW},
        "messages.send": {"raw": RAW},
        "messages.modify": {"addLabelIds": ["STARRED"], "removeLabelIds": ["INBOX"]},
        "messages.batchModify": {"ids": [message_id], "addLabelIds": ["STARRED"]},
        "messages.batchDelete": {"ids": [message_id]},
        "threads.modify": {"addLabelIds": ["STARRED"]},
        "drafts.create": {"message": {"raw": RAW}},
        "drafts.update": {"message": {"raw": RAW}},
        "drafts.send": {"id": arguments.get("id") or mailbox.create_draft(MAIL)},
        "labels.create": {"name": f"New/{mark}"},
        "labels.update": {"name": f"Other {mark}", "labelListVisibility": "labelHide"},
        "labels.patch": {"color": {"textColor": "#000000", "backgroundColor": "#ffffff"}},
        "settings.updateAutoForwarding": {"enabled": False},
        "settings.updateImap": {"enabled": True, "maxFolderSize": 1000},
        "settings.updatePop": {"accessWindow": "allMail", "disposition": "archive"},
        "settings.updateLanguage": {"displayLanguage": "de"},
        "settings.updateVacation": {"enableAutoReply": True, "responseSubject": "Away", "startTime": "1"},
        "settings.filters.create": {"criteria": {"to": mark}, "action": {"removeLabelIds": ["INBOX"]}},
        "settings.forwardingAddresses.create": {"forwardingEmail": f"f.{mark}@example.org"},
        "settings.sendAs.create": {"sendAsEmail": f"s.{mark}@example.org", "displayName": "S"},
        "settings.sendAs.update": {"displayName": "Other"},
        "settings.sendAs.patch": {"signature": "<b>Me</b>"},
        "settings.delegates.create": {"delegateEmail": f"d.{mark}@gmail.test"},
    }
    if method.name in bodies:
        arguments["body"] = bodies[method.name]
    if method.name == "history.list":
        arguments["startHistoryId"] = mailbox.head
        mailbox.trash(message_id)
    return arguments


def mailbox_with_attachment(gmail: Emulator) -> tuple[str, str]:
    mail = (
        b"From: a@example.com\r\nSubject: File\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nHi\r\n'
        b'--x\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Disposition: attachment; filename="a.pdf"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--x--\r\n"
    )
    message_id = gmail.mailbox().insert(mail, ["INBOX"])
    row = next(row for row in gmail.truth("messages") if row["id"] == message_id)
    return message_id, row["payload"]["parts"][1]["body"]["attachmentId"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    """One emulator for the tests that call all methods."""
    with Emulator(messages=25) as gmail:
        yield gmail


@pytest.fixture(scope="module")
def client(shared: Emulator) -> Iterator[Any]:
    service = google_client(shared)
    yield service
    service.close()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_as_the_document_says(shared: Emulator, client: Any, name: str) -> None:
    method = METHODS[name]
    gmail = shared
    gmail.usage.reset()
    resource, python_name = resource_of(client, method)
    answer = getattr(resource, python_name)(**arguments_for(gmail, method)).execute()
    if method.response is None:
        assert answer == ""
    else:
        assert problems(DOCUMENT, method.response, answer) == []
        assert answer, "an empty answer shows nothing"
    assert gmail.usage.calls[name] == 1


@pytest.mark.parametrize("form", ["full", "metadata", "minimal", "raw"])
def test_every_format_matches_the_schema(start: Start, google: Google, form: str) -> None:
    gmail = start(messages=60)
    users = google(gmail).users()
    for message_id in gmail.mailbox().message_ids():
        answer = users.messages().get(userId="me", id=message_id, format=form).execute()
        assert problems(DOCUMENT, "Message", answer) == []
        assert ("payload" in answer) == (form in ("full", "metadata"))
    for draft in users.drafts().list(userId="me").execute().get("drafts", []):
        answer = users.drafts().get(userId="me", id=draft["id"], format=form).execute()
        assert problems(DOCUMENT, "Draft", answer) == []
    if form != "raw":
        for thread_id in gmail.mailbox().thread_ids():
            answer = users.threads().get(userId="me", id=thread_id, format=form).execute()
            assert problems(DOCUMENT, "Thread", answer) == []


def value_for(parameter: Parameter) -> str:
    if parameter.choices:
        return parameter.choices[0]
    return {"boolean": "false", "uint32": "7", "uint64": "123456789", "string": "x"}[parameter.kind]


@pytest.mark.parametrize("name", METHODS)
def test_documented_parameters_are_accepted_and_others_refused(
    shared: Emulator, call: Callable[..., Caller], name: str
) -> None:
    method = METHODS[name]
    gmail = shared
    caller = call(gmail)
    arguments = arguments_for(gmail, method)
    body = arguments.pop("body", None)
    path = (
        "/gmail/v1/users/"
        + "me/"
        + method.path.format(**{k: v for k, v in arguments.items() if k != "userId"})
    )

    def status(query: dict[str, str]) -> int:
        answer = caller.send(method.verb, path, json=body, params=query)
        if answer.status_code == 400:
            return 400 if "Unknown name" in answer.text or "Invalid value at" in answer.text else 299
        return answer.status_code

    required = {"startHistoryId": str(gmail.mailbox().head)} if name == "history.list" else {}
    for parameter in method.parameters:
        # Values that match nothing may be refused for their content (299), but never as parameters.
        assert status({**required, parameter.name: value_for(parameter)}) != 400, parameter.name
        if parameter.kind != "string" or parameter.choices:
            assert status({**required, parameter.name: "wrong!"}) == 400, parameter.name
    for parameter in STANDARD_PARAMETERS.values():
        if parameter.name not in ("access_token", "oauth_token", "fields", "alt"):
            assert status({**required, parameter.name: value_for(parameter)}) != 400, parameter.name
    assert status({**required, "alt": "json", "access_token": caller.token}) != 400
    assert status({**required, "maxresults": "1"}) == 400
    assert status({**required, "prettyPrint": "maybe"}) == 400


def test_paging_with_list_next(start: Start, google: Google) -> None:
    gmail = start(messages=230)
    messages = google(gmail).users().messages()
    request = messages.list(userId="me", maxResults=50, includeSpamTrash=True)
    found: list[str] = []
    pages = 0
    while request is not None:
        answer = request.execute()
        found += [item["id"] for item in answer["messages"]]
        request = messages.list_next(request, answer)
        pages += 1
    assert pages == 5
    assert found == gmail.mailbox().message_ids()


def test_batch_through_googles_client(start: Start, google: Google) -> None:
    gmail = start(messages=30)
    service = google(gmail)
    answers: dict[str, Any] = {}
    failures: dict[str, Any] = {}

    def collect(request_id: str, answer: Any, error: Any) -> None:
        (failures if error else answers)[request_id] = error or answer

    batch = service.new_batch_http_request(callback=collect)
    ids = gmail.mailbox().message_ids()
    for message_id in ids:
        batch.add(service.users().messages().get(userId="me", id=message_id), request_id=message_id)
    batch.add(service.users().messages().get(userId="me", id="7fffffffffffffff"), request_id="gone")
    batch.add(
        service.users().messages().modify(userId="me", id=ids[0], body={"addLabelIds": ["STARRED"]}),
        request_id="write",
    )
    batch.execute()
    assert {key for key in answers if key != "write"} == set(ids)
    assert "STARRED" in answers["write"]["labelIds"]
    assert failures["gone"].status_code == 404
    assert all(answers[key]["id"] == key for key in ids)
    assert gmail.usage.batches == 1
    assert gmail.usage.calls["messages.get"] == 31


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("body", [None, {"labelIds": ["STARRED"]}])
def test_media_upload(start: Start, google: Google, resumable: bool, body: dict[str, Any] | None) -> None:
    gmail = start(messages=0)
    messages = google(gmail).users().messages()
    # Google's client cannot send non-ASCII bytes in a multipart upload.
    mail = MAIL if body is None or resumable else MAIL.replace(b"\xff", b"there")
    media = MediaInMemoryUpload(mail, mimetype="message/rfc822", resumable=resumable)
    answer = messages.insert(userId="me", media_body=media, body=body).execute()
    raw = messages.get(userId="me", id=answer["id"], format="raw").execute()["raw"]
    assert base64.urlsafe_b64decode(raw) == mail
    assert answer.get("labelIds", []) == (body or {}).get("labelIds", [])


def test_resumable_upload_in_chunks(start: Start, google: Google) -> None:
    gmail = start(messages=0)
    messages = google(gmail).users().messages()
    mail = MAIL + b"x" * 700_000
    media = MediaIoBaseUpload(io.BytesIO(mail), "message/rfc822", chunksize=262_144, resumable=True)
    request = messages.import_(userId="me", media_body=media, internalDateSource="receivedTime")
    answer = None
    steps = 0
    while answer is None:
        _, answer = request.next_chunk()
        steps += 1
    assert steps == 3
    raw = messages.get(userId="me", id=answer["id"], format="raw").execute()["raw"]
    assert base64.urlsafe_b64decode(raw) == mail


def test_retry_of_googles_client(start: Start, google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda seconds: None)
    gmail = start(messages=1)
    gmail.faults.add(Fault("getProfile", status=403, reason="rateLimitExceeded", times=2))
    profile = google(gmail).users().getProfile(userId="me").execute(num_retries=3)
    assert profile["messagesTotal"] == 1
    assert gmail.usage.calls["getProfile"] == 3


def test_googles_client_understands_errors(start: Start, google: Google) -> None:
    gmail = start(messages=1)
    with pytest.raises(HttpError) as caught:
        google(gmail).users().messages().get(userId="me", id="0000000000000000").execute()
    assert caught.value.status_code == 404
    assert caught.value.reason == "Requested entity was not found."
    assert caught.value.error_details[0]["reason"] == "notFound"


def test_scopes_are_googles() -> None:
    google_scopes = set(DOCUMENT["auth"]["oauth2"]["scopes"])
    assert {scope for scope in SCOPES if "gmail" in scope or "mail.google" in scope} <= google_scopes
