"""Every write of the Gmail API through Google's own client, in random order: the tables equal the mailbox each time."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from googleapiclient.errors import HttpError
from support.chaos import client_of
from support.gmail_api import google_client
from support.lake import assert_lake_equals_mailbox, assert_lake_holds

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import snapshot, sync
from gmail_client.emulator import Behavior, Emulator
from gmail_client.emulator.api.methods import METHODS
from gmail_client.spec import SpecTable
from gmail_client.tables import CATALOGUE, CHANGE_TABLES

Act = Callable[[], object]


class Writer:
    """One method for each write of the API, each with a random target."""

    def __init__(self, gmail: Emulator, chance: random.Random) -> None:
        self.service = google_client(gmail)
        self.users = self.service.users()
        self.gmail = gmail
        self.mailbox = gmail.mailbox()
        self.chance = chance
        self.number = 0
        messages, threads, drafts = self.users.messages(), self.users.threads(), self.users.drafts()
        labels, settings = self.users.labels(), self.users.settings()
        filters, aliases = settings.filters(), settings.sendAs()
        forwarding, delegates = settings.forwardingAddresses(), settings.delegates()
        self.acts: dict[str, Act] = {
            "messages.insert": lambda: self._run(
                messages.insert, body={**self._mail(), "labelIds": self._labels()}
            ),
            "messages.import": lambda: self._run(messages.import_, body=self._mail()),
            "messages.send": lambda: self._run(messages.send, body=self._mail()),
            "messages.modify": lambda: self._run(messages.modify, id=self._message(), body=self._change()),
            "messages.trash": lambda: self._run(messages.trash, id=self._message()),
            "messages.untrash": lambda: self._run(messages.untrash, id=self._message()),
            "messages.delete": lambda: self._run(messages.delete, id=self._message()),
            "messages.batchModify": lambda: self._run(
                messages.batchModify, body={"ids": self._some(), **self._change()}
            ),
            "messages.batchDelete": lambda: self._run(messages.batchDelete, body={"ids": self._some()}),
            "threads.modify": lambda: self._run(threads.modify, id=self._thread(), body=self._change()),
            "threads.trash": lambda: self._run(threads.trash, id=self._thread()),
            "threads.untrash": lambda: self._run(threads.untrash, id=self._thread()),
            "threads.delete": lambda: self._run(threads.delete, id=self._thread()),
            "drafts.create": lambda: self._run(drafts.create, body={"message": self._mail()}),
            "drafts.update": lambda: self._run(
                drafts.update, id=self._draft(), body={"message": self._mail()}
            ),
            "drafts.send": lambda: self._run(drafts.send, body={"id": self._draft()}),
            "drafts.delete": lambda: self._run(drafts.delete, id=self._draft()),
            "labels.create": lambda: self._run(labels.create, body={"name": self._name()}),
            "labels.update": lambda: self._run(labels.update, id=self._label(), body={"name": self._name()}),
            "labels.patch": lambda: self._run(
                labels.patch,
                id=self._label(),
                body={"messageListVisibility": chance.choice(["show", "hide"])},
            ),
            "labels.delete": lambda: self._run(labels.delete, id=self._label()),
            "settings.updateAutoForwarding": lambda: self._run(
                settings.updateAutoForwarding, body={"enabled": False}
            ),
            "settings.updateImap": lambda: self._run(
                settings.updateImap, body={"enabled": True, "maxFolderSize": chance.choice([0, 1000, 2000])}
            ),
            "settings.updatePop": lambda: self._run(
                settings.updatePop, body={"accessWindow": chance.choice(["allMail", "disabled"])}
            ),
            "settings.updateLanguage": lambda: self._run(
                settings.updateLanguage, body={"displayLanguage": chance.choice(["de", "en", "fr"])}
            ),
            "settings.updateVacation": lambda: self._run(
                settings.updateVacation, body={"enableAutoReply": True, "responseSubject": self._name()}
            ),
            "settings.filters.create": lambda: self._run(
                filters.create,
                body={"criteria": {"to": self._name()}, "action": {"addLabelIds": ["STARRED"]}},
            ),
            "settings.filters.delete": lambda: self._run(
                filters.delete, id=self._listed(filters, "filter", "id")
            ),
            "settings.forwardingAddresses.create": lambda: self._run(
                forwarding.create, body={"forwardingEmail": self._address()}
            ),
            "settings.forwardingAddresses.delete": lambda: self._run(
                forwarding.delete,
                forwardingEmail=self._listed(forwarding, "forwardingAddresses", "forwardingEmail"),
            ),
            "settings.sendAs.create": lambda: self._run(
                aliases.create, body={"sendAsEmail": self._address(), "displayName": self._name()}
            ),
            "settings.sendAs.update": lambda: self._run(
                aliases.update, sendAsEmail=self._alias(), body={"displayName": self._name()}
            ),
            "settings.sendAs.patch": lambda: self._run(
                aliases.patch, sendAsEmail=self._alias(), body={"signature": self._name()}
            ),
            "settings.sendAs.verify": lambda: self._run(aliases.verify, sendAsEmail=self._alias()),
            "settings.sendAs.delete": lambda: self._run(aliases.delete, sendAsEmail=self._alias()),
            "settings.delegates.create": lambda: self._run(
                delegates.create, body={"delegateEmail": self._address()}
            ),
            "settings.delegates.delete": lambda: self._run(
                delegates.delete, delegateEmail=self._listed(delegates, "delegates", "delegateEmail")
            ),
        }

    def close(self) -> None:
        self.service.close()

    def _run(self, method: Callable[..., Any], **arguments: Any) -> Any:
        return method(userId="me", **arguments).execute()

    def _mail(self) -> dict[str, Any]:
        reply_to = self._message() if self.chance.random() < 0.5 else None
        raw = self.mailbox.random_mail(reply_to=reply_to)
        return {"raw": base64.urlsafe_b64encode(raw).decode()}

    def _labels(self) -> list[str]:
        return self.chance.choice([["INBOX"], ["INBOX", "UNREAD"], ["STARRED"], [], ["SPAM"]])

    def _change(self) -> dict[str, list[str]]:
        known = ["INBOX", "UNREAD", "STARRED", "IMPORTANT", "SPAM"]
        add, remove = self.chance.sample(known, 2)
        return {"addLabelIds": [add], "removeLabelIds": [remove]}

    def _message(self) -> str:
        return self.chance.choice(self.mailbox.message_ids())

    def _some(self) -> list[str]:
        return self.chance.sample(self.mailbox.message_ids(), 4)

    def _thread(self) -> str:
        return self.chance.choice(self.mailbox.thread_ids())

    def _draft(self) -> str:
        return self._listed(self.users.drafts(), "drafts", "id")

    def _label(self) -> str:
        return self._listed(self.users.labels(), "labels", "id", lambda label: label["type"] == "user")

    def _alias(self) -> str:
        return self._listed(
            self.users.settings().sendAs(), "sendAs", "sendAsEmail", lambda alias: not alias.get("isPrimary")
        )

    def _listed(
        self, resource: Any, key: str, name: str, match: Callable[[dict[str, Any]], bool] = lambda item: True
    ) -> str:
        items = resource.list(userId="me").execute().get(key, [])
        return str(self.chance.choice([item[name] for item in items if match(item)] or ["none"]))

    def _name(self) -> str:
        self.number += 1
        return f"Name {self.number}"

    def _address(self) -> str:
        self.number += 1
        return f"a{self.number}@example.org"


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


BOTH = [spec("messages"), spec("threads")]
SPECS: dict[str, list[SpecTable]] = {
    "all": BOTH,
    "kept": [
        spec("messages", deletes="keep", format="metadata"),
        spec("threads", deletes="keep", format="minimal"),
    ],
    "inbox": [spec("messages", labelIds="INBOX"), spec("threads", labelIds="INBOX")],
    "spam and trash": [
        spec("messages", includeSpamTrash="true", format="raw"),
        spec("threads", includeSpamTrash="true"),
    ],
    "search": [spec("messages", q="has:attachment"), spec("threads", q="larger:5k")],
}
SNAPSHOTS = [spec(name) for name in CATALOGUE if name not in CHANGE_TABLES]


def live(gmail: Emulator, place: Path, rounds: int, seed: int) -> set[str]:
    """Run rounds of writes, expiries and syncs; returns the writes that succeeded at least once."""
    chance = random.Random(seed)
    mailbox = client_of(gmail).mailbox()
    lakes = {name: Lake(str(place / name.replace(" ", "_"))) for name in SPECS}
    done: set[str] = set()
    seen: set[str] = set()
    queue: list[str] = []
    with closing(Writer(gmail, chance)) as writer:
        for number in range(rounds):
            for _ in range(len(writer.acts) // 2 if number else 0):
                queue = queue or chance.sample(sorted(writer.acts), len(writer.acts))
                name = queue.pop()
                try:
                    writer.acts[name]()
                    done.add(name)
                except HttpError as error:
                    if error.resp.status not in (
                        400,
                        404,
                        409,
                    ):  # no such target, or one that may not be changed
                        raise
            if chance.random() < 0.25:
                gmail.expire_history()
            for name, tables in SPECS.items():
                sync(mailbox, lakes[name], tables, sample=random.Random(1), allow_mass_delete=True)
                check = assert_lake_holds if name == "search" else assert_lake_equals_mailbox
                check(lakes[name], gmail, tables)
            for table in SNAPSHOTS:
                snapshot(mailbox, lakes["all"], table)
            assert_lake_equals_mailbox(
                lakes["all"], gmail, [one for one in SNAPSHOTS if one.source_table != "delegates"]
            )
            seen |= {row["id"] for row in gmail.truth("messages", format="minimal")}
            kept = (
                DeltaTable(lakes["kept"].location("messages"))
                .to_pyarrow_table(columns=["id"])["id"]
                .to_pylist()
            )
            assert sorted(kept) == sorted(set(kept))
            assert seen <= set(kept)
    return done


@pytest.fixture
def gmail(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator(
        messages=40, seed=12, mean_json_kb=2.0, behavior=getattr(request, "param", None)
    ) as emulator:
        yield emulator


def test_the_writer_knows_every_write_of_the_api(gmail: Emulator) -> None:
    writes = {method.name for method in METHODS.values() if method.verb != "GET"} - {"watch", "stop"}
    with closing(Writer(gmail, random.Random(0))) as writer:
        assert writer.acts.keys() == writes
    assert len(writes) >= 29


def test_a_few_rounds_of_writes_through_google_s_client(gmail: Emulator, tmp_path: Path) -> None:
    done = live(gmail, tmp_path, 3, seed=3)
    assert len(done) >= 25


@pytest.mark.slow
@pytest.mark.parametrize(
    "gmail",
    [
        Behavior(),
        Behavior(history_groups="message", record_split_across_pages=True, history_message_fields="ids"),
        Behavior(
            history_records_without_events=True, history_record_ids_repeat=True, empty_label_ids="empty"
        ),
        Behavior(history_message_fields="id"),
    ],
    indirect=True,
    ids=["defaults", "ids only", "no events", "no thread ids"],
)
def test_rounds_of_writes_through_google_s_client(gmail: Emulator, tmp_path: Path) -> None:
    assert len(live(gmail, tmp_path, 24, seed=24)) >= 29
