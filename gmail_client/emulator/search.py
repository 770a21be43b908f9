"""Gmail's search language `q`. (First form: bare words only.)"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from gmail_client.emulator.content import Content
from gmail_client.emulator.text import words

__all__ = ["Query", "Searchable", "compile_query"]


class Searchable(Protocol):
    """What a query looks at: a message in its mailbox."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def content(self) -> Content: ...  # noqa: D102
    @property
    def label_ids(self) -> Collection[str]: ...  # noqa: D102
    @property
    def internal_date_ms(self) -> int: ...  # noqa: D102


class Query:
    """A compiled `q`: call it with a message."""

    def __init__(self, test: Callable[[Searchable], bool], reaches_spam_trash: bool) -> None:
        self._test = test
        self.reaches_spam_trash = reaches_spam_trash

    def __call__(self, message: Searchable) -> bool:
        """Whether the message matches (spam and trash are for the caller to leave out)."""
        return self._test(message)


def compile_query(q: str, *, now: Callable[[], float], labels: Mapping[str, str]) -> Query:
    """Compile `q`; `labels` maps label names to ids. Malformed input never raises."""
    wanted = words(q)
    return Query(lambda message: wanted in message.content.search_text().anywhere, False)
