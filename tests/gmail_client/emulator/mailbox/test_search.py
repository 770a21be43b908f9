"""Gmail's search language, term by term, and its boolean algebra by property."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mailbox.search import compile_query

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
LABELS = {"Work": "Label_1", "Work/Big Project": "Label_2", "Données": "Label_3"}


@dataclass
class Found:
    content: MessageContent
    label_ids: Collection[str] = ()
    internal_date_ms: int = field(default=0)


def mail(
    *,
    labels: Collection[str] = ("INBOX",),
    when: float = NOW,
    body: str = "Hello there",
    filename: str = "",
    **headers: str,
) -> Found:
    lines = {
        "from": "Ada Lovelace <ada@example.com>",
        "to": "Bob <bob.b@example.com>",
        "subject": "Dinner plans",
    }
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    if filename:
        text = (
            f"{head}Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n--x\r\nContent-Type: application/pdf\r\n"
            f"Content-Disposition: attachment; "
            f'filename="{filename}"\r\n\r\nPDF\r\n--x--\r\n'
        )
    else:
        text = f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    return Found(from_raw(text.encode()), labels, int(when * 1000))


def matches(q: str, message: Found) -> bool:
    return compile_query(q, now=lambda: NOW, labels=LABELS, me=["bob.b@example.com"])(message)


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("", True),
        ("dinner", True),
        ("DINNER plans", True),
        ("din", False),
        ('"dinner plans"', True),
        ('"plans dinner"', False),
        ("plans dinner", True),
        ("from:ada", True),
        ("from:ada@example.com", True),
        ("from:(ada lovelace)", True),
        ("from:{ada nobody}", True),
        ("from:bob", False),
        ("to:bob.b@example.com", True),
        ("to:me", True),
        ("from:me", False),
        ("subject:plans", True),
        ("subject:hello", False),
        ("subject:(dinner plans)", True),
        ("subject:(dinner movie)", False),
        ("subject:{dinner movie}", True),
        ('subject:"dinner plans"', True),
        ("-dinner", False),
        ("-lunch", True),
        ("--dinner", True),
        ("-(lunch dinner)", True),
        ("-{lunch dinner}", False),
        ("lunch OR dinner", True),
        ("lunch or dinner", False),
        ("lunch | dinner", True),
        ("hello lunch OR dinner", True),
        ("lunch hello OR dinner", False),
        ("hello AND dinner", True),
        ("{lunch dinner}", True),
        ("{lunch brunch}", False),
        ("(lunch OR dinner) (hello OR goodbye)", True),
        ("nosuchoperator:value", False),
        ("from:", True),
        ("is:nonsense", False),
        ("larger:much", False),
        ("after:someday", False),
        ("after:2026/02/31", False),
    ],
)
def test_words_and_boolean_terms(q: str, expected: bool) -> None:
    assert matches(q, mail()) is expected


@pytest.mark.parametrize(
    ("q", "labels", "expected"),
    [
        ("in:inbox", ["INBOX"], True),
        ("in:inbox", ["SENT"], False),
        ("is:unread", ["UNREAD"], True),
        ("is:read", ["UNREAD"], False),
        ("is:read", [], True),
        ("is:starred", ["STARRED"], True),
        ("has:yellow-star", ["STARRED"], True),
        ("is:important", ["IMPORTANT"], True),
        ("in:chats", ["CHAT"], True),
        ("is:chat", ["CHAT"], True),
        ("in:drafts", ["DRAFT"], True),
        ("in:draft", ["DRAFT"], True),
        ("in:anywhere", ["TRASH"], True),
        ("in:trash", ["TRASH"], True),
        ("label:spam", ["SPAM"], True),
        ("label:work", ["Label_1"], True),
        ("label:Work", ["Label_2"], False),
        ("label:work-big-project", ["Label_2"], True),
        ('label:"Work/Big Project"', ["Label_2"], True),
        ("label:données", ["Label_3"], True),
        ("label:nothing", ["Label_1"], False),
        ("category:promotions", ["CATEGORY_PROMOTIONS"], True),
        ("category:primary", ["CATEGORY_PERSONAL"], True),
        ("category:unknown", ["CATEGORY_PERSONAL"], False),
        ("has:userlabels", ["Label_1", "INBOX"], True),
        ("has:userlabels", ["INBOX"], False),
        ("has:nouserlabels", ["INBOX"], True),
    ],
)
def test_folders_and_labels(q: str, labels: list[str], expected: bool) -> None:
    assert matches(q, mail(labels=labels)) is expected


def test_attachments_sizes_and_headers() -> None:
    with_file = mail(filename="Annual Report.pdf", cc="Eve <eve@example.com>", bcc="hid@example.com")
    assert matches("has:attachment", with_file)
    assert not matches("has:attachment", mail())
    assert matches("filename:pdf", with_file)
    assert matches("filename:report.pdf", with_file)
    assert matches("report", with_file)
    assert not matches("filename:doc", with_file)
    assert matches("cc:eve", with_file)
    assert matches("to:eve", with_file)
    assert matches("bcc:hid", with_file)
    size = with_file.content.size
    assert matches(f"larger:{size - 1}", with_file)
    assert not matches(f"larger:{size}", with_file)
    assert matches(f"size:{size - 1}", with_file)
    assert matches(f"smaller:{size + 1}", with_file)
    assert not matches(f"smaller:{size}", with_file)
    assert matches("smaller:1K", with_file)
    assert matches("smaller:10M", with_file)
    assert not matches("larger:1G", with_file)


def test_message_ids_lists_and_delivery() -> None:
    listed = mail(
        message_id="<A+b.1@example.com>", list_id="Cats <cats.example.org>", delivered_to="bob@example.org"
    )
    assert matches("rfc822msgid:<A+b.1@example.com>", listed)
    assert matches("rfc822msgid:A+b.1@example.com", listed)
    assert not matches("rfc822msgid:b.1@example.com", listed)
    assert matches("list:cats.example.org", listed)
    assert not matches("list:dogs.example.org", listed)
    assert matches("deliveredto:bob@example.org", listed)


def test_links_and_other_scripts() -> None:
    linked = mail(body="see https://docs.google.com/document/d/1 and https://youtu.be/x")
    assert matches("has:document", linked)
    assert matches("has:drive", linked)
    assert matches("has:youtube", linked)
    assert not matches("has:spreadsheet", linked)
    assert matches("会議", mail(body="明日の会議について"))
    assert not matches("会場", mail(body="明日の会議について"))
    assert matches("straße", mail(body="Hauptstrasse, STRASSE 5"))
    assert matches("ДОБРЫЙ", mail(body="добрый день"))


def test_dates_are_midnight_in_california() -> None:
    # On 2026-03-08 daylight saving time starts there: midnight is 08:00 UTC, on the next day 07:00 UTC.
    midnight = datetime(2026, 3, 8, 8, tzinfo=UTC).timestamp()
    next_midnight = datetime(2026, 3, 9, 7, tzinfo=UTC).timestamp()
    for form in ("2026/03/08", "2026/3/8", "2026-03-08", "03/08/2026"):
        assert matches(f"after:{form}", mail(when=midnight))
        assert not matches(f"after:{form}", mail(when=midnight - 1))
        assert matches(f"before:{form}", mail(when=midnight - 1))
        assert not matches(f"older:{form}", mail(when=midnight))
    assert matches("newer:2026/03/09", mail(when=next_midnight))
    assert not matches("newer:2026/03/09", mail(when=next_midnight - 1))
    second = int(midnight)
    assert matches(f"after:{second}", mail(when=second))
    assert not matches(f"before:{second}", mail(when=second))


def test_ages_count_from_now() -> None:
    day = 86400
    assert matches("newer_than:2d", mail(when=NOW - 1.9 * day))
    assert not matches("newer_than:2d", mail(when=NOW - 2.1 * day))
    assert matches("older_than:1y", mail(when=NOW - 366 * day))
    assert not matches("older_than:1m", mail(when=NOW - 29 * day))
    assert matches("older_than:3h", mail(when=NOW - 0.5 * day))
    assert not matches("older_than:3x", mail(when=NOW - 400 * day))


@pytest.mark.parametrize(
    ("q", "reaches"),
    [
        ("in:anywhere cats", True),
        ("in:spam", True),
        ("{in:trash in:inbox}", True),
        ("label:trash", True),
        ("is:spam", True),
        ("cats", False),
        ("-in:trash", False),
        ("-(in:trash cats)", False),
        ("-(-in:trash cats)", True),
        ("in:inbox", False),
    ],
)
def test_spam_and_trash_are_reached_only_by_name(q: str, reaches: bool) -> None:
    assert compile_query(q, now=lambda: NOW, labels={}).reaches_spam_trash is reaches


TERMS = [
    "dinner",
    "lunch",
    "from:ada",
    "is:unread",
    "-hello",
    '"dinner plans"',
    "larger:10",
    "in:anywhere",
    "subject:{a plans}",
]
terms = st.recursive(
    st.sampled_from(TERMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"{{{pair[0]} {pair[1]}}}"),
        inner.map(lambda one: f"-({one})"),
    ),
    max_leaves=6,
)
MESSAGES = [
    mail(),
    mail(labels=["UNREAD"]),
    mail(body="Lunch?", subject="a"),
    mail(**{"from": "Eve <e@example.com>"}),
]


@settings(deadline=None, max_examples=150)
@given(terms, terms)
def test_boolean_algebra(a: str, b: str) -> None:
    for message in MESSAGES:
        x, y = matches(a, message), matches(b, message)
        assert matches(f"{a} {b}", message) is (x and y)
        assert matches(f"{a} AND {b}", message) is (x and y)
        assert matches(f"({a}) ({b})", message) is (x and y)
        assert matches(f"({a}) OR ({b})", message) is (x or y)
        assert matches(f"{{({a}) ({b})}}", message) is (x or y)
        assert matches(f"-({a})", message) is (not x)
        assert matches(f"-(-({a}))", message) is x
        assert matches(f"-({{({a}) ({b})}})", message) is matches(f"-({a}) -({b})", message)
        assert matches(f"-(({a}) ({b}))", message) is matches(f"{{-({a}) -({b})}}", message)


@settings(deadline=None, max_examples=300)
@given(
    st.text(st.sampled_from(list('(){}"-:| abORANDfromis/0129<>@é会\n\\')), max_size=40)
    | st.text(max_size=30)
)
def test_no_query_raises_an_error(q: str) -> None:
    assert matches(q, MESSAGES[0]) in (True, False)


def test_depth_is_bounded() -> None:
    message = MESSAGES[0]
    assert matches("(" * 5000 + "dinner", message)
    assert matches("-(" * 2000 + "{" * 2000 + "lunch", message) in (True, False)
    assert matches("--" * 3000 + "dinner", message)
    assert matches("dinner" + ")" * 5000, message)
