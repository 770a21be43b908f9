"""The phases of the benchmark. Each gives its figures, and compares the tables with the emulator afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from benchmarks.emulator_load import LIMITING_SHARE, EmulatorLoad
from benchmarks.organisation.deployment import Command, Meter, Organization
from benchmarks.organisation.sensor import Sensor
from benchmarks.organisation.truth import differences
from gmail_client.emulator import Fault

__all__ = ["PHASES", "Figure", "Sizes"]

_USER_LIMIT = 6_000


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: What was measured.
        value: The value, with its unit.
        goal: The goal in words; empty if there is none.
        reached: Whether it was reached; None without a goal.
    """

    name: str
    value: str
    goal: str = ""
    reached: bool | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark.

    Attributes:
        mailboxes: Mailboxes of the first loads.
        messages: Messages of each of them.
        idle: Mailboxes of the phases without a first load.
        project: Units per minute of the project in the first loads.
        minutes: Duration of the phase `quota`, about.
    """

    mailboxes: int = 200
    messages: int = 100
    idle: int = 500
    project: int = 60_000
    minutes: float = 4.0


def first_loads(sizes: Sizes) -> Iterator[Figure]:
    """The first load of all mailboxes in one process; then with a twentieth of them failing in ten ways."""
    figures, well = _first_load(sizes, failing=0)
    yield from figures
    figures, ill = _first_load(sizes, failing=max(sizes.mailboxes // 20, 1))
    yield from figures
    yield Figure("time of the run, compared with none failing", f"{ill[0] / well[0]:.2f} times")
    yield _below("time until the others are complete", ill[1] / well[1], 1.3, "times")


def _first_load(sizes: Sizes, failing: int) -> tuple[list[Figure], tuple[float, float]]:
    """Figures; the seconds of the run, and those until the last unit of a mailbox that does not fail."""
    name = f"{failing} failing" if failing else "first load"
    with Organization(sizes.mailboxes, sizes.messages, project_quota=sizes.project) as found:
        sick = found.gmail.addresses[1 :: sizes.mailboxes // max(failing, 1)][:failing]
        for index, mailbox in enumerate(sick):
            _, fault = _FAILURES[index % len(_FAILURES)]
            found.gmail.add_fault(replace(fault, mailbox=mailbox))
        with Meter(found.gmail) as meter:
            done = found.sync()
        found.gmail.clear_faults()
        well = [mailbox for mailbox in found.gmail.addresses if mailbox not in sick]
        differing = differences(found.lake, found.gmail, well)
    units, seconds = meter.busy()
    took = done.seconds - meter.stopped, max(meter.busy_until(mailbox) for mailbox in well)
    figures = [
        Figure(name, f"{units:,} units in {seconds:.0f} s; {took[0]:.0f} s with start-up; {_cost(done)}"),
        *_stopped(meter),
    ]
    failed = {entry["mailbox"] for entry in done.output["mailboxes"] if entry["failures"]}
    if failing:
        spent = units - sum(meter.last.mailboxes.get(mailbox, 0) for mailbox in well)
        figures += [
            _within(f"{name}: named as failed", len(failed), failing - _SLOW, failing),
            Figure(f"{name}: their units", f"{spent:,}"),
            Figure(f"{name}: the others are complete after", f"{took[1]:.0f} s"),
        ]
    else:
        figures += [
            *_rates(meter, units, seconds, sizes.project),
            _below("CPU per mailbox", done.cpu / sizes.mailboxes, 0.6, "s"),
            _below("peak memory", done.peak_mb, 1_500, "MB"),
        ]
    return [*figures, *_correct(name, failed <= set(sick), differing)], took


_FAILURES: list[tuple[str, Fault]] = [
    ("access revoked", Fault(status=401, reason="authError")),
    ("denied", Fault(method="getProfile", status=403, reason="forbidden")),
    ("unavailable", Fault(status=503)),
    ("no mail service", Fault(kind="mail-not-enabled")),
    ("every call 10 s late", Fault(kind="delay", seconds=10)),
    ("rate limit", Fault(kind="rate-limit")),
    ("connections are reset", Fault(kind="reset")),
    ("listing denied", Fault(method="messages.list", status=403, reason="domainPolicy")),
    ("errors in a listing", Fault(method="threads.list", status=500)),
    ("half of the calls fail", Fault(status=503, share=0.5)),
]
_SLOW = 2
"""Of the ten, those that may be complete in the end: the slow one, and the one of which half of the calls fail."""


def idle(sizes: Sizes) -> list[Figure]:
    """Mailboxes with nothing to do, idle ticks of the sensor, and a tenth of the mailboxes changed."""
    with Organization(sizes.idle, 2, quota="none") as found:
        loaded = found.sync()
        figures = [
            Figure("first load of 2 messages each", _cost(loaded)),
            *_correct(
                "first load", loaded.code == 0, differences(found.lake, found.gmail, found.gmail.addresses)
            ),
            *_nothing_to_do(found, sizes.idle),
        ]
        with Sensor(found.environment, found.folder / "sensor.txt") as sensor:
            sensor.tick()  # reads the tables, and gets access tokens
            figures += _idle_tick(found, sensor, sizes.idle)
            figures += _changed(found, sensor, sizes.idle)
    return figures


def _nothing_to_do(found: Organization, count: int) -> list[Figure]:
    found.gmail.reset_usage()
    done = found.sync()
    units = found.gmail.usage()["totalUnits"]
    return [
        _within(f"nothing to do in {count}: units", units, count, count),
        _below("nothing to do: CPU", done.cpu, 10, "s"),
        _below("nothing to do: peak memory", done.peak_mb, 400, "MB"),
        Figure("nothing to do: time", f"{done.seconds:.1f} s"),
    ]


def _idle_tick(found: Organization, sensor: Sensor, count: int) -> list[Figure]:
    ticks = []
    units = []
    for _ in range(3):
        found.gmail.reset_usage()
        ticks.append(sensor.tick())
        units.append(found.gmail.usage()["totalUnits"])
    return [
        _below("idle tick: CPU, local lake", max(tick["cpu"] for tick in ticks), 3, "s"),
        _within("idle tick: units, at most", max(units), 0, count),
        _within("idle tick: runs", sum(len(tick["runs"]) for tick in ticks), 0, 0),
    ]


def _changed(found: Organization, sensor: Sensor, count: int) -> list[Figure]:
    changed = found.gmail.addresses[:: max(count // max(count // 10, 1), 1)]
    for mailbox in changed:
        found.gmail.mailbox(mailbox).write("insert", mail=b"Subject: new\r\n\r\nText", label_ids=["INBOX"])
    found.gmail.reset_usage()
    started = time.monotonic()
    runs: list[dict[str, object]] = []
    # A quiet mailbox is polled less often than at every tick, so it may take several.
    for _ in range(12):
        tick = sensor.tick()
        runs = tick["runs"]
        if runs:
            break
    asked = time.monotonic()
    command = ("-m", "benchmarks.organisation.sensor", "run")
    with ThreadPoolExecutor(max(len(runs), 1)) as pool:
        done = list(pool.map(lambda run: found.run(*command, json.dumps(run)), runs))
    seconds = time.monotonic() - asked
    units = found.gmail.usage()["totalUnits"]
    return [
        _within(f"{len(changed)} changed: runs", len(runs), 1, 3),
        _below(f"{len(changed)} changed: in the tables after", seconds + tick["seconds"], 60, "s"),
        Figure(
            f"{len(changed)} changed: tick", f"{tick['seconds']:.1f} s, {asked - started:.1f} s of all ticks"
        ),
        Figure(f"{len(changed)} changed: CPU of the runs", f"{sum(run.cpu for run in done):.1f} s"),
        Figure(f"{len(changed)} changed: units", f"{units:,}"),
        *_correct(
            "changes",
            all(run.code == 0 and run.output["success"] for run in done),
            differences(found.lake, found.gmail, found.gmail.addresses),
        ),
    ]


def quota(sizes: Sizes) -> list[Figure]:
    """Units that are used under Gmail's own limits: a large mailbox, small ones, and one that catches up."""
    large = int(sizes.minutes * _USER_LIMIT / 17)  # a message costs 16 to 20 units
    small = max(large // 5, 50)
    with Organization(6, small) as found:
        catching, big, *others = found.gmail.addresses
        first = found.sync("--mailbox", catching)
        _receive(found, catching, int(large * 0.8))
        _receive(found, big, large - small)
        time.sleep(60)  # the units of the preparation leave the window
        with Meter(found.gmail, 0.5) as meter, EmulatorLoad(found.gmail) as load:
            done = found.sync()
        figures = [
            _share(meter, f"catch-up of {large * 0.8:,.0f} messages", catching),
            _share(meter, f"first load of {large:,} messages", big),
        ]
        figures += [_share(meter, f"first load of {small:,} messages", mailbox) for mailbox in others]
        figures += _stopped(meter)
        figures += [
            _within("refused calls", meter.last.refused, 0, 0),
            Figure("cost", _cost(done)),
            _below("the emulator's share of a core", load.share, LIMITING_SHARE, ""),
            *_correct(
                "quota",
                first.code == done.code == 0,
                differences(found.lake, found.gmail, found.gmail.addresses),
            ),
        ]
    return figures


def _receive(found: Organization, mailbox: str, count: int) -> None:
    remote = found.gmail.mailbox(mailbox)
    for _ in range(count):
        mail = remote.write("random_mail")
        remote.write("insert", mail=mail, label_ids=["INBOX"])


def _share(meter: Meter, name: str, mailbox: str) -> Figure:
    units, seconds = meter.busy(mailbox)
    share = units / (_USER_LIMIT * seconds / 60)
    what = f"{share:.1%} ({units:,} units in {seconds:.0f} s)"
    return Figure(f"{name}: share of the units per minute", what, "at least 95 %", share >= 0.95)


def _stopped(meter: Meter) -> list[Figure]:
    seconds = meter.stopped
    return [Figure("not counted: the machine stood still for", f"{seconds:.0f} s")] if seconds else []


def _rates(meter: Meter, units: int, seconds: float, project: int) -> Iterable[Figure]:
    share = units / (project * seconds / 60)
    refused = meter.last.refused / max(meter.last.calls, 1)
    return [
        Figure(
            f"share of the project's {project:,} units per minute",
            f"{share:.1%}",
            "at least 90 %",
            share >= 0.9,
        ),
        Figure("refused calls", f"{refused:.2%}", "below 0.5 %", refused < 0.005),
    ]


def _below(name: str, value: float, limit: float, unit: str) -> Figure:
    digits = 2 if limit < 20 else 0
    return Figure(
        name, f"{value:,.{digits}f} {unit}".strip(), f"at most {limit:,g} {unit}".strip(), value <= limit
    )


def _within(name: str, value: int, least: int, most: int) -> Figure:
    goal = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return Figure(name, f"{value:,}", goal, least <= value <= most)


def _correct(name: str, succeeded: bool, differing: dict[str, int]) -> list[Figure]:
    said = (
        "all" if not differing else f"{len(differing)} mailboxes differ: {dict(list(differing.items())[:3])}"
    )
    return [
        Figure(f"{name}: tables equal the mailboxes", said, "all", not differing),
        Figure(f"{name}: ended as expected", "yes" if succeeded else "no", "yes", succeeded),
    ]


def _cost(done: Command) -> str:
    return f"{done.cpu:.0f} CPU s, {done.seconds:.0f} s, peak {done.peak_mb:,.0f} MB"


PHASES: dict[str, Callable[[Sizes], Iterable[Figure]]] = {
    "load": first_loads,
    "idle": idle,
    "quota": quota,
}
