"""A sync costs what its plan says, and content that one table has is never fetched for the other."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st
from support.chaos import client_of, random_write
from support.examples import examples
from support.lake import assert_lake_holds

from gmail_assets.delta.lake import Lake
from gmail_assets.operations.plan import MailboxPlan, plan_mailbox
from gmail_assets.syncing import SyncResult, sync
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec, SpecTable

PAGE = 10
"""Units of the most expensive page: the tolerance for a change between plan and sync."""

OPTIONS: list[dict[str, Any]] = [
    {},
    {},
    {"labelIds": "INBOX"},
    {"includeSpamTrash": True},
    {"q": "has:attachment"},
    {"q": "is:unread", "labelIds": "INBOX"},
    {"startDate": "2024-06-01"},
]
FORMATS = {
    "messages": ["full", "full", "metadata", "minimal", "raw"],
    "threads": ["full", "metadata", "minimal"],
}

TABLES = st.lists(st.sampled_from(["messages", "threads"]), min_size=1, max_size=2, unique=True)


@st.composite
def table_specs(draw: st.DrawFn) -> dict[str, SpecTable]:
    """Specs of one run, by table."""
    options = draw(st.sampled_from(OPTIONS))
    specs = {}
    for name in draw(TABLES):
        own = draw(st.sampled_from([options, options, draw(st.sampled_from(OPTIONS))]))
        table = {**own, "format": draw(st.sampled_from(FORMATS[name]))}
        specs[name] = SpecTable.parse({"source_table": name, "table_configuration": table})
    return specs


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, Any]]:
    kinds = st.one_of(
        st.tuples(st.just("sync"), table_specs()),
        st.tuples(st.just("sync"), table_specs()),
        st.tuples(st.just("write"), st.integers(1, 8)),
        st.tuples(st.just("expire"), st.none()),
        st.tuples(st.just("kill"), table_specs()),
    )
    return draw(st.lists(kinds, max_size=6))


def planned(gmail: Emulator, lake: Lake, specs: dict[str, SpecTable]) -> MailboxPlan:
    return plan_mailbox(client_of(gmail).mailbox(), lake, Spec(tables=tuple(specs.values())))


def run(gmail: Emulator, lake: Lake, specs: dict[str, SpecTable], **options: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, list(specs.values()), allow_mass_delete=True, **options)


def spec(name: str, **options: Any) -> SpecTable:
    return SpecTable.parse({"source_table": name, "table_configuration": options})


@examples(6)
@example(  # the reconciliation of threads deletes rows that the load of messages would copy
    seed=0,
    before=[("sync", {name: spec(name) for name in ("messages", "threads")})],
    last={"messages": spec("messages", format="metadata"), "threads": spec("threads", labelIds="INBOX")},
    messages=6,
)
@given(seed=st.integers(0, 2**16), before=steps(), last=table_specs(), messages=st.integers(0, 40))
def test_a_sync_costs_what_its_plan_says(
    seed: int, before: list[tuple[str, Any]], last: dict[str, SpecTable], messages: int
) -> None:
    rng = random.Random(seed)
    with (
        Emulator(messages=messages, seed=seed, mean_json_kb=2) as gmail,
        tempfile.TemporaryDirectory() as folder,
    ):
        lake = Lake(folder)
        for kind, argument in before:
            if kind == "write":
                for _ in range(argument):
                    random_write(gmail.mailbox(), rng)
            elif kind == "expire":
                gmail.expire_history()
            else:
                run(gmail, lake, argument, deadline=0.0 if kind == "kill" else None)
        plan = planned(gmail, lake, last)
        results = run(gmail, lake, last)
        units = max(result.units for result in results.values())
        note(f"{plan}\n{results}")
        assert not any("every thread" in text for result in results.values() for text in result.warnings)
        assert abs(plan.units - units) <= PAGE
        assert_lake_holds(lake, gmail, list(last.values()), gmail.addresses[0])


GETS = ("messages.get", "threads.get")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (spec("messages"), spec("threads")),
        (spec("threads"), spec("messages")),
        (spec("messages"), spec("threads", format="metadata")),
        (spec("threads"), spec("messages", format="minimal")),
        (spec("messages", format="raw"), spec("threads", format="minimal")),
        (spec("messages", includeSpamTrash=True), spec("threads")),
        (spec("messages"), spec("threads", labelIds="INBOX")),
        (spec("threads"), spec("messages", q="has:attachment")),
    ],
    ids=lambda entry: (
        f"{entry.source_table} {entry.options.format} {entry.options.q or entry.options.label_ids or ''}"
    ),
)
def test_content_of_one_table_costs_the_other_only_the_listing(
    tmp_path: Path, first: SpecTable, second: SpecTable
) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=80, seed=11, mean_json_kb=2) as gmail:
        run(gmail, lake, {first.source_table: first})
        mailbox = gmail.mailbox()
        rng = random.Random(3)
        for _ in range(10):  # labels of stored messages change: the copies have the new ones
            mailbox.modify(rng.choice(mailbox.message_ids()), ["STARRED"], ["UNREAD"])
        plan = planned(gmail, lake, {second.source_table: second})
        gmail.usage.reset()
        run(gmail, lake, {second.source_table: second})
        assert not any(gmail.usage.units.get(method) for method in GETS)
        assert plan.content_units == 0
        assert plan.tables[second.source_table].fetch == 0
        assert plan.tables[second.source_table].from_lake > 0
        assert_lake_holds(lake, gmail, [second], gmail.addresses[0])


def test_a_poorer_format_provides_no_content_for_a_richer_one(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=30, seed=11, mean_json_kb=2) as gmail:
        run(gmail, lake, {"messages": spec("messages", format="metadata")})
        run(gmail, lake, {"threads": spec("threads")})
        assert_lake_holds(lake, gmail, [spec("threads")], gmail.addresses[0])


def test_soft_deleted_rows_provide_no_content(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    kept = SpecTable.parse({"source_table": "messages", "deletes": "keep"})
    with Emulator(messages=30, seed=11, mean_json_kb=2) as gmail:
        run(gmail, lake, {"messages": kept})
        mailbox = gmail.mailbox()
        gone = mailbox.message_ids()[:3]
        for message_id in gone:
            mailbox.delete(message_id)
        run(gmail, lake, {"messages": kept})
        run(gmail, lake, {"threads": spec("threads")})
        assert_lake_holds(lake, gmail, [spec("threads")], gmail.addresses[0])


def test_new_mail_is_one_commit_for_each_table(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    both = {name: spec(name) for name in ("messages", "threads")}
    with Emulator(messages=30, seed=11, mean_json_kb=2) as gmail:
        run(gmail, lake, both)
        before = {name: lake.table(name).delta.version() for name in both}
        mailbox = gmail.mailbox()
        old = mailbox.message_ids()[:4]
        mailbox.receive(mailbox.random_mail())
        mailbox.receive(mailbox.random_mail(reply_to=old[0]))
        mailbox.modify(old[1], ["STARRED"], [])
        mailbox.delete(old[2])
        run(gmail, lake, both)
        assert {name: lake.table(name).delta.version() - before[name] for name in both} == dict.fromkeys(
            both, 1
        )
        assert_lake_holds(lake, gmail, list(both.values()), gmail.addresses[0])


def test_a_table_cleared_for_another_format_provides_no_content(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=40, seed=11, mean_json_kb=2) as gmail:
        first = {
            "messages": spec("messages", format="metadata"),
            "threads": spec("threads", format="metadata", q="has:attachment"),
        }
        run(gmail, lake, first)
        second = {"messages": spec("messages"), "threads": spec("threads", format="metadata")}
        plan = planned(gmail, lake, second)
        results = run(gmail, lake, second)
        assert abs(plan.units - max(result.units for result in results.values())) <= PAGE
