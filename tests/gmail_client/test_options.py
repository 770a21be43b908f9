"""Table options: what `parse` makes of what it is given."""

from __future__ import annotations

import pytest

from gmail_client.errors import ConfigurationError
from gmail_client.options import Spec, TableOptions


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
def test_who_asks_for_spam_or_trash_gets_it(given: dict[str, object], included: bool) -> None:
    assert TableOptions.parse("messages", given).include_spam_trash is included


def test_asking_by_label_is_the_same_question_as_asking_twice() -> None:
    both = TableOptions.parse("threads", {"labelIds": "TRASH", "includeSpamTrash": "true"})
    assert TableOptions.parse("threads", {"labelIds": "TRASH"}).fingerprint == both.fingerprint


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        ("messages", "historyId", "historyId is not a number, and text sorts 999 after 1000"),
        ("threads", "snippet", "snippet is not a number"),
        ("labels", "messagesTotal", "labels is a snapshot"),
        ("messages", "history", "messages has no column 'history'"),
    ],
)
def test_what_cannot_order_changes_is_no_sequence(table: str, column: str, said: str) -> None:
    spec = {"objects": [{"table": {"source_table": table, "sequence_by": column}}]}
    with pytest.raises(ConfigurationError, match=f"is not valid: {said}"):
        Spec.parse(spec)


def test_the_number_of_the_history_is_a_sequence() -> None:
    entry = {"source_table": "messages", "table_configuration": {"sequence_by": "historySequence"}}
    (table,) = Spec.parse({"objects": [{"table": entry}]}).tables
    assert table.sequence_by == "historySequence"
