"""The probes notice how a server behaves, cost little, change nothing, and keep what they learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from support.chaos import client_of
from support.lively import BY_BEHAVIOR, GROUPS, answered, live, lively

from gmail_client.conformance.examination import Examination, examine
from gmail_client.conformance.probes import PROBES
from gmail_client.conformance.reads import READS
from gmail_client.emulator import Behavior, Emulator, Fault
from gmail_client.quota import PRICES

NOT_ASKED = {"directory_extras": "documented by Google, and read with another scope"}
UNANSWERED = {"transport.retry_after"}
"""Probes that a server without faults gives no answer to."""


def values_of(name: str) -> list[Any]:
    """All values of a behavior but the default."""
    default = getattr(Behavior(), name)
    if isinstance(default, bool):
        return [not default]
    return [value for value in get_args(get_type_hints(Behavior)[name]) if value != default] or [2]


FLIPS = [(field.name, value) for field in fields(Behavior) for value in values_of(field.name)]


def examined(gmail: Emulator, **options: Any) -> Examination:
    return examine(client_of(gmail).mailbox("me"), **options)


def differing(examination: Examination) -> dict[str, str]:
    return {
        finding.probe.id: finding.answer.text
        for finding in examination.findings
        if finding.status == "differs" and finding.answer is not None
    }


def assert_noticed(flipped: Mapping[str, Any]) -> None:
    with lively(Behavior(**flipped)) as gmail:
        live(gmail.mailbox())
        examination = examined(gmail)
    expected = {BY_BEHAVIOR[name].id: answered(value) for name, value in flipped.items()}
    assert differing(examination) == expected
    assert all(finding.meaning for finding in examination.findings if finding.status == "differs")
    assert examination.units <= 300


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with lively() as emulator:
        live(emulator.mailbox())
        yield emulator


@pytest.fixture(autouse=True)
def _no_faults(gmail: Emulator) -> Iterator[None]:
    yield
    gmail.faults.clear()


def test_every_behavior_of_the_emulator_is_a_question() -> None:
    names = {field.name for field in fields(Behavior)}
    assert BY_BEHAVIOR.keys() | NOT_ASKED.keys() == names
    for name, probe in BY_BEHAVIOR.items():
        assert probe.expected == answered(getattr(Behavior(), name))


def test_probes_have_names_of_their_own_and_say_what_a_difference_means() -> None:
    assert len({probe.id for probe in PROBES}) == len(PROBES) >= 40
    for probe in PROBES:
        assert probe.question.endswith("?"), probe.id
        assert probe.otherwise.endswith("."), probe.id


def test_a_server_that_behaves_as_expected_agrees_in_all_answers(gmail: Emulator) -> None:
    examination = examined(gmail)
    assert differing(examination) == {}
    unknown = {finding.probe.id for finding in examination.findings if finding.status == "unknown"}
    assert unknown == UNANSWERED
    assert examination.kind == "workspace"


def test_it_costs_at_most_300_units_and_changes_nothing(gmail: Emulator) -> None:
    mailbox = gmail.mailbox()
    before = (
        mailbox.head,
        {message_id: mailbox.label_ids(message_id) for message_id in mailbox.message_ids()},
    )
    gmail.usage.reset()
    examination = examined(gmail)
    after = (
        mailbox.head,
        {message_id: mailbox.label_ids(message_id) for message_id in mailbox.message_ids()},
    )
    assert before == after
    assert 0 < gmail.usage.total_units <= examination.units <= 300
    assert sum(read.units for read in READS) <= 300
    assert set(gmail.usage.calls) <= {"oauth.token", *PRICES} - {"watch", "stop"}


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_every_flipped_behavior_is_noticed(group: int) -> None:
    assert_noticed(GROUPS[group])


def test_the_groups_have_every_value() -> None:
    together = {(name, value) for group in GROUPS for name, value in group.items()}
    assert together == {flip for flip in FLIPS if flip[0] not in NOT_ASKED}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [flip for flip in FLIPS if flip[0] not in NOT_ASKED])
def test_a_behavior_that_is_flipped_alone_is_noticed(name: str, value: Any) -> None:
    assert_noticed({name: value})


def patched(method: str, **changes: Any) -> Fault:
    return Fault(method, kind="patch", patch=changes)


@pytest.mark.parametrize(
    ("probe", "fault"),
    [
        ("messages.size_estimate", patched("messages.get", sizeEstimate=7)),
        ("history.head", patched("history.list", historyId="1")),
        ("settings.delegates", Fault("settings.delegates.list", status=400, reason="other")),
        ("errors.absent_message", Fault("messages.get", id="1", status=410, reason="gone")),
        ("batches.status", Fault("batch", status=207, reason="multi")),
        ("batches.refused", Fault("labels.get", kind="too-many-concurrent", times=1)),
        ("transport.retry_after", Fault("labels.list", status=503, times=1, headers={"Retry-After": "0"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_response_is_noticed(gmail: Emulator, probe: str, fault: Fault) -> None:
    gmail.faults.add(fault)
    assert probe in differing(examined(gmail))


@pytest.mark.parametrize("messages", [0, 1])
def test_a_mailbox_with_next_to_nothing_is_examined(messages: int) -> None:
    with Emulator(messages=messages) as gmail:
        examination = examined(gmail)
    assert differing(examination) == {}
    assert all(finding.reason for finding in examination.findings if finding.status == "unknown")
    assert {"listings.absent_key", "errors.absent_message", "history.expired"} <= {
        finding.probe.id for finding in examination.findings if finding.status == "agrees"
    }


def test_changes_made_one_by_one_are_not_taken_for_an_operation_on_several_messages() -> None:
    with Emulator(messages=30) as gmail:
        mailbox = gmail.mailbox()
        ids = [
            message_id for message_id in mailbox.message_ids() if "DRAFT" not in mailbox.label_ids(message_id)
        ]
        for message_id in ids[:25]:
            mailbox.modify(message_id, ["UNREAD"], [])
            mailbox.modify(message_id, [], ["UNREAD"])
        for message_id in ids[:15]:
            mailbox.modify(message_id, ["STARRED"], [])
        for _ in range(25):
            mailbox.receive(mailbox.random_mail())
        assert "history.groups" not in differing(examined(gmail))


def test_a_label_deleted_later_is_not_a_ghost_label() -> None:
    with Emulator(messages=30) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label("Short lived")
        ids = [
            message_id for message_id in mailbox.message_ids() if "DRAFT" not in mailbox.label_ids(message_id)
        ]
        for message_id in ids[:9]:
            mailbox.modify(message_id, [label], [])
        mailbox.delete_label(label)
        assert "labels.ghosts" not in differing(examined(gmail))


@pytest.mark.parametrize(
    "method", ["history.list", "messages.list", "threads.get", "labels.list", "threads.list"]
)
def test_a_refused_read_leaves_the_other_answers(gmail: Emulator, method: str) -> None:
    gmail.faults.add(Fault(method, status=403, reason="domainPolicy"))
    examination = examined(gmail)
    assert examination.error is None
    assert examination.count("agrees") > 20
    assert any(
        finding.status == "unknown" and "refused" in finding.reason for finding in examination.findings
    )


def test_what_was_read_before_an_error_of_all_calls_is_kept(gmail: Emulator) -> None:
    gmail.faults.add(Fault("threads.get", status=403, reason="dailyLimitExceeded"))
    examination = examined(gmail)
    assert type(examination.error).__name__ == "DailyLimitError"
    agreeing = {finding.probe.id for finding in examination.findings if finding.status == "agrees"}
    assert {"history.message_fields", "listings.order"} <= agreeing
    assert not any(probe.startswith("batches.") for probe in agreeing)


def test_what_was_read_before_an_interruption_is_kept(gmail: Emulator) -> None:
    def interrupt(name: str) -> None:
        if name == "thread":
            raise KeyboardInterrupt

    examination = examined(gmail, progress=interrupt)
    assert examination.interrupted
    agreeing = {finding.probe.id for finding in examination.findings if finding.status == "agrees"}
    assert "history.message_fields" in agreeing
    assert "threads.get_snippet" not in agreeing


@pytest.mark.parametrize("value", [None, 7, "text", [7], [{"id": {"a": 1}}], {"a": [[]]}])
def test_nonsense_in_responses_is_no_crash(gmail: Emulator, value: Any) -> None:
    gmail.faults.add(patched("messages.list", messages=value))
    gmail.faults.add(patched("labels.list", labels=value))
    gmail.faults.add(patched("history.list", history=value))
    gmail.faults.add(patched("threads.get", messages=value))
    gmail.faults.add(patched("messages.get", payload=value, labelIds=value))
    gmail.faults.add(patched("threads.list", threads=value))
    assert examined(gmail).error is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("ada@gmail.com", "consumer"),
        ("ada@GoogleMail.com", "consumer"),
        ("ada@notgmail.com", "workspace"),
        ("gmail.com@example.com", "workspace"),
    ],
)
def test_the_kind_of_account_follows_from_the_domain(gmail: Emulator, address: str, kind: str) -> None:
    gmail.faults.add(patched("getProfile", emailAddress=address))
    assert examined(gmail, progress=only_the_profile).kind == kind


def only_the_profile(name: str) -> None:
    if name != "profile":
        raise KeyboardInterrupt


def test_a_service_account_is_a_delegated_account(gmail: Emulator, tmp_path: Any) -> None:
    from gmail_client.auth.credentials import Credentials
    from gmail_client.client import GmailClient

    key = gmail.service_account_file(tmp_path / "key.json")
    credentials = Credentials.from_service_account_file(key)
    client = GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url)
    examination = examine(client.mailbox(gmail.addresses[0]))
    assert examination.kind == "delegated"
    assert differing(examination) == {"settings.delegates": "readable"}
