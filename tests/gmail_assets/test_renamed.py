"""Mailboxes whose address changed: they keep their rows, and are not loaded again."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.chaos import client_of
from support.domain import read_domain
from support.lake import assert_lake_equals_mailbox

from gmail_assets.cli.commands.sync import sync as sync_command
from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.delta import internal_table
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.operations.forget import forget_mailbox, undo
from gmail_assets.operations.status import mailbox_status
from gmail_assets.renamed import find_renamed
from gmail_assets.syncing import snapshot, sync
from gmail_assets.views import ViewSources, derive
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ConfigurationError
from gmail_client.settings import Settings
from gmail_client.spec import Spec

SPEC = Spec.default()
MAIL = [entry for entry in SPEC.tables if entry.source_table in ("messages", "threads")]
NEW = "new.name@gmail.test"


@pytest.fixture
def gmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Two mailboxes of a domain, and an environment with a service account that reads them."""
    monkeypatch.chdir(tmp_path)
    with Emulator(mailboxes=2, messages=12, seed=3) as emulator:
        read_domain(emulator, tmp_path, monkeypatch)
        yield emulator


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def opened(name: str) -> Mailbox:
    return GmailClient.from_settings(Settings()).mailbox(name)


def load(lake: Lake, *names: str) -> None:
    for name in names:
        sync(opened(name), lake, MAIL)


def deliver(gmail: Emulator, address: str) -> None:
    gmail.mailbox(address).insert(gmail.mailbox(address).random_mail(), ["INBOX"])


def partitions(lake: Lake) -> set[str]:
    return {row["mailbox"] for name in ("messages", "threads") for row in lake.find(name).partitions()}  # type: ignore[union-attr]


def assert_goes_on(gmail: Emulator, lake: Lake, name: str, old: str) -> None:
    """A sync under this name fetches the one new message and nothing else, under the first address."""
    deliver(gmail, NEW)
    gmail.usage.reset()
    results = sync(opened(name), lake, MAIL)
    assert {result.mode for result in results.values()} == {"incremental"}
    assert gmail.usage.calls["messages.get"] + gmail.usage.calls["threads.get"] == 1
    assert partitions(lake) <= {old, gmail.addresses[0]}
    stored = {row["id"] for row in rows_of(lake, "messages", old)}
    assert stored == set(gmail.mailbox(NEW).store.messages) - hidden(gmail, NEW)


def rows_of(lake: Lake, table: str, address: str) -> list[dict[str, object]]:
    delta = lake.find(table)
    assert delta is not None
    return [row for row in delta.to_pyarrow_table().to_pylist() if row["mailbox"] == address]


def hidden(gmail: Emulator, address: str) -> set[str]:
    return set(gmail.mailbox(address).store.messages) - {
        str(row["id"]) for row in gmail.truth("messages", address)
    }


def test_a_mailbox_configured_by_its_earlier_address_goes_on(gmail: Emulator, lake: Lake) -> None:
    old = gmail.addresses[1]
    load(lake, old)
    gmail.rename_user(old, NEW)
    assert_goes_on(gmail, lake, old, old)
    assert gmail.usage.units["messages.list"] == 5  # the comparison
    assert MailboxRegistry(lake).names().mailboxes[old].current == NEW
    assert_goes_on(gmail, lake, NEW, old)
    assert gmail.usage.units["messages.list"] == 0
    for entry in SPEC.tables:
        if entry.source_table in ("labels", "profile", "send_as"):
            snapshot(opened(NEW), lake, entry)
    (profile,) = rows_of(lake, "profile", old)
    assert profile["emailAddress"] == NEW
    derive(lake, old, ViewSources.of(SPEC))
    status = mailbox_status(NEW, lake, SPEC, GmailClient.from_settings(Settings()))
    assert (status.address, status.stored_as) == (NEW, old)
    assert status.tables["messages"] is not None
    assert status.tables["messages"].rows == len(rows_of(lake, "messages", old))


def test_a_mailbox_configured_by_its_new_address_is_recognized_by_its_messages(
    gmail: Emulator, lake: Lake
) -> None:
    one, old = gmail.addresses
    load(lake, one, old)
    gmail.rename_user(old, NEW)
    gmail.usage.reset()
    assert find_renamed(lake, opened, [one, NEW]).present == {old: NEW}
    assert gmail.usage.total_units == 6
    assert_goes_on(gmail, lake, NEW, old)
    gmail.usage.reset()
    assert find_renamed(lake, opened, [one, NEW]).present == {old: NEW}
    assert gmail.usage.total_units == 0


def test_a_mailbox_whose_newest_messages_are_not_stored_is_recognized_by_older_ones(
    gmail: Emulator, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, old = gmail.addresses
    load(lake, one, old)
    gmail.rename_user(old, NEW)
    monkeypatch.setattr("gmail_client.api.GmailApi.list_messages", lambda api, **options: iter([[]]))
    assert find_renamed(lake, opened, [one, NEW]).present == {old: NEW}


def test_a_mailbox_that_can_t_be_compared_is_not_loaded_yet(
    gmail: Emulator, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, old = gmail.addresses
    load(lake, one, old)
    gmail.rename_user(old, NEW)
    gmail.faults.add(Fault("messages.list", status=403, reason="forbidden"))
    assert find_renamed(lake, opened, [one, NEW]).undecided.keys() == {NEW}
    monkeypatch.setenv("GMAIL_MAILBOXES", f"{one},{NEW}")
    monkeypatch.setenv("GMAIL_LAKE", lake.uri)
    result = CliRunner().invoke(sync_command, ["messages", "threads", "--json"], standalone_mode=False)
    assert result.return_value == ExitCode.NO_ACCESS
    assert "messages.list" in result.output
    assert partitions(lake) == {one, old}
    gmail.faults.clear()
    assert find_renamed(lake, opened, [one, NEW]).present == {old: NEW}


def test_another_mailbox_is_never_taken_for_a_renamed_one(gmail: Emulator, lake: Lake) -> None:
    one, two = gmail.addresses
    load(lake, two)
    gmail.usage.reset()
    # `two` has left, `one` is new.
    assert find_renamed(lake, opened, [one]).present == {}
    assert gmail.usage.total_units == 1 + 5 + 3 * 20
    load(lake, one)
    assert partitions(lake) == {one, two}
    assert_lake_equals_mailbox(lake, gmail, MAIL, one)
    assert find_renamed(lake, opened, ["nobody@gmail.test", two]).present == {}


def test_the_directory_s_ids_tell_without_a_request(gmail: Emulator, lake: Lake) -> None:
    one, old = gmail.addresses
    users = {address: gmail._backend.users[address].id for address in gmail.addresses}
    load(lake, one, old)
    find_renamed(lake, opened, [one, old], users)
    gmail.rename_user(old, NEW)
    gmail.rename_user(one, old)  # the old address is another person's at once
    users = {address: gmail._backend.users[address].id for address in (NEW, old)}
    gmail.usage.reset()
    assert find_renamed(lake, opened, [NEW, old], users).present == {}  # neither name is unused
    assert gmail.usage.total_units == 0
    known = MailboxRegistry(lake).names()
    assert known.stored_as[NEW] == old
    assert (known.mailboxes[old].current, known.mailboxes[one].current) == (NEW, "")
    assert find_renamed(lake, opened, [NEW, old], users).present == {}


def test_people_who_swap_addresses_are_refused_instead_of_merged(gmail: Emulator, lake: Lake) -> None:
    one, two = gmail.addresses
    users = {address: gmail._backend.users[address].id for address in gmail.addresses}
    load(lake, one, two)
    find_renamed(lake, opened, [one, two], users)
    before = [rows_of(lake, "messages", address) for address in (one, two)]
    for was, is_now in ((two, NEW), (one, two), (NEW, one)):
        gmail.rename_user(was, is_now)
    users = {address: gmail._backend.users[address].id for address in gmail.addresses}
    assert find_renamed(lake, opened, [one, two], users).present == {}
    for name in (one, two):
        with pytest.raises(ConfigurationError, match="belongs to another mailbox now"):
            load(lake, name)
    assert [rows_of(lake, "messages", address) for address in (one, two)] == before


def test_the_address_of_a_user_who_left_is_not_that_of_the_next_user(gmail: Emulator, lake: Lake) -> None:
    one, two = gmail.addresses
    load(lake, one, two)
    find_renamed(lake, opened, [one, two], {one: "1", two: "2"})
    find_renamed(lake, opened, [one, two], {one: "3", two: "2"})
    known = MailboxRegistry(lake).names().mailboxes
    assert (known[one].current, known[two].current) == ("", two)


def test_another_name_of_a_stored_mailbox_is_not_compared(gmail: Emulator, lake: Lake) -> None:
    one, two = gmail.addresses
    load(lake, one, two)
    gmail.usage.reset()
    assert find_renamed(lake, lambda _: opened(one), ["alias@gmail.test", two]).present == {}
    assert gmail.usage.total_units == 1


def test_an_address_that_another_person_has_now_is_refused(gmail: Emulator, lake: Lake) -> None:
    one, old = gmail.addresses
    load(lake, old)
    gmail.rename_user(old, NEW)
    assert_goes_on(gmail, lake, old, old)
    before = rows_of(lake, "messages", old)
    gmail.rename_user(one, old)
    deliver(gmail, old)
    gmail.usage.reset()
    for refused in (
        lambda: sync(opened(old), lake, MAIL),
        lambda: snapshot(opened(old), lake, SPEC.tables[2]),
    ):
        with pytest.raises(
            ConfigurationError, match=f"{old} belongs to another mailbox now.*which is {NEW} now"
        ):
            refused()
    assert gmail.usage.units["messages.get"] <= 2 * 3 * 20  # stored ids were asked for, no content
    assert rows_of(lake, "messages", old) == before


def test_a_name_taken_back_goes_on(gmail: Emulator, lake: Lake) -> None:
    old = gmail.addresses[1]
    load(lake, old)
    gmail.rename_user(old, NEW)
    sync(opened(NEW), lake, MAIL) if find_renamed(lake, opened, [NEW]).present else pytest.fail("not found")
    gmail.rename_user(NEW, old)
    deliver(gmail, old)
    assert {result.mode for result in sync(opened(old), lake, MAIL).values()} == {"incremental"}
    assert MailboxRegistry(lake).names().mailboxes[old].current == old


def test_another_account_under_the_same_name_is_still_refused(gmail: Emulator, lake: Lake) -> None:
    one, two = gmail.addresses
    sync(client_of(gmail, one).mailbox("me"), lake, MAIL)
    with pytest.raises(ConfigurationError, match=f"'me' is {two} now, but in this lake it was {one}"):
        sync(client_of(gmail, two).mailbox("me"), lake, MAIL)


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_before_or_after_the_rename_is_recorded(
    gmail: Emulator, lake: Lake, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    old = gmail.addresses[1]
    load(lake, old)
    gmail.rename_user(old, NEW)
    write = internal_table.write_deltalake

    def killed(*arguments: object, **options: object) -> None:
        if after:
            write(*arguments, **options)  # type: ignore[call-overload]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(internal_table, "write_deltalake", killed)
        with pytest.raises(KeyboardInterrupt):
            sync(opened(old), lake, MAIL)
        if not after:
            with pytest.raises(KeyboardInterrupt):
                find_renamed(lake, opened, [NEW])
    assert find_renamed(lake, opened, [NEW]).present == {old: NEW}
    assert_goes_on(gmail, lake, NEW, old)


def test_an_erased_mailbox_is_blocked_under_all_its_addresses(gmail: Emulator, lake: Lake) -> None:
    old = gmail.addresses[1]
    load(lake, old)
    gmail.rename_user(old, NEW)
    find_renamed(lake, opened, [NEW])
    forget_mailbox(lake, old)
    for name in (old, NEW):
        with pytest.raises(ConfigurationError, match="was erased from this lake"):
            sync(opened(name), lake, MAIL)


def test_an_erased_mailbox_is_blocked_under_an_address_that_it_gets_later(
    gmail: Emulator, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, old = gmail.addresses
    load(lake, one, old)

    def users() -> dict[str, str]:
        return {address: user.id for address, user in gmail._backend.users.items()}

    find_renamed(lake, opened, [one, old], users())
    forget_mailbox(lake, old)
    gmail.rename_user(old, NEW)
    found = find_renamed(lake, opened, [one, NEW], users())
    assert found.undecided.keys() == {NEW}
    assert "was erased from this lake" in str(found.undecided[NEW])
    assert undo(lake, NEW, users()[NEW])
    assert find_renamed(lake, opened, [one, NEW], users()).undecided == {}
    load(lake, NEW)
    assert partitions(lake) == {one, NEW}


def test_a_registry_of_an_earlier_release(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parents[1] / "fixtures" / "lake_names_v1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    registry = MailboxRegistry(Lake(str(tmp_path / "lake")))
    ada, ben = "ada@example.test", "ben@example.test"
    names = registry.names()
    assert names.stored_as == {"me": ada, ada: ada, ben: ben}
    assert (names.find("me", ada), names.find(ben, ben), names.find("me", ben)) == (ada, ben, None)
    registry.note_users({ben: "1"})
    registry.rename(ben, "benjamin@example.test")
    assert registry.check_name("benjamin@example.test", "benjamin@example.test") == ben
    assert registry.check_name("me", ada) == ada
    assert registry.names().mailboxes[ben].user_id == "1"
