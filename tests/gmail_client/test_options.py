"""Table options: parsing and validation."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from gmail_client.errors import OptionError, UnknownTableError
from gmail_client.options import TableOptions


@pytest.mark.parametrize(
    ("given", "included"),
    [
        ({}, False),
        ({"labelIds": "INBOX,UNREAD"}, False),
        ({"labelIds": "TRASH"}, True),
        ({"labelIds": ["INBOX", "SPAM"], "includeSpamTrash": "false"}, True),
        ({"q": "in:trash"}, True),
        ({"q": "from:eve (IN:Spam OR is:unread)"}, True),
        ({"q": "{in:inbox in:anywhere}"}, True),
        ({"q": 'label:"trash"'}, True),
        ({"q": "-in:trash is:unread"}, False),
        ({"q": "subject:trash label:trashed in:trashcan"}, False),
        ({"q": "label:my-in:trash"}, False),
    ],
)
def test_a_label_filter_for_spam_or_trash_includes_it(given: dict[str, object], included: bool) -> None:
    assert TableOptions.parse("messages", given).include_spam_trash is included


def test_a_label_filter_and_the_flag_have_the_same_identity() -> None:
    both = TableOptions.parse("threads", {"labelIds": "TRASH", "includeSpamTrash": "true"})
    assert TableOptions.parse("threads", {"labelIds": "TRASH"}).fingerprint == both.fingerprint


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("labels", {"q": "is:unread"}, "Option 'q' (value 'is:unread') is not an option of table 'labels'"),
        ("messages", {"nothing": 1}, "'nothing'"),
        ("messages", {7: 1}, "Option 7 "),
        ("messages", {"labelIds": [{}]}, "Option 'labelIds' is [{}], which is not valid (table 'messages')"),
        ("messages", {"labelIds": {"INBOX": True}}, "is {'INBOX': True}, which"),
        ("messages", {"labelIds": "[" * 20_000}, "Option 'labelIds'"),
        ("messages", {"labelIds": '["INBOX"'}, "Option 'labelIds'"),
        ("messages", {"labelIds": ["a\ud800"]}, "Option 'labelIds'"),
        ("messages", {"q": "\udc00"}, "Option 'q'"),
        ("messages", {"q": ["INBOX"]}, "Option 'q'"),
        (
            "messages",
            {"q": "(from:a"},
            "Option 'q' is '(from:a', which is not valid: a parenthesis is not closed",
        ),
        ("threads", {"q": 'subject:"a'}, "not valid: a quote is not closed (table 'threads')"),
        ("messages", {"startDate": "yesterday"}, "Option 'startDate' is 'yesterday', which is not valid"),
        ("messages", {"startDate": "2025-02-30"}, "Option 'startDate'"),
        ("messages", {"startDate": "20250131"}, "Option 'startDate'"),
        ("messages", {"startDate": "1738281600000"}, "Option 'startDate'"),
        ("messages", {"startDate": "9" * 5_000}, "Option 'startDate'"),
        ("messages", {"startDate": True}, "Option 'startDate'"),
        ("messages", {"startDate": datetime(2025, 1, 31, 12)}, "Option 'startDate'"),
        ("messages", {"startDate": -1}, "Option 'startDate'"),
        ("labels", {"startDate": "2025-01-31"}, "is not an option of table 'labels'"),
        ("messages", {"maxResults": "9" * 5_000}, "Option 'maxResults'"),
        ("messages", {"maxResults": True}, "Option 'maxResults'"),
        ("messages", {"maxResults": 501}, "is 501, which"),
        ("messages", {"format": "mbox"}, "'mbox'"),
        ("messages", {"q": "a", "Q": "b"}, "Option 'q' of table 'messages' is set twice"),
        ("threads", {"format": "raw"}, "threads.get"),
    ],
)
def test_an_invalid_option_is_one_short_error(table: str, options: dict[Any, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        TableOptions.parse(table, options)
    assert message in caught.value.what
    assert caught.value.fix
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "values", [{"format": "mbox"}, {"labelIds": "[1"}, {"nothing": 1}, {"maxResults": 0}]
)
def test_the_constructor_raises_the_same_error(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="which is not valid"):
        TableOptions(**values)


def test_options_are_checked_for_the_table_they_are_used_with() -> None:
    search = TableOptions(q="is:unread", labelIds=["INBOX"])
    assert search.for_table("messages") == search
    assert TableOptions(maxResults=50).for_table("labels").page_size == 50
    assert TableOptions(labelIds="SPAM").for_table("messages").include_spam_trash
    with pytest.raises(OptionError, match="'q'"):
        search.for_table("labels")
    with pytest.raises(OptionError, match=r"threads\.get"):
        TableOptions(format="raw").for_table("threads")
    with pytest.raises(UnknownTableError):
        search.for_table("mails")


def test_values_of_spark_and_yaml_are_converted() -> None:
    text = TableOptions.parse(
        "messages",
        {"LABELIDS": " INBOX, UNREAD,INBOX ", "maxresults": "100", "includeSpamTrash": "true", "q": " "},
    )
    assert text == TableOptions.parse(
        "messages", {"labelIds": ["INBOX", "UNREAD"], "maxResults": 100, "includeSpamTrash": True, "q": None}
    )
    assert TableOptions.parse("messages", {"labelIds": '["INBOX"]'}).label_ids == ("INBOX",)


@pytest.mark.parametrize("given", ["2025-01-31", " 2025-01-31 ", date(2025, 1, 31), 1738281600, "1738281600"])
def test_a_start_date_is_midnight_utc_or_epoch_seconds(given: object) -> None:
    options = TableOptions.parse("messages", {"STARTDATE": given})
    assert options.start_date == 1738281600
    assert options.search == "after:1738195200"
    assert not options.matches_date("1738281599999")
    assert options.matches_date("1738281600000")


def test_a_start_date_is_part_of_the_identity_only_if_it_is_set() -> None:
    assert TableOptions(startDate=None).fingerprint == "all"
    # Written by code before `startDate`: its cursors remain valid.
    assert TableOptions(q="is:unread", labelIds=["INBOX"]).fingerprint == "77b0b41a1f8e"
    since = TableOptions(startDate="2025-01-31")
    assert since.fingerprint not in ("all", TableOptions(startDate="2025-02-01").fingerprint)
    assert since.filtered
