"""Writes over HTTP: bodies, responses, errors, and the mailbox afterwards."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from support.corpus import corpus_files, needs_corpus
from support.gmail_api import Caller, reason

from gmail_client.emulator import ApiError, Behavior, Emulator

Start = Callable[..., Emulator]
Call = Callable[..., Caller]


def encoded(mail: bytes) -> str:
    return base64.urlsafe_b64encode(mail).decode()


def mail(subject: str = "Hi", to: str = "b@example.com", **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"From: a@example.com\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\nHello\r\n".encode()


@pytest.fixture
def gmail(start: Start) -> Emulator:
    return start(messages=0, mailboxes=2)


@pytest.fixture
def me(gmail: Emulator, call: Call) -> Caller:
    return call(gmail)


def test_insert_keeps_labels_thread_and_date(gmail: Emulator, me: Caller) -> None:
    dated = mail(Date="Tue, 01 Jul 2025 12:00:00 +0000")
    first = me.post("messages", {"raw": encoded(dated), "labelIds": ["INBOX", "STARRED"]}).json()
    assert first == {"id": first["id"], "threadId": first["id"], "labelIds": ["INBOX", "STARRED"]}
    now = gmail.clock.time() * 1000
    assert abs(int(me.me(f"messages/{first['id']}")["internalDate"]) - now) < 600_000
    second = me.post(
        "messages",
        {"raw": encoded(mail("Re: Hi", Date="Tue, 01 Jul 2025 12:00:00 +0000")), "threadId": first["id"]},
        internalDateSource="dateHeader",
    ).json()
    assert second["threadId"] == first["id"]
    assert me.me(f"messages/{second['id']}")["internalDate"] == "1751371200000"
    other = me.post("messages", {"raw": encoded(mail("Something else")), "threadId": first["id"]}).json()
    assert other["threadId"] == other["id"]


def test_references_thread_mail(me: Caller) -> None:
    first = me.post("messages", {"raw": encoded(mail("Plan", Message_ID="<1@x>"))}).json()
    answer = me.post("messages", {"raw": encoded(mail("RE: plan", References="<0@x> <1@x>"))}).json()
    other = me.post("messages", {"raw": encoded(mail("Another", In_Reply_To="<1@x>"))}).json()
    assert answer["threadId"] == first["threadId"]
    assert other["threadId"] != first["threadId"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"raw": "%%%"}, 400),
        ({"raw": encoded(b"x"), "labelIds": ["Label_404"]}, 400),
        ({"raw": encoded(b"x"), "labelIds": ["DRAFT"]}, 400),
        ({"raw": encoded(b"x"), "labelIds": "INBOX"}, 400),
        ({"raw": encoded(b"x"), "labels": ["INBOX"]}, 400),
        ({"raw": 7}, 400),
        ({"raw": encoded(b"x"), "threadId": "ffff"}, 404),
    ],
)
def test_insert_refuses(gmail: Emulator, me: Caller, body: dict[str, Any], status: int) -> None:
    head = gmail.mailbox().head
    assert me.post("messages", body).status_code == status
    assert gmail.mailbox().head == head
    assert gmail.mailbox().message_ids() == []


def test_invalid_json_bodies(me: Caller) -> None:
    for data in (b"{", b"[]", b'"text"'):
        answer = me.send("POST", "/gmail/v1/users/me/messages", data=data)
        assert (answer.status_code, reason(answer)) == (400, "badRequest")


def test_import_and_spam(me: Caller) -> None:
    spam = encoded(mail(X_Spam_Flag="YES"))
    assert me.post("messages/import", {"raw": encoded(mail())}).json()["labelIds"] == ["INBOX", "UNREAD"]
    assert me.post("messages/import", {"raw": spam}).json()["labelIds"] == ["UNREAD", "SPAM"]
    kept = me.post("messages/import", {"raw": spam}, neverMarkSpam="true").json()
    assert kept["labelIds"] == ["INBOX", "UNREAD"]
    assert (
        me.post("messages/import", {"raw": encoded(mail())}, deleted="true").json()["labelIds"][-1] == "TRASH"
    )


def test_send_delivers(gmail: Emulator, me: Caller) -> None:
    first, second = gmail.addresses
    begin = gmail.mailbox(second).head
    sent = me.post("messages/send", {"raw": encoded(mail(to=f"{second}, {first}, x@example.com"))}).json()
    assert sent["labelIds"] == ["SENT", "INBOX", "UNREAD"]
    (arrived,) = gmail.truth("messages", second)
    assert arrived["labelIds"] == ["INBOX", "UNREAD"]
    assert gmail.mailbox(second).head > begin
    alone = me.post("messages/send", {"raw": encoded(mail(to="x@example.com"))}).json()
    assert alone["labelIds"] == ["SENT"]
    assert me.post("messages/send", {"raw": encoded(b"Subject: x\r\n\r\n")}).status_code == 400


def test_modify(me: Caller) -> None:
    one = me.post("messages", {"raw": encoded(mail()), "labelIds": ["INBOX"]}).json()["id"]
    answer = me.post(f"messages/{one}/modify", {"addLabelIds": ["STARRED"], "removeLabelIds": ["INBOX"]})
    assert answer.json()["labelIds"] == ["STARRED"]
    for body in (
        {"addLabelIds": ["nothing"]},
        {"addLabelIds": ["SENT"]},
        {"removeLabelIds": ["DRAFT"]},
        {"addLabelIds": ["INBOX"], "removeLabelIds": ["INBOX"]},
        {"addLabelIds": ["INBOX"] * 101},
        {"addlabelids": ["INBOX"]},
    ):
        assert me.post(f"messages/{one}/modify", body).status_code == 400
    assert me.me(f"messages/{one}")["labelIds"] == ["STARRED"]
    assert me.post("messages/ffff/modify", {}).status_code == 404


def test_classification_labels(me: Caller) -> None:
    one = me.post("messages", {"raw": encoded(mail())}).json()["id"]
    value = {"labelId": "secret", "fields": [{"fieldId": "level", "selection": "high"}]}
    before = int(me.me(f"messages/{one}")["historyId"])
    me.post(f"messages/{one}/modify", {"addClassificationLabels": [value]})
    shown = me.me(f"messages/{one}")
    assert shown["classificationLabelValues"] == [value]
    assert int(shown["historyId"]) > before
    me.post("messages/batchModify", {"ids": [one], "removeClassificationLabelIds": ["secret"]})
    assert "classificationLabelValues" not in me.me(f"messages/{one}")


def test_batch_methods(gmail: Emulator, me: Caller) -> None:
    ids = [gmail.mailbox().insert(mail(), ["INBOX"]) for _ in range(4)]
    done = me.post("messages/batchModify", {"ids": [*ids, "ffff"], "addLabelIds": ["STARRED"]})
    assert (done.status_code, done.content) == (204, b"")
    assert all("STARRED" in gmail.mailbox().label_ids(one) for one in ids)
    assert me.post("messages/batchDelete", {"ids": ids[:3]}).status_code == 204
    assert gmail.mailbox().message_ids() == [ids[3]]
    assert me.post("messages/batchDelete", {"ids": []}).status_code == 400


def test_a_batch_takes_1000_ids(gmail: Emulator, me: Caller) -> None:
    ids = [gmail.mailbox().insert(mail(), ["INBOX"]), *(f"{number:x}" for number in range(1000))]
    for path in ("messages/batchModify", "messages/batchDelete"):
        refused = me.post(path, {"ids": ids})
        assert (refused.status_code, reason(refused)) == (400, "invalidArgument")
        assert refused.json()["error"]["message"] == "Number of ids cannot exceed 1000"
    assert me.post("messages/batchModify", {"ids": ids[:1000], "addLabelIds": ["STARRED"]}).status_code == 204
    assert gmail.mailbox().label_ids(ids[0]) == ("INBOX", "STARRED")


@pytest.mark.parametrize(
    ("id", "status"),
    [
        ("0", 404),
        ("1", 404),
        ("abc123", 404),
        ("DEADBEEF", 404),
        ("18c9a1b2c3d4e5f6", 404),
        ("7fffffffffffffff", 404),
        ("8000000000000000", 400),
        ("ffffffffffffffff", 400),
        ("18c9a1b2c3d4e5f6a", 400),
        ("nosuchmessageid", 400),
        ("-1", 400),
        ("1g", 400),
        (" 1", 400),
        ("1_0", 400),
    ],
)
def test_ids_that_do_not_exist_and_ids_that_cannot(me: Caller, id: str, status: int) -> None:
    answers = [me.get(f"{kind}/{id}") for kind in ("messages", "threads")]
    answers.append(me.post(f"messages/{id}/modify", {"addLabelIds": ["STARRED"]}))
    answers.append(me.post(f"threads/{id}/trash"))
    answers.append(me.post(f"messages/{id}", verb="DELETE"))
    for answer in answers:
        message = "Requested entity was not found." if status == 404 else "Invalid id value"
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)


def test_threads(gmail: Emulator, me: Caller) -> None:
    mailbox = gmail.mailbox()
    first = mailbox.insert(mail(Message_ID="<1@x>"), ["INBOX"])
    second = mailbox.insert(mail("Re: Hi", References="<1@x>"), ["INBOX", "UNREAD"])
    answer = me.post(f"threads/{first}/modify", {"addLabelIds": ["STARRED"], "removeLabelIds": ["UNREAD"]})
    assert [one["labelIds"] for one in answer.json()["messages"]] == [["INBOX", "STARRED"]] * 2
    me.post(f"threads/{first}/trash")
    assert mailbox.label_ids(second) == ("STARRED", "TRASH")
    me.post(f"threads/{first}/untrash")
    assert mailbox.label_ids(first) == ("STARRED",)
    assert me.post(f"threads/{first}", verb="DELETE").status_code == 204
    assert mailbox.message_ids() == []
    assert me.post(f"threads/{first}", verb="DELETE").status_code == 404


def test_threads_get_with_and_without_trashed_members(start: Start, call: Call) -> None:
    for include in (True, False):
        gmail = start(
            messages=0, behavior=Behavior(threads_get_includes_trash=include, threads_get_snippet=not include)
        )
        mailbox = gmail.mailbox()
        first = mailbox.insert(mail(Message_ID="<1@x>"), ["INBOX"])
        second = mailbox.insert(mail("Re: Hi", References="<1@x>"), ["INBOX"])
        mailbox.trash(second)
        shown = call(gmail).me(f"threads/{first}")
        assert [one["id"] for one in shown["messages"]] == ([first, second] if include else [first])
        assert ("snippet" in shown) != include
        (row,) = gmail.truth("threads")
        assert [one["id"] for one in row["messages"]] == [first]
        (whole,) = gmail.truth("threads", include_spam_trash=True)
        assert [one["id"] for one in whole["messages"]] == [first, second]


def test_drafts(gmail: Emulator, me: Caller) -> None:
    made = me.post("drafts", {"message": {"raw": encoded(mail(to=gmail.addresses[1]))}}).json()
    draft, first = made["id"], made["message"]["id"]
    assert made["message"]["labelIds"] == ["DRAFT"]
    changed = me.post(
        f"drafts/{draft}", {"message": {"raw": encoded(mail("New", gmail.addresses[1]))}}, "PUT"
    ).json()
    assert changed["id"] == draft
    assert changed["message"]["threadId"] == first
    assert changed["message"]["id"] != first
    assert me.get(f"messages/{first}").status_code == 404
    (listed,) = me.me("drafts")["drafts"]
    assert listed == {"id": draft, "message": {"id": changed["message"]["id"], "threadId": first}}
    sent = me.post("drafts/send", {"id": draft}).json()
    assert sent["labelIds"] == ["SENT"]
    assert sent["threadId"] == first
    assert "drafts" not in me.me("drafts")
    assert len(gmail.truth("messages", gmail.addresses[1])) == 1
    other = me.post("drafts", {"message": {"raw": encoded(mail())}}).json()["id"]
    assert me.post(f"drafts/{other}", verb="DELETE").status_code == 204
    assert me.get(f"drafts/{other}").status_code == 404
    assert me.post("drafts/send", {"id": other}).status_code == 404


def test_labels(gmail: Emulator, me: Caller) -> None:
    made = me.post("labels", {"name": "Work/Trips", "labelListVisibility": "labelHide"}).json()
    assert made["type"] == "user"
    assert (made["messageListVisibility"], made["labelListVisibility"]) == ("show", "labelHide")
    again = me.post("labels", {"name": "work/TRIPS"})
    assert (again.status_code, again.json()["error"]["status"]) == (409, "ABORTED")
    color = {"textColor": "#ffffff", "backgroundColor": "#000000"}
    patched = me.post(f"labels/{made['id']}", {"color": color}, "PATCH").json()
    assert (patched["name"], patched["color"]) == ("Work/Trips", color)
    replaced = me.post(f"labels/{made['id']}", {"name": "Other"}, "PUT").json()
    assert "color" not in replaced
    gmail.mailbox().insert(mail(), [made["id"], "UNREAD"])
    counted = me.me(f"labels/{made['id']}")
    assert [counted[key] for key in ("messagesTotal", "messagesUnread", "threadsTotal", "threadsUnread")] == [
        1
    ] * 4
    listed = next(label for label in me.me("labels")["labels"] if label["id"] == made["id"])
    assert set(listed) == {"id", "name", "type", "messageListVisibility", "labelListVisibility"}
    for verb, path, body in (
        ("POST", "labels", {}),
        ("POST", "labels", {"name": "INBOX"}),
        ("POST", "labels", {"name": "x", "color": {"textColor": "#fff"}}),
        ("PATCH", "labels/INBOX", {"name": "x"}),
        ("DELETE", "labels/INBOX", None),
        ("PUT", f"labels/{made['id']}", {"name": "x", "id": "Label_9"}),
    ):
        assert me.post(path, body, verb).status_code in (400, 409), (verb, path)
    assert me.post(f"labels/{made['id']}", verb="DELETE").status_code == 204
    assert me.get(f"labels/{made['id']}").status_code == 404
    assert gmail.truth("messages")[0]["labelIds"] == ["UNREAD"]


def test_settings(gmail: Emulator, me: Caller) -> None:
    service = me
    assert service.post("settings/forwardingAddresses", {"forwardingEmail": "far@example.org"}).json() == {
        "forwardingEmail": "far@example.org",
        "verificationStatus": "pending",
    }
    on = {"enabled": True, "emailAddress": "far@example.org", "disposition": "archive"}
    assert me.post("settings/autoForwarding", on, "PUT").status_code == 400
    near = service.post("settings/forwardingAddresses", {"forwardingEmail": "near@gmail.test"}).json()
    assert near["verificationStatus"] == "accepted"
    on["emailAddress"] = "near@gmail.test"
    assert me.post("settings/autoForwarding", on, "PUT").json() == on
    assert me.post("settings/imap", {"maxFolderSize": 7}, "PUT").status_code == 400
    vacation = {"enableAutoReply": True, "startTime": "2", "endTime": "1", "responseSubject": "x"}
    assert me.post("settings/vacation", vacation, "PUT").status_code == 400
    vacation["endTime"] = "3"
    assert me.post("settings/vacation", vacation, "PUT").json()["endTime"] == "3"
    alias = service.post("settings/sendAs", {"sendAsEmail": "me@gmail.test", "displayName": "Me"}).json()
    assert alias["verificationStatus"] == "accepted"
    me.post("settings/sendAs/me@gmail.test", {"isDefault": True}, "PATCH")
    defaults = [row["sendAsEmail"] for row in gmail.truth("send_as") if row.get("isDefault")]
    assert defaults == ["me@gmail.test"]
    smtp = {
        "host": "smtp.example.org",
        "port": 587,
        "username": "u",
        "password": "secret",
        "securityMode": "ssl",
    }
    shown = me.post("settings/sendAs/me@gmail.test", {"smtpMsa": smtp}, "PATCH").json()
    assert set(shown["smtpMsa"]) == {"host", "port", "securityMode"}
    assert service.post("settings/sendAs/me@gmail.test", verb="DELETE").status_code == 204
    primary = gmail.addresses[0]
    assert [row["sendAsEmail"] for row in gmail.truth("send_as") if row.get("isDefault")] == [primary]
    assert service.post(f"settings/sendAs/{primary}", verb="DELETE").status_code == 400
    (settings,) = gmail.truth("settings")
    assert settings["emailAddress"] == primary
    assert settings["autoForwarding"] == on
    assert set(settings) == {"emailAddress", "autoForwarding", "imap", "pop", "language", "vacation"}


def test_filters(gmail: Emulator, me: Caller) -> None:
    criteria, action = {"from": "boss@example.com"}, {"addLabelIds": ["STARRED"]}
    made = me.post("settings/filters", {"criteria": criteria, "action": action}).json()
    assert me.post("settings/filters", {"criteria": criteria, "action": action}).status_code == 409
    assert me.me(f"settings/filters/{made['id']}") == made
    for body in (
        {"criteria": {}, "action": action},
        {"criteria": criteria, "action": {}},
        {"criteria": criteria, "action": {"addLabelIds": ["Label_404"]}},
        {"criteria": criteria, "action": {"forward": "nobody@example.org"}},
        {"criteria": {"size": 1, "sizeComparison": "bigger"}, "action": action},
    ):
        assert me.post("settings/filters", body).status_code == 400
    gmail.mailbox().receive(b"From: Boss <boss@example.com>\r\nSubject: Now\r\n\r\n\r\n")
    assert "STARRED" in gmail.truth("messages")[0]["labelIds"]
    assert me.post(f"settings/filters/{made['id']}", verb="DELETE").status_code == 204
    assert made not in gmail.truth("filters")


@pytest.mark.parametrize(
    ("criteria", "hits"),
    [
        ({"to": "team@example.com"}, True),
        ({"to": "other@example.com"}, False),
        ({"subject": "quarterly report"}, True),
        ({"query": "numbers OR nothing"}, True),
        ({"query": "numbers", "negatedQuery": "attached"}, False),
        ({"hasAttachment": True}, False),
        ({"size": 10, "sizeComparison": "larger"}, True),
        ({"size": 10, "sizeComparison": "smaller"}, False),
        ({"excludeChats": True}, True),
    ],
)
def test_filter_criteria(gmail: Emulator, criteria: dict[str, Any], hits: bool) -> None:
    mailbox = gmail.mailbox()
    mailbox.create_filter(criteria, {"addLabelIds": ["IMPORTANT"]})
    message_id = mailbox.receive(
        b"From: a@example.com\r\nTo: Team <team@example.com>\r\nSubject: The Quarterly  Report\r\n\r\n"
        b"The numbers are attached.\r\n"
    )
    assert ("IMPORTANT" in mailbox.label_ids(message_id)) == hits


def test_python_writes_raise_the_same_errors(gmail: Emulator) -> None:
    with pytest.raises(ApiError) as caught:
        gmail.mailbox().trash("ffff")
    assert caught.value.code == 404
    with pytest.raises(ValueError, match=r"no mailbox 'x@y'; there are ada"):
        gmail.mailbox("x@y")


@needs_corpus
def test_the_corpus_can_be_inserted_and_read(gmail: Emulator, me: Caller) -> None:
    files = corpus_files()
    assert len(files) > 300
    paths = {}
    for file in files:
        answer = me.post("messages", {"raw": encoded(file.read_bytes()), "labelIds": ["INBOX"]})
        assert answer.status_code == 200, (file, answer.text)
        paths[answer.json()["id"]] = file
    for form in ("full", "metadata", "minimal", "raw"):
        ids = list(paths)
        for first in range(0, len(ids), 50):
            chunk = ids[first : first + 50]
            _, answers = me.batch([f"/gmail/v1/users/me/messages/{one}?format={form}" for one in chunk])
            for number, message_id in enumerate(chunk):
                status, body = answers[str(number)]
                assert status == 200, (paths[message_id], body)
                if form == "raw":
                    raw = base64.urlsafe_b64decode(body.get("raw", ""))
                    assert raw == paths[message_id].read_bytes()
                assert body["sizeEstimate"] == paths[message_id].stat().st_size


def test_attachment_ids_change_and_all_work(start: Start, call: Call) -> None:
    gmail = start(messages=120)
    me = call(gmail)

    def attachments(part: dict[str, Any]) -> list[tuple[str, int, str]]:
        body = part.get("body", {})
        own = [(part["partId"], body["size"], body["attachmentId"])] if "attachmentId" in body else []
        return own + [entry for below in part.get("parts", []) for entry in attachments(below)]

    seen = 0
    for message_id in gmail.mailbox().message_ids():
        first, second = (attachments(me.me(f"messages/{message_id}")["payload"]) for _ in range(2))
        assert [entry[:2] for entry in first] == [entry[:2] for entry in second]
        for (_, size, one), (_, _, other) in zip(first, second, strict=True):
            seen += 1
            assert one != other
            found = [me.me(f"messages/{message_id}/attachments/{key}") for key in (one, other)]
            assert found[0] == found[1]
            assert len(base64.urlsafe_b64decode(found[0]["data"])) == found[0]["size"] == size
            wrong = gmail.mailbox().message_ids()[0 if message_id != gmail.mailbox().message_ids()[0] else 1]
            assert me.get(f"messages/{wrong}/attachments/{one}").status_code == 400
    assert seen > 5
    assert me.get(f"messages/{message_id}/attachments/nonsense").status_code == 400
