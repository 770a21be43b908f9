"""`Exchange` returns responses unchanged, and retries transient errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.chaos import client_of

from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ApiDisabledError, CredentialsError, DailyLimitError, UnavailableError
from gmail_client.http.exchange import Exchange

LABELS = [("labels.get", f"/labels/{name}", {}, name) for name in ("INBOX", "SENT", "Label_404404")]


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(messages=3) as emulator:
        yield emulator


@pytest.fixture
def gmail(server: Emulator) -> Iterator[Emulator]:
    yield server
    server.faults.clear()


@pytest.fixture
def exchange(gmail: Emulator) -> Exchange:
    return client_of(gmail).mailbox("me").api.exchange()


def test_a_response_keeps_its_status_headers_and_fields(gmail: Emulator, exchange: Exchange) -> None:
    gmail.faults.add(Fault("getProfile", kind="patch", patch={"newField": None, "messagesTotal": "3"}))
    reply = exchange.get("getProfile", "/profile", variant="first")
    assert (reply.name, reply.status, reply.error) == ("getProfile first", 200, None)
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json is not None
    assert reply.json["messagesTotal"] == "3"  # unchanged, not converted


def test_a_refused_request_returns_a_response(exchange: Exchange) -> None:
    reply = exchange.get("messages.get", "/messages/1")
    assert reply.status == 404
    assert reply.error is not None
    assert reply.error.reason == "notFound"
    assert reply.json is not None
    assert reply.json["error"]["code"] == 404


@pytest.mark.parametrize(
    "fault",
    [
        Fault("labels.list", status=503, times=2),
        Fault("labels.list", kind="rate-limit", times=2),
        Fault("labels.list", kind="precondition", times=2),
        Fault("labels.list", kind="reset", times=2),
        Fault("labels.list", kind="rate-limit-page", times=2),
    ],
    ids=lambda fault: fault.kind,
)
def test_transient_errors_are_retried(gmail: Emulator, exchange: Exchange, fault: Fault) -> None:
    gmail.faults.add(fault)
    assert exchange.get("labels.list", "/labels").status == 200
    assert len(exchange.refusals) == (0 if fault.kind == "reset" else 2)


def test_lasting_errors_are_raised(gmail: Emulator, exchange: Exchange) -> None:
    gmail.faults.add(Fault("labels.list", status=503))
    with pytest.raises(UnavailableError):
        exchange.get("labels.list", "/labels")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("labels.get", status=403, reason="dailyLimitExceeded"), DailyLimitError),
        (Fault("labels.get", status=403, reason="accessNotConfigured"), ApiDisabledError),
        (Fault("labels.get", status=401, reason="authError"), CredentialsError),
    ],
    ids=["daily limit", "disabled", "credentials"],
)
def test_errors_that_affect_all_calls_are_raised(
    gmail: Emulator, exchange: Exchange, fault: Fault, error: type[Exception]
) -> None:
    gmail.faults.add(fault)
    with pytest.raises(error):
        exchange.get("labels.get", "/labels/INBOX")
    with pytest.raises(error):
        exchange.batch(LABELS)


def test_a_refused_token_is_renewed_once(gmail: Emulator, exchange: Exchange) -> None:
    gmail.faults.add(Fault("labels.list", status=401, reason="authError", times=1))
    assert exchange.get("labels.list", "/labels").status == 200


def test_a_batch_keeps_its_parts_and_returns_a_response_for_each_call(exchange: Exchange) -> None:
    batch = exchange.batch(LABELS)
    assert batch.status == 200
    assert [part.content_id for part in batch.parts] == [
        "<response-part-1>",
        "<response-part-0>",
        "<response-part-2>",
    ]
    assert [batch.answers[number].status for number in range(3)] == [200, 200, 404]
    assert [(reply.json or {}).get("id") for reply in batch.answers.values() if reply.status == 200] == [
        "SENT",
        "INBOX",
    ]
    assert batch.answers[2].name == "labels.get Label_404404"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("labels.get", kind="too-many-concurrent", where="batch", times=1),
        Fault("batch", status=503, times=1),
        Fault("batch", kind="content-type", times=1),
        Fault("batch", status=404, reason="notFound", times=1),
    ],
    ids=["one part", "unavailable", "no batch", "no endpoint"],
)
def test_calls_without_a_part_are_sent_individually(
    gmail: Emulator, exchange: Exchange, fault: Fault
) -> None:
    gmail.faults.add(fault)
    batch = exchange.batch(LABELS)
    assert [batch.answers[number].status for number in range(3)] == [200, 200, 404]


def test_non_ascii_letters_survive_a_batch(gmail: Emulator, exchange: Exchange) -> None:
    label = gmail.mailbox().create_label("Grüße €")
    batch = exchange.batch([("labels.get", f"/labels/{label}", {}, "")])
    assert (batch.answers[0].json or {})["name"] == "Grüße €"


def test_a_write_sends_its_body(gmail: Emulator, exchange: Exchange) -> None:
    reply = exchange.write("labels.create", "POST", "/labels", {"name": "Ä"}, units=5)
    assert (reply.json or {})["name"] == "Ä"
    assert "Ä" in gmail.mailbox().labels.ids_by_name()
    label_id = (reply.json or {})["id"]
    gone = exchange.write("labels.delete", "DELETE", f"/labels/{label_id}", units=5)
    assert (gone.status, gone.json, gone.error) == (204, None, None)
