"""The benchmark of a whole organization, with few mailboxes: exact units, and tables that equal the mailboxes."""

from __future__ import annotations

import pytest

from benchmarks.organisation.deployment import Meter, Organization, Sample
from benchmarks.organisation.phases import PHASES, Sizes
from benchmarks.organisation.truth import differences
from gmail_client.emulator import EmulatorProcess

SMALL = Sizes(mailboxes=20, messages=3, idle=10, project=120_000, minutes=0.5)


def test_the_meter_does_not_count_time_in_which_nothing_ran() -> None:
    with EmulatorProcess(messages=0) as gmail:
        meter = Meter(gmail)
    spent = [(0, 0), (1, 0), (2, 30), (3, 60), (33, 60), (34, 90), (35, 90)]
    meter.samples = [Sample(at, units, {"a": units // 2}, 1, 0) for at, units in spent]
    assert meter.stopped == 29
    assert meter.busy() == (90, 34 - 1 - 29)
    assert meter.busy("a") == (45, 34 - 1 - 29)
    assert meter.busy_until("a") == 34 - 29


@pytest.mark.slow
def test_mailboxes_with_nothing_to_do_cost_one_unit_each_and_a_changed_one_its_sync() -> None:
    with Organization(4, 2, quota="none") as found:
        assert found.sync().code == 0
        assert differences(found.lake, found.gmail, found.gmail.addresses) == {}
        found.gmail.reset_usage()
        assert found.sync().code == 0
        assert found.gmail.usage()["mailboxUnits"] == dict.fromkeys(found.gmail.addresses, 1)
        changed = found.gmail.addresses[2]
        found.gmail.mailbox(changed).write("insert", mail=b"Subject: new\r\n\r\nText", label_ids=["INBOX"])
        assert differences(found.lake, found.gmail, found.gmail.addresses) == {changed: 2}
        found.gmail.reset_usage()
        assert found.sync().code == 0
        units = found.gmail.usage()["mailboxUnits"]
        assert {units.pop(mailbox) for mailbox in found.gmail.addresses if mailbox != changed} == {1}
        assert units == {changed: 28}  # 20 for the message
        assert differences(found.lake, found.gmail, found.gmail.addresses) == {}


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["load", "idle", "quota"])
def test_a_phase_with_few_mailboxes(phase: str) -> None:
    figures = list(PHASES[phase](SMALL))
    checked = [figure for figure in figures if "equal the mailboxes" in figure.name or "units" in figure.name]
    exact = [figure for figure in checked if "per minute" not in figure.name]
    assert len(exact) >= 2 if phase != "quota" else exact
    assert [figure for figure in exact if figure.reached is False] == []
