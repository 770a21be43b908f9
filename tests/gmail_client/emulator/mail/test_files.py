"""Mail from files: Takeout exports, plain mbox files, Maildirs and folders of .eml files."""

from __future__ import annotations

import mailbox
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.emulator.generate.generator import random_mail, seeded_mailbox
from gmail_client.emulator.generate.own_mail import with_own_mail
from gmail_client.emulator.mail.files import FileContent, read_eml, read_maildir, read_mbox
from gmail_client.errors import ConfigurationError

TAKEOUT = (
    b"From 1700000000000000001@xxx Tue Nov 14 22:13:20 +0000 2023\r\n"
    b"X-GM-THRID: 1700000000000000001\r\n"
    b'X-Gmail-Labels: =?UTF-8?Q?Inbox,Unread,Category_updates,Opened,"Caf=C3=A9,?=\r\n'
    b' =?UTF-8?Q?_bar",Work/Clients?=\r\n'
    b"Subject: first\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"\r\n"
    b"body one\r\n"
    b">From the start, quoted\r\n"
    b"From here on it is text 12:30\r\n"
    b"\r\n"
    b"From nobody in particular\r\n"
    b"\r\n"
    b"From 1700000000000000002@xxx Wed Nov 15 22:13:20 +0000 2023\r\n"
    b"X-GM-THRID: 1700000000000000001\r\n"
    b"X-Gmail-Labels: Sent,Important\r\n"
    b"Subject: second\r\n"
    b"\r\n"
    b"body two\r\n"
    b"\r\n"
    b"From 1700000000000000003@xxx Thu Nov 16 22:13:20 +0000 2023\r\n"
    b"X-GM-THRID: 1700000000000000003\r\n"
    b"X-Gmail-Labels: Archived\r\n"
    b"Subject: third\r\n"
    b"\r\n"
    b"X-GM-THRID: in the body it stays\r\n"
    b"\r\n"
)


@pytest.fixture
def takeout(tmp_path: Path) -> Path:
    path = tmp_path / "All mail Including Spam and Trash.mbox"
    path.write_bytes(TAKEOUT)
    return path


def test_a_takeout_export(takeout: Path) -> None:
    first, second, third = read_mbox(takeout)
    assert first.labels == ("INBOX", "UNREAD", "CATEGORY_UPDATES", "Café, bar", "Work/Clients")
    assert first.thread == second.thread == "1700000000000000001"
    assert third.thread == "1700000000000000003"
    assert second.labels == ("SENT", "IMPORTANT")
    assert third.labels == ()
    assert first.internal_date_ms == 1_700_000_000_000
    assert first.content.raw() == (
        b"Subject: first\r\nMessage-ID: <1@example.com>\r\n\r\nbody one\r\nFrom the start, quoted\r\n"
        b"From here on it is text 12:30\r\n\r\nFrom nobody in particular\r\n"
    )
    assert first.content.size == len(first.content.raw())
    assert first.content.subject == "first"
    assert third.content.raw() == b"Subject: third\r\n\r\nX-GM-THRID: in the body it stays\r\n"


def test_own_mail_joins_a_mailbox_in_order_of_date(takeout: Path) -> None:
    generated = seeded_mailbox(1, 0, 200)
    both = with_own_mail(generated, mbox=[takeout])
    messages = list(both)
    assert both.messages == len(messages) == 203
    assert [m.internal_date_ms for m in messages] == sorted(m.internal_date_ms for m in messages)
    own = [message for message in messages if isinstance(message.content, FileContent)]
    assert [message.content.subject for message in own] == ["first", "second", "third"]
    assert own[0].thread == own[1].thread != own[2].thread
    assert {m.thread for m in own}.isdisjoint(m.thread for m in messages if m not in own)
    names = {label["id"]: label["name"] for label in both.labels}
    assert [names.get(label, label) for label in own[0].label_ids] == [
        "INBOX",
        "UNREAD",
        "CATEGORY_UPDATES",
        "Café, bar",
        "Work/Clients",
    ]
    assert len(both.labels) == len(generated.labels) + 1
    assert len({label["id"] for label in both.labels}) == len(both.labels)
    assert (both.address, both.settings, both.filters) == (
        generated.address,
        generated.settings,
        generated.filters,
    )
    assert next(iter(both)).internal_date_ms == messages[0].internal_date_ms


def test_contents_are_read_on_demand(takeout: Path) -> None:
    first, *_ = read_mbox(takeout)
    takeout.write_bytes(TAKEOUT.replace(b"body one", b"BODY ONE"))
    assert b"BODY ONE" in first.content.raw()
    takeout.unlink()
    assert first.content.raw() == b""


def test_plain_mbox_threads_by_references(tmp_path: Path) -> None:
    path = tmp_path / "plain.mbox"
    rng = Random(1)
    box = mailbox.mbox(str(path))
    raws = []
    for number in range(4):
        head = f"Message-ID: <{number}@x>\nDate: Mon, {number + 2} Nov 2026 10:00:00 +0000\n"
        raws.append(head + "Subject: a\n\nFrom: text\n" + "line\n" * int(rng.random() * 5))
    raws[1] = "In-Reply-To: <0@x>\n" + raws[1].replace("Subject: a", "Subject: Re: a")
    raws[2] = "References: <missing@x>\n" + raws[2]
    raws[3] = "References: <missing@x> <2@x>\n" + raws[3].replace("Subject: a", "Subject: other")
    for raw in raws:
        box.add(raw.encode())
    box.close()
    found = list(read_mbox(path))
    assert [item.content.raw().decode().replace("\r\n", "\n") for item in found] == raws
    assert {item.labels for item in found} == {("INBOX",)}
    threads = [message.thread for message in with_own_mail(seeded_mailbox(1, 0, 0), mbox=[path])]
    assert threads[0] == threads[1]
    assert len(set(threads)) == 3


def test_maildir_with_flags_and_folders(tmp_path: Path) -> None:
    for folder in (
        "cur",
        "new",
        "tmp",
        ".Work.Clients/cur",
        ".Work.Clients/new",
        ".Entw&APw-rfe/cur",
        ".Sent/cur",
    ):
        (tmp_path / folder).mkdir(parents=True)
    mail = b"Subject: %d\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nbody\r\n"
    (tmp_path / "cur" / "1.a.host:2,FS").write_bytes(mail % 1)
    (tmp_path / "new" / "2.b.host").write_bytes(mail % 2)
    (tmp_path / ".Work.Clients" / "cur" / "3:2,S").write_bytes(mail % 3)
    (tmp_path / ".Entw&APw-rfe" / "cur" / "4:2,DS").write_bytes(mail % 4)
    (tmp_path / ".Sent" / "cur" / "5:2,ST").write_bytes(mail % 5)
    (tmp_path / "tmp" / "6").write_bytes(mail % 6)
    labels = {item.content.subject: item.labels for item in read_maildir(tmp_path)}
    assert labels == {
        "1": ("INBOX", "STARRED"),
        "2": ("INBOX", "UNREAD"),
        "3": ("Work/Clients",),
        "4": ("Entwürfe", "DRAFT"),
        "5": ("SENT", "TRASH"),
    }
    drafts = [m for m in with_own_mail(seeded_mailbox(1, 0, 0), maildir=[tmp_path]) if m.draft]
    assert [message.content.subject for message in drafts] == ["4"]


def test_eml_files_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    raws = {f"{n}.eml": random_mail(Random(n), "ada@gmail.test") for n in range(5)}
    for name, raw in raws.items():
        (tmp_path / ("deep" if name < "3" else ".") / name).write_bytes(raw)
    (tmp_path / "note.txt").write_text("no mail")
    (tmp_path / "no-date.eml").write_bytes(b"no header at all")
    found = {item.content.raw(): item for item in read_eml(tmp_path)}
    assert set(found) == {*raws.values(), b"no header at all"}
    assert all(item.labels == ("INBOX",) and item.internal_date_ms > 0 for item in found.values())


def test_missing_and_invalid_paths(tmp_path: Path) -> None:
    text = tmp_path / "text.mbox"
    text.write_text("no mbox")
    empty = tmp_path / "empty.mbox"
    empty.write_bytes(b"")
    assert list(read_mbox(empty)) == []
    with pytest.raises(ConfigurationError, match=r"mbox: there is no file .*absent"):
        list(read_mbox(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="does not begin with a 'From ' line"):
        list(read_mbox(text))
    with pytest.raises(ConfigurationError, match=r"maildir: .* has neither cur nor new"):
        list(read_maildir(tmp_path))
    with pytest.raises(ConfigurationError, match="eml: there is no folder"):
        list(read_eml(tmp_path / "absent"))


lines = st.lists(
    st.sampled_from(
        [b"From x Mon Nov  2 10:00:00 2026", b">From y", b"", b"text", b"From z", b"\xff", b"X-GM-THRID: 1"]
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(lines, min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n"]))
def test_mailbox_module_round_trip(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[list[bytes]], end: bytes
) -> None:
    path = tmp_path_factory.mktemp("mbox") / "m.mbox"
    raws = [
        b"Subject: " + str(n).encode() + end + end + b"".join(line + end for line in body)
        for n, body in enumerate(bodies)
    ]
    with path.open("wb") as file:
        for raw in raws:
            quoted = b"".join(
                b">" + line if line.lstrip(b">").startswith(b"From ") else line
                for line in raw.splitlines(keepends=True)
            )
            file.write(b"From a@b Mon Nov  2 10:00:00 2026" + end + quoted + end)
    assert [item.content.raw() for item in read_mbox(path)] == raws
