"""Rows under `q` and `startDate` while labels change and time passes, compared with a model of the filters."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from hypothesis import example, given, note
from hypothesis import strategies as st
from support.chaos import InstantClock, client_of
from support.examples import examples
from support.lake import stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
from gmail_client.options import TableOptions
from gmail_client.spec import SpecTable

DAY = 86_400

SEARCHES: list[tuple[str | None, str | None, bool]] = [
    (None, None, False),
    ("is:unread", "is:unread", False),
    ("newer_than:7d", None, False),
    ("newer_than:7d is:unread", "is:unread", False),
    ("(newer_than:9d (is:unread OR is:starred)) in:inbox", "(is:unread OR is:starred) in:inbox", False),
    ("older_than:2d", None, False),
    ("older_than:2d -is:starred", "-is:starred", False),
    ("is:unread OR newer_than:5d", "is:unread OR newer_than:5d", True),
    ("{is:starred older_than:4d}", "{is:starred older_than:4d}", True),
    ("-older_than:6d newer_than:20d is:unread", "-older_than:6d is:unread", True),
]
"""A search, the search that stored messages are matched against, and whether that one still depends on the time."""


class Model:
    """The ids that a table must have, of messages or threads.

    Args:
        gmail: The mailbox, whose search is used.
        table: `messages` or `threads`.
        options: The table's options.
        lasting: The search that stored messages are matched against.
        dated: Whether it depends on the time.
    """

    def __init__(
        self, gmail: Emulator, table: str, options: TableOptions, lasting: str | None, dated: bool
    ) -> None:
        self._gmail = gmail
        self._table = table
        self._options = options
        self._lasting = lasting
        self._dated = dated
        self._keys: dict[str, str] = {}
        self._stored: dict[str, dict[str, tuple[str, ...]]] = {}
        self._rejected: set[str] = set()
        self.rows: set[str] = set()

    def _found(self, q: str | None, *, bare: bool = False) -> dict[str, Any]:
        found = self._gmail.truth(
            "messages",
            q=q,
            label_ids=() if bare else self._options.label_ids,
            include_spam_trash=self._options.include_spam_trash,
            format="minimal",
        )
        start = (self._options.start_date or 0) * 1000
        return {m["id"]: m for m in found if bare or int(m["internalDate"]) >= start}

    def _key(self, message: dict[str, Any]) -> str:
        return str(message["id"] if self._table == "messages" else message["threadId"])

    def _visible(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The messages of each row, by key, with their labels."""
        rows: dict[str, dict[str, tuple[str, ...]]] = {}
        for message in self._found(None, bare=self._table == "threads").values():
            rows.setdefault(self._key(message), {})[message["id"]] = tuple(
                sorted(message.get("labelIds", ()))
            )
        return rows

    def sync(self, named: set[str], arrived: set[str], *, whole: bool) -> None:
        """Update the model for a sync.

        Args:
            named: Messages in the history since the last sync.
            arrived: Those of them that are new.
            whole: The sync reconciles the table with a listing.
        """
        visible = self._visible()
        now = {m: self._key(one) for m, one in self._found(self._options.q).items()}
        still = {m: self._key(one) for m, one in self._found(self._lasting).items()}
        self._keys |= {m: key for key, members in visible.items() for m in members}
        if whole:
            differing = {key for key in self.rows if visible.get(key) != self._stored.get(key)}
            rechecked = differing if self._dated or self._options.q is None else set(self.rows)
            entering = set(now.values())
        else:
            known = {m for members in self._stored.values() for m in members}
            rechecked = {self._keys[m] for m in named if m in known and self._keys.get(m) in self.rows}
            again = named - known | self._rejected
            entering = {key for m, key in now.items() if m in again}
        staying = (self.rows - rechecked) | (rechecked & set(still.values()))
        self.rows = {key for key in staying | entering if key in visible}
        if self._options.q is None:  # only labels and dates: a row exists while one of its messages matches
            self.rows = set(now.values())
        self._rejected = set() if whole else {m for m in arrived if m not in now}
        self._stored = {key: members for key, members in visible.items() if key in self.rows}


class Scenario:
    """A changing mailbox and the tables that are synced with it."""

    def __init__(self, gmail: Emulator, seed: int) -> None:
        self.gmail = gmail
        self.mailbox = gmail.mailbox()
        self.rng = random.Random(seed)
        self.named: set[str] = set()
        self.arrived: set[str] = set()

    def _labels(self) -> dict[str, tuple[str, ...]]:
        truth = self.gmail.truth("messages", include_spam_trash=True, format="minimal")
        return {message["id"]: tuple(sorted(message.get("labelIds", ()))) for message in truth}

    def apply(self, change: Callable[[], object]) -> None:
        """Change the mailbox, and record the messages that the history will contain."""
        before = self._labels()
        change()
        after = self._labels()
        self.arrived |= after.keys() - before.keys()
        self.named |= {m for m in before.keys() | after.keys() if before.get(m) != after.get(m)}

    def write(self, kind: str) -> None:
        """One change of a kind."""
        ids = self.mailbox.message_ids()
        some = self.rng.choice(ids) if ids else None
        if kind == "receive" or some is None:
            self.apply(lambda: self.mail(0, None))
        elif kind == "reply":
            self.apply(lambda: self.mail(0, some))
        elif kind == "import":
            self.apply(lambda: self.mail(self.rng.randrange(30 * DAY), self.rng.choice([None, some])))
        elif kind == "delete":
            self.apply(lambda: self.mailbox.delete(some))
        elif kind == "flip":
            self.apply(lambda: self.mailbox.modify(some, ["STARRED"], []))
            self.apply(lambda: self.mailbox.modify(some, [], ["STARRED"]))
        else:
            label = self.rng.choice(["UNREAD", "STARRED", "INBOX", "TRASH"])
            has = label in self.mailbox.label_ids(some)
            self.apply(lambda: self.mailbox.modify(some, [] if has else [label], [label] if has else []))

    def mail(self, age: int, reply_to: str | None) -> None:
        """Deliver a message of this age in seconds."""
        answers = subject = ""
        if reply_to:
            original = self.mailbox.message(reply_to).content
            answers = f"In-Reply-To: {original.message_id}\r\nReferences: {original.message_id}\r\n"
            subject = "Re: "
        raw = (
            f"From: eve@example.test\r\nTo: {self.mailbox.address}\r\nSubject: {subject}talk\r\n{answers}"
            f"Date: {formatdate(self.gmail.clock.time() - age)}\r\n"
            f"Message-ID: <{self.rng.random()}@example.test>\r\n\r\nHello.\r\n"
        )
        thread = self.mailbox.message(reply_to).thread.id if reply_to else None
        labels = self.rng.choice([["INBOX", "UNREAD"], ["INBOX"], ["UNREAD"], ["STARRED"], []])
        self.mailbox.insert(raw.encode(), labels, thread_id=thread, date_source="dateHeader")


WRITES = ["receive", "reply", "import", "labels", "labels", "labels", "delete", "flip"]
STEPS = st.lists(
    st.one_of(
        st.sampled_from(WRITES),
        st.sampled_from(WRITES),
        st.floats(0.5, 9).map(lambda days: round(days, 1)),
        st.sampled_from(["sync", "sync", "expire"]),
    ),
    min_size=2,
    max_size=25,
)
SPECS = st.tuples(
    st.sampled_from(range(len(SEARCHES))),
    st.sampled_from([(), (), ("INBOX",)]),
    st.booleans(),
    st.sampled_from([None, None, 5, 15]),
)


def as_spec(table: str, drawn: tuple[int, tuple[str, ...], bool, int | None], now: float) -> SpecTable:
    search, labels, hidden, days = drawn
    configuration: dict[str, Any] = {"labelIds": list(labels), "includeSpamTrash": hidden}
    if SEARCHES[search][0] is not None:
        configuration["q"] = SEARCHES[search][0]
    if days is not None:
        configuration["startDate"] = int(now) - days * DAY
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


def check(seed: int, steps: list[str | float], drawn: tuple[Any, Any]) -> None:
    clock = InstantClock()
    with Emulator(messages=0, seed=seed, clock=clock) as gmail, tempfile.TemporaryDirectory() as folder:
        lake, client = Lake(folder), client_of(gmail)
        scenario = Scenario(gmail, seed)
        specs = [
            as_spec(name, one, clock.time()) for name, one in zip(("messages", "threads"), drawn, strict=True)
        ]
        models = {
            spec.source_table: Model(gmail, spec.source_table, spec.options, *SEARCHES[one[0]][1:])
            for spec, one in zip(specs, drawn, strict=True)
        }
        for _ in range(12):
            scenario.write(scenario.rng.choice(["import", "import", "receive", "labels"]))
        scenario.named.clear()
        scenario.arrived.clear()

        def run(*, whole: bool) -> None:
            gmail.usage.reset()
            results = sync(client.mailbox(), lake, specs, allow_mass_delete=True, sample=random.Random(seed))
            note(f"   {[(r.mode, r.warnings) for r in results.values()]}")
            if not whole:
                assert all(result.mode == "incremental" for result in results.values())
                # Matching stored and new messages costs one page per table.
                assert gmail.usage.units.get("messages.list", 0) <= 2 * 2 * 5 + 10
            for spec in specs:
                model = models[spec.source_table]
                model.sync(scenario.named, scenario.arrived, whole=whole)
                rows = stored_rows(lake, spec.source_table)
                ids = {row["id"] for row in rows}
                note(f"   {spec.source_table}: {len(ids)}")
                assert ids == model.rows, (
                    f"{spec.source_table}: missing {model.rows - ids}, too many {ids - model.rows}"
                )
                labels = {m: one for members in model._stored.values() for m, one in members.items()}
                for row in rows:
                    for member in row.get("messages") or [row]:
                        assert tuple(sorted(member["labelIds"] or ())) == labels.pop(member["id"])
                assert not labels
            scenario.named.clear()
            scenario.arrived.clear()

        run(whole=True)
        for step in [*steps, "sync"]:
            note(f"{step}")
            if isinstance(step, float):
                clock.sleep(step * DAY)
            elif step == "sync":
                run(whole=False)
            elif step == "expire":
                gmail.expire_history()
                run(whole=True)
            else:
                scenario.write(step)


@examples(4)
@given(
    seed=st.integers(0, 2**16),
    steps=STEPS,
    drawn=st.one_of(st.tuples(SPECS, SPECS), SPECS.map(lambda s: (s, s))),
)
@example(3, [*["receive"] * 6, "sync", 9.0, *["labels"] * 12], ((2, (), False, None),) * 2)
@example(4, [*["reply"] * 6, "sync", 9.0, *["labels"] * 12, "sync"], ((3, (), False, None),) * 2)
@example(
    5,
    [*["labels"] * 8, "sync", 6.0, *["flip"] * 4, "sync", *["labels"] * 4, "expire"],
    ((7, (), False, None),) * 2,
)
@example(
    6, ["receive"] * 4 + ["sync", 3.0, "labels", "sync", "expire", "delete"], ((5, (), False, None),) * 2
)
@example(7, [*["import", "reply"] * 4, "sync", *["labels"] * 12], ((1, ("INBOX",), True, 15),) * 2)
def test_rows_are_those_that_match_the_filters(
    seed: int, steps: list[str | float], drawn: tuple[Any, Any]
) -> None:
    check(seed, steps, drawn)
