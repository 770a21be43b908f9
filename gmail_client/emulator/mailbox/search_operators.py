"""The operators of Gmail's search language, each a predicate on a message.

Chosen here, because it is not documented: months are 30 days and years 365; `to:` also searches Cc and Bcc, as the
criteria of filters do; `has:attachment` means any part with a file name; `after` is inclusive and `before` exclusive;
`larger` and `size` mean above, `smaller` below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol
from zoneinfo import ZoneInfo

from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mail.text import SearchFields, words

__all__ = [
    "MessageView",
    "Predicate",
    "SearchContext",
    "Searchable",
    "compile_operator",
    "compile_words",
    "label_key",
    "match_all",
]


class Searchable(Protocol):
    """A message in its mailbox, in the form that `q` needs."""

    @property
    def content(self) -> MessageContent:
        """The content."""
        ...

    @property
    def label_ids(self) -> Collection[str]:
        """The ids of its labels."""
        ...

    @property
    def internal_date_ms(self) -> int:
        """The internal date, in epoch milliseconds."""
        ...


class MessageView:
    """A message that is matched: its search fields are computed once, on demand."""

    def __init__(self, message: Searchable) -> None:
        self.labels = message.label_ids
        self.date_ms = message.internal_date_ms
        self.content = message.content

    @cached_property
    def fields(self) -> SearchFields:
        """The search fields."""
        return self.content.search_text()


Predicate = Callable[[MessageView], bool]


@dataclass(frozen=True)
class SearchContext:
    """The context of the operators of one query.

    Args:
        now: The current time in epoch seconds, for `newer_than` and `older_than`.
        labels: Label ids by `label_key`.
        me: The addresses that `from:me` and `to:me` mean.
    """

    now: Callable[[], float]
    labels: Mapping[str, str]
    me: Collection[str]


_PACIFIC = ZoneInfo("America/Los_Angeles")
_DATE = re.compile(r"(\d{4})[/.-](\d{1,2})[/.-](\d{1,2})|(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})")
_AGE = re.compile(r"(\d{1,6})([hdmy])", re.IGNORECASE)
_AGE_SECONDS = {"h": 3600, "d": 86400, "m": 30 * 86400, "y": 365 * 86400}
_SIZE = re.compile(r"(\d{1,15})(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_SIZE_BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LABEL_KEY = re.compile(r"[\s/&()\"|-]+")

_PLACES = {
    "inbox": "INBOX",
    "sent": "SENT",
    "draft": "DRAFT",
    "drafts": "DRAFT",
    "spam": "SPAM",
    "trash": "TRASH",
    "chat": "CHAT",
    "chats": "CHAT",
    "starred": "STARRED",
    "important": "IMPORTANT",
    "unread": "UNREAD",
}
_CATEGORIES = {
    "primary": "CATEGORY_PERSONAL",
    "personal": "CATEGORY_PERSONAL",
    "social": "CATEGORY_SOCIAL",
    "promotions": "CATEGORY_PROMOTIONS",
    "updates": "CATEGORY_UPDATES",
    "forums": "CATEGORY_FORUMS",
}
_LINKS = {
    "drive": ("drive google com", "docs google com"),
    "document": ("docs google com document",),
    "spreadsheet": ("docs google com spreadsheets",),
    "presentation": ("docs google com presentation",),
    "youtube": ("youtube com", "youtu be"),
}


def label_key(name: str) -> str:
    """The name of a label in a query: lower-case, with hyphens for spaces, slashes and brackets."""
    return _LABEL_KEY.sub("-", name.casefold()).strip("-")


def match_none(view: MessageView) -> bool:
    """The predicate that no message matches."""
    return False


def match_all(view: MessageView) -> bool:
    """The predicate of a term without effect: it is ignored among other terms and after a minus."""
    return True


def compile_words(text: str) -> Predicate:
    """A word or a quoted phrase, searched in the headers, the file names and the visible text."""
    wanted = words(text)
    return match_all if not wanted.strip() else lambda view: wanted in view.fields.anywhere


def compile_operator(name: str, value: str, scope: SearchContext) -> Predicate | None:
    """The predicate of `name:value`; None when there is no such operator.

    An empty value has no effect, an invalid one matches nothing.
    """
    make = _OPERATORS.get(name.lower())
    if make is None:
        return None
    return make(value.strip(), scope) if value.strip() else match_all


def _phrase(pick: Callable[[SearchFields], str]) -> Callable[[str, SearchContext], Predicate]:
    def make(value: str, scope: SearchContext) -> Predicate:
        wanted = [words(value)]
        if value.casefold() == "me" and scope.me:
            wanted = [words(address) for address in scope.me]
        if not wanted[0].strip():
            return match_none
        return lambda view: any(phrase in pick(view.fields) for phrase in wanted)

    return make


def _recipients(fields: SearchFields) -> str:
    return f"{fields.to}\n{fields.cc}\n{fields.bcc}"


def _has_label(label_id: str) -> Predicate:
    return lambda view: label_id in view.labels


def _label(value: str, scope: SearchContext) -> Predicate:
    key = label_key(value)
    label_id = scope.labels.get(key) or _PLACES.get(key)
    return _has_label(label_id) if label_id else match_none


def _place(value: str, scope: SearchContext) -> Predicate:
    key = value.casefold()
    if key in ("anywhere", "all"):
        return lambda view: True
    if key == "read":
        return lambda view: "UNREAD" not in view.labels
    return _label(value, scope)


def _category(value: str, scope: SearchContext) -> Predicate:
    label_id = _CATEGORIES.get(value.casefold())
    return _has_label(label_id) if label_id else match_none


def _has_user_label(view: MessageView) -> bool:
    return any(label_id.startswith("Label_") for label_id in view.labels)


def _has(value: str, scope: SearchContext) -> Predicate:
    key = value.casefold()
    if key == "attachment":
        return lambda view: bool(view.fields.filenames)
    if key == "userlabels":
        return _has_user_label
    if key == "nouserlabels":
        return lambda view: not _has_user_label(view)
    if key.endswith("-star"):
        return _has_label("STARRED")
    if key in _LINKS:
        wanted = [f" {link} " for link in _LINKS[key]]
        return lambda view: any(link in view.fields.body for link in wanted)
    return match_none


def _filename(value: str, scope: SearchContext) -> Predicate:
    wanted = words(value)
    if not wanted.strip():
        return match_none
    return lambda view: any(wanted in words(name) for name in view.fields.filenames)


def _moment_ms(value: str) -> int | None:
    """Epoch milliseconds of a date (midnight in California) or of epoch seconds; None for anything else."""
    if value.isascii() and value.isdigit() and len(value) <= 12:
        return int(value) * 1000
    match = _DATE.fullmatch(value)
    if not match:
        return None
    year, month, day = match.group(1, 2, 3) if match.group(1) else match.group(6, 4, 5)
    try:
        return int(datetime(int(year), int(month), int(day), tzinfo=_PACIFIC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _after(value: str, scope: SearchContext) -> Predicate:
    moment = _moment_ms(value)
    return match_none if moment is None else lambda view: view.date_ms >= moment


def _before(value: str, scope: SearchContext) -> Predicate:
    moment = _moment_ms(value)
    return match_none if moment is None else lambda view: view.date_ms < moment


def _age_start_ms(value: str, scope: SearchContext) -> float | None:
    match = _AGE.fullmatch(value)
    if not match:
        return None
    return (scope.now() - int(match.group(1)) * _AGE_SECONDS[match.group(2).lower()]) * 1000


def _newer_than(value: str, scope: SearchContext) -> Predicate:
    start = _age_start_ms(value, scope)
    return match_none if start is None else lambda view: view.date_ms >= start


def _older_than(value: str, scope: SearchContext) -> Predicate:
    start = _age_start_ms(value, scope)
    return match_none if start is None else lambda view: view.date_ms < start


def _bytes(value: str) -> int | None:
    match = _SIZE.fullmatch(value)
    return int(match.group(1)) * _SIZE_BYTES[(match.group(2) or "")[:1].lower()] if match else None


def _larger(value: str, scope: SearchContext) -> Predicate:
    limit = _bytes(value)
    return match_none if limit is None else lambda view: view.content.size > limit


def _smaller(value: str, scope: SearchContext) -> Predicate:
    limit = _bytes(value)
    return match_none if limit is None else lambda view: view.content.size < limit


def _message_id(value: str, scope: SearchContext) -> Predicate:
    wanted = value.strip("<>")
    return lambda view: view.content.message_id.strip("<>") == wanted


_OPERATORS: dict[str, Callable[[str, SearchContext], Predicate]] = {
    "from": _phrase(lambda fields: fields.sender),
    "to": _phrase(_recipients),
    "cc": _phrase(lambda fields: fields.cc),
    "bcc": _phrase(lambda fields: fields.bcc),
    "subject": _phrase(lambda fields: fields.subject),
    "list": _phrase(lambda fields: fields.mailing_list),
    "deliveredto": _phrase(lambda fields: fields.delivered_to),
    "label": _label,
    "in": _place,
    "is": _place,
    "category": _category,
    "has": _has,
    "filename": _filename,
    "after": _after,
    "newer": _after,
    "before": _before,
    "older": _before,
    "newer_than": _newer_than,
    "older_than": _older_than,
    "larger": _larger,
    "size": _larger,
    "smaller": _smaller,
    "rfc822msgid": _message_id,
}
