"""Records are compared with the emulator, and what differs is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.chaos import client_of
from support.lively import BY_BEHAVIOR, GROUPS, answered, live, lively

from gmail_client.conformance.examination import examine
from gmail_client.conformance.record import make_record, read_record
from gmail_client.conformance.replay import behavior_of, emulated_record, replay, settled
from gmail_client.emulator import Behavior

FOLDER = Path(__file__).parents[3] / "conformance"
RECORDS = sorted((FOLDER / "records").glob("*.json"))
LISTED: dict[str, str] = json.loads((FOLDER / "differences.json").read_text("utf-8"))

Record = dict[str, Any]


def recorded(behavior: Behavior) -> Record:
    with lively(behavior) as gmail:
        live(gmail.mailbox())
        return make_record(examine(client_of(gmail).mailbox("me")))


@pytest.fixture(scope="module")
def record() -> Record:
    return recorded(Behavior())


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_of_gmail_differs_from_the_emulator_only_where_it_is_listed(path: Path) -> None:
    differences = {difference.name: str(difference) for difference in replay(read_record(path))}
    assert {name: text for name, text in differences.items() if name not in LISTED} == {}


def test_every_listed_difference_is_one_of_a_record() -> None:
    found = {difference.name for path in RECORDS for difference in replay(read_record(path))}
    assert LISTED.keys() <= found


def test_a_record_of_the_emulator_has_no_differences(record: Record) -> None:
    assert behavior_of(record) == Behavior()
    assert [str(difference) for difference in replay(record)] == []


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_a_record_that_differs_in_behavior_is_noticed(group: int) -> None:
    flipped = recorded(Behavior(**GROUPS[group]))
    assert behavior_of(flipped) == Behavior(**GROUPS[group])
    found = {difference.name: difference.record for difference in replay(flipped, Behavior())}
    expected = {BY_BEHAVIOR[name].id: answered(value) for name, value in GROUPS[group].items()}
    assert expected.items() <= found.items()


@pytest.mark.slow
@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_a_record_of_an_emulator_with_other_behavior_has_no_differences(group: int) -> None:
    assert [str(difference) for difference in replay(recorded(Behavior(**GROUPS[group])))] == []


def test_each_answer_that_differs_is_noticed(record: Record) -> None:
    known = [name for name, answer in record["answers"].items() if answer is not None]
    assert len(known) > 70
    changed = copy.deepcopy(record)
    for name in known:
        changed["answers"][name]["answer"] = "something else"
    assert {difference.name for difference in replay(changed, Behavior())} == set(known)


def field(call: str, path: str) -> Callable[[Record], Record]:
    return lambda record: record["responses"][call]["fields"][path]


@pytest.mark.parametrize(
    ("change", "name", "fragment"),
    [
        (
            lambda record: record["responses"]["getProfile"]["fields"].update(
                {"newField": {"forms": ["text, 10-99 characters"], "present": "always"}}
            ),
            "getProfile: newField",
            "text, 10-99 characters",
        ),
        (
            lambda record: field("getProfile", "historyId")(record)["forms"].append("integer, 2-9 digits"),
            "getProfile: historyId",
            "integer",
        ),
        (
            lambda record: field("messages.get full", "payload.headers[].value")(record)["forms"].append(
                "null"
            ),
            "messages.get full: payload.headers[].value",
            "null",
        ),
        (
            lambda record: field("messages.list", "messages[].threadId")(record).update(present="sometimes"),
            "messages.list: messages[].threadId",
            "sometimes absent",
        ),
        (
            lambda record: record["responses"]["labels.list"]["headers"].append("retry-after"),
            "labels.list: header",
            "retry-after",
        ),
        (
            lambda record: record["responses"]["labels.get"]["statuses"].update({"410 gone": "1"}),
            "labels.get: status",
            "410 gone",
        ),
        (lambda record: record["responses"].update({"watch": {}}), "watch", "was called"),
    ],
)
def test_each_shape_that_differs_is_noticed(
    record: Record, change: Callable[[Record], Any], name: str, fragment: str
) -> None:
    changed = copy.deepcopy(record)
    change(changed)
    (difference,) = replay(changed)
    assert (difference.name, difference.record) == (name, fragment)
    assert str(difference).startswith(f"{name}: {fragment}; the emulator: ")


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("messages[].id", "digits, 10-99 characters"),
        ("messages[].id", "hexadecimal, 2-9 characters"),
        ("messages", "list of 100-999"),
    ],
)
def test_other_sizes_and_narrower_forms_are_no_difference(record: Record, path: str, form: str) -> None:
    changed = copy.deepcopy(record)
    field("messages.list", path)(changed)["forms"].append(form)
    assert replay(changed) == []


@pytest.mark.slow
def test_a_delegated_account_reads_its_delegates() -> None:
    answers = emulated_record(Behavior(), "delegated")["answers"]
    assert answers["settings.delegates"]["answer"] == "readable"


def test_what_records_settle_is_counted(tmp_path: Path, record: Record) -> None:
    assert not any(one.answers for one in settled(tmp_path))
    (tmp_path / "2026-11-26-consumer.json").write_text(json.dumps(record), "utf-8")
    found = {one.behavior: one for one in settled(tmp_path)}
    assert found.keys() == BY_BEHAVIOR.keys()
    assert found["listing_order"].answers == {"2026-11-26-consumer": "newest"}
    record["answers"]["listings.order"] = None
    (tmp_path / "2026-11-26-consumer.json").write_text(json.dumps(record), "utf-8")
    assert {one.behavior: one for one in settled(tmp_path)}["listing_order"].answers == {}
