"""The outline of a generated mailbox: its threads, and the parameters of their messages.

A message is described by three numbers (thread, position in the thread, date). Everything else is generated from them
on demand, deterministically. So half a million messages need a few hundred megabytes and little time, independent of
the size of their bodies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from gmail_client.emulator.generate.languages import LANGUAGES
from gmail_client.emulator.generate.message_spec import MessageSpec
from gmail_client.emulator.generate.mime_parts import MimePart
from gmail_client.emulator.generate.mime_structures import compose
from gmail_client.emulator.generate.people import LISTS, SENDERS, SOCIAL_SENDER, Person, person, pick_language
from gmail_client.emulator.generate.seeded import SeededMessage
from gmail_client.emulator.mail.content import ParsedContent
from gmail_client.emulator.mail.payload import MessageSummary, summary_of

__all__ = ["GeneratedContent", "MailboxOutline", "weighted"]

# The kinds of threads and their shares, by the number of messages of a thread.
_SINGLE = {
    "newsletter": 0.26,
    "notification": 0.27,
    "personal": 0.14,
    "work": 0.09,
    "receipt": 0.07,
    "spam": 0.06,
    "list": 0.05,
    "calendar": 0.02,
    "draft": 0.015,
    "chat": 0.015,
    "bounce": 0.01,
}
_SHORT = {"personal": 0.42, "work": 0.36, "list": 0.10, "notification": 0.09, "chat": 0.03}
_LONG = {"list": 0.50, "work": 0.35, "personal": 0.15}
_KINDS = tuple(dict.fromkeys([*_SINGLE, *_SHORT, *_LONG]))
_KIND_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_CATEGORIES = {
    "newsletter": "CATEGORY_PROMOTIONS",
    "notification": "CATEGORY_UPDATES",
    "receipt": "CATEGORY_UPDATES",
    "list": "CATEGORY_FORUMS",
}
_CONVERSATIONS = ("personal", "work")

_LARGEST_THREAD = 100
_SINGLES = 0.68
_YEARS_MS = 6 * 365 * 86_400_000
_RECENT_MS = 40 * 86_400_000
_CORRESPONDENTS = 300
_MOST_REFERENCES = 20
_MASK = (1 << 64) - 1


def weighted(rng: Random, shares: dict[str, float]) -> str:
    """A random key, with its share as probability."""
    point = rng.random() * sum(shares.values())
    for name, share in shares.items():
        point -= share
        if point < 0:
            return name
    return next(iter(shares))


def _mix(*numbers: int) -> int:
    """64 pseudo-random bits from some integers, the same on every machine."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = ((state ^ number) * 0xBF58476D1CE4E5B9) & _MASK
        state ^= state >> 29
    state = (state * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 32)


@dataclass(frozen=True, slots=True)
class _Thread:
    """The common properties of the messages of a thread."""

    kind: str
    subject: str
    language: int
    others: tuple[Person, ...]
    mailing_list: tuple[str, str] | None
    user_labels: tuple[str, ...]
    trashed: bool
    starred: bool
    draft_reply: bool


class MailboxOutline:
    """All threads of one generated mailbox.

    Args:
        seed: Determines everything.
        owner: The owner of the mailbox.
        messages: Number of messages.
        end_ms: The date of the newest message.
        scale: Factor of the length of texts.
        label_ids: User labels for threads, the most used first.
    """

    def __init__(
        self, seed: int, owner: Person, messages: int, *, end_ms: int, scale: float, label_ids: list[str]
    ) -> None:
        self._seed = seed
        self.owner = owner
        self._end_ms = end_ms
        self._scale = scale
        self._label_ids = label_ids
        self._kinds = bytearray()
        self._sizes = bytearray()
        self._thread = lru_cache(maxsize=2048)(self._draw_thread)
        self._composed: tuple[int, int, MimePart] | None = None
        self._order = self._draw_order(messages)

    def _draw_order(self, messages: int) -> list[int]:
        """One integer per message, sorted: milliseconds, thread (32 bits), position in the thread (8 bits)."""
        rng = Random(_mix(self._seed, 1))  # noqa: S311
        order: list[int] = []
        thread = 0
        while len(order) < messages:
            size = 1
            if rng.random() >= _SINGLES:
                size = min(_LARGEST_THREAD, 1 + int((1 - rng.random()) ** (-1 / 1.45)))
            size = min(size, messages - len(order))
            shares = _SINGLE if size == 1 else _SHORT if size <= 10 else _LONG
            self._kinds.append(_KIND_NUMBERS[weighted(rng, shares)])
            self._sizes.append(size)
            moment = self._end_ms - int(_YEARS_MS * rng.random() ** 1.5) - size * 1000
            for position in range(size):
                order.append(moment << 40 | thread << 8 | position)
                # Replies come within minutes or days; in a long thread they leave time for the rest of it.
                left = size - position - 1
                room = self._end_ms - moment
                gap = min(int(math.exp(rng.random() * 9 + 5) * 1000), int(room * rng.random() / (left + 1)))
                moment = min(moment + max(1000, gap), self._end_ms - left * 1000)
            thread += 1
        order.sort()
        return order

    def __iter__(self) -> Iterator[SeededMessage]:
        """All messages, oldest first."""
        for packed in self._order:
            yield self._seeded(packed >> 8 & 0xFFFFFFFF, packed & 0xFF, packed >> 40)

    def _draw_thread(self, number: int) -> _Thread:
        rng = Random(_mix(self._seed, 2, number))  # noqa: S311
        kind = _KINDS[self._kinds[number]]
        mailing_list = None
        if kind in ("newsletter", "notification", "receipt"):
            name, address = SENDERS[int(rng.random() * len(SENDERS))]
            others: tuple[Person, ...] = (Person(name, address, 0),)
            language = pick_language(rng)
        elif kind == "bounce":
            others = (Person("Mail Delivery Subsystem", "mailer-daemon@gmail.test", 0),)
            language = 0
        else:
            count = 1 + int(rng.random() ** 2 * (8 if kind == "list" else 4))
            # A few people write most mail.
            others = tuple(
                dict.fromkeys(
                    person(_mix(self._seed, 3) % 1_000_000 + int(_CORRESPONDENTS * rng.random() ** 2))
                    for _ in range(count)
                )
            )
            language = others[0].language
            if kind == "list":
                mailing_list = LISTS[int(rng.random() * len(LISTS))]
        subjects = LANGUAGES[language].subjects
        subject = subjects[int(rng.random() * len(subjects))]
        shape = rng.random()
        if shape < 0.3:
            subject = f"{subject} {int(rng.random() * 9000) + 1000}"
        elif shape < 0.34:
            subject = f"🎉 {subject}"
        labels: tuple[str, ...] = ()
        if self._label_ids and rng.random() < 0.3:
            first = int(len(self._label_ids) * rng.random() ** 2)
            labels = (self._label_ids[first],)
            if rng.random() < 0.15:
                labels += (self._label_ids[(first + 3) % len(self._label_ids)],)
        return _Thread(
            kind=kind,
            subject=subject,
            language=language,
            others=others,
            mailing_list=mailing_list,
            user_labels=tuple(dict.fromkeys(labels)),
            trashed=rng.random() < 0.03,
            starred=rng.random() < 0.04,
            draft_reply=kind in _CONVERSATIONS and rng.random() < 0.03,
        )

    def _is_draft(self, thread: _Thread, number: int, position: int) -> bool:
        if thread.kind == "draft":
            return True
        return thread.draft_reply and position > 0 and position == self._sizes[number] - 1

    def _is_sent(self, thread: _Thread, number: int, position: int) -> bool:
        """Whether the owner wrote it (drafts included)."""
        if thread.kind in ("newsletter", "notification", "receipt", "bounce", "spam"):
            return False
        if self._is_draft(thread, number, position):
            return True
        share = 2 if thread.kind == "list" else 7
        return _mix(self._seed, 4, number, position) % 20 < (share if position else share // 2)

    def _seeded(self, number: int, position: int, moment: int) -> SeededMessage:
        thread = self._thread(number)
        draft = self._is_draft(thread, number, position)
        chat = self.is_chat(number)
        labels = self._labels(thread, number, position, moment, draft=draft)
        bits = _mix(self._seed, 5, number)
        # Google accepts a message shortly after it was sent.
        delay = 0 if draft or "SENT" in labels else 1000 + bits % 2000
        content = GeneratedContent(self, number, position, (moment - delay) // 1000)
        classification: tuple[dict[str, Any], ...] = ()
        if thread.kind == "work" and bits % 100 < 5 and not draft:
            fields = [{"fieldId": "sensitivity", "selection": ("internal", "secret")[bits >> 8 & 1]}]
            classification = ({"labelId": "confidentiality", "fields": fields},)
        return SeededMessage(content, number, labels, moment, draft, chat, classification)

    def _labels(
        self, thread: _Thread, number: int, position: int, moment: int, *, draft: bool
    ) -> tuple[str, ...]:
        if thread.kind == "chat":
            return ("CHAT",)
        bits = _mix(self._seed, 6, number, position)
        if draft:
            return (*thread.user_labels, "DRAFT")
        if thread.kind == "spam":
            return ("SPAM", "UNREAD") if bits % 4 else ("SPAM",)
        labels = list(thread.user_labels)
        if self._is_sent(thread, number, position):
            labels.append("SENT")
        else:
            age = self._end_ms - moment
            if bits % 100 < (60 if age < _RECENT_MS else 12):
                labels.append("UNREAD")
            if (bits >> 8) % 100 < (90 if age < _RECENT_MS else 45):
                labels.append("INBOX")
            social = thread.others[0].address == SOCIAL_SENDER
            labels.append("CATEGORY_SOCIAL" if social else _CATEGORIES.get(thread.kind, "CATEGORY_PERSONAL"))
        if thread.kind in _CONVERSATIONS and (bits >> 16) % 100 < 50:
            labels.append("IMPORTANT")
        if thread.starred and position == 0:
            labels.append("STARRED")
        # Whole threads are in the trash, and sometimes a single message of a thread.
        if thread.trashed or (bits >> 24) % 100 < 1:
            labels = [label for label in labels if label != "INBOX"] + ["TRASH"]
        return tuple(labels)

    def is_chat(self, number: int) -> bool:
        """Whether a thread is a chat."""
        return self._kinds[number] == _KIND_NUMBERS["chat"]

    def message_id(self, number: int, position: int) -> str:
        """The Message-ID of a message; "" for a chat."""
        if self.is_chat(number):
            return ""
        drawn = _mix(self._seed, 7, number, position)
        return f"<{drawn:016x}.{number:x}.{position:x}@mail{number % 7}.example.com>"

    def references(self, number: int, position: int) -> tuple[str, ...]:
        """The References of a message: earlier messages of its thread; in a long thread the first and last ones."""
        if position == 0 or self._thread(number).kind in ("chat", "draft"):
            return ()
        latest = range(max(1, position - _MOST_REFERENCES), position)
        return tuple(self.message_id(number, earlier) for earlier in (0, *latest))

    def subject(self, number: int, position: int) -> str:
        """The decoded Subject of a message."""
        thread = self._thread(number)
        if thread.kind == "chat":
            return ""
        return f"Re: {thread.subject}" if self.references(number, position) else thread.subject

    def compose(self, number: int, position: int, seconds: int) -> MimePart:
        """The message with all headers and parts; the last one is cached."""
        last = self._composed
        if last is not None and last[0] == number and last[1] == position:
            return last[2]
        root = compose(self._spec(number, position, seconds))
        self._composed = (number, position, root)
        return root

    def _spec(self, number: int, position: int, seconds: int) -> MessageSpec:
        thread = self._thread(number)
        rng = Random(_mix(self._seed, 9, number, position))  # noqa: S311
        sent = self._is_sent(thread, number, position)
        draft = self._is_draft(thread, number, position)
        others = thread.others
        to: tuple[Person, ...]
        if sent:
            author, to, cc = self.owner, others[:2], others[2:]
            if thread.kind == "draft" and rng.random() < 0.3:
                to, cc = (), ()
        else:
            author = others[_mix(self._seed, 10, number, position) % len(others)]
            rest = tuple(other for other in others if other is not author)
            to, cc = (self.owner, *rest[:1]), rest[1:]
        if thread.mailing_list:
            name, list_id = thread.mailing_list
            to, cc = (Person(name, list_id.replace(".", "@", 1), 0),), cc[:1]
        style = {"spam": "notification", "draft": "personal"}.get(thread.kind, thread.kind)
        return MessageSpec(
            style=style,
            rng=rng,
            owner=self.owner,
            author=author,
            to=to,
            cc=cc,
            subject=thread.subject,
            language=thread.language,
            message_id=self.message_id(number, position),
            references=self.references(number, position),
            seconds=seconds,
            incoming=not sent,
            draft=draft,
            scale=self._scale,
            mailing_list=thread.mailing_list if not sent else None,
        )


class GeneratedContent(ParsedContent):
    """A generated message: three numbers and the outline they belong to."""

    __slots__ = ("_number", "_plan", "_position", "_seconds")

    def __init__(self, plan: MailboxOutline, number: int, position: int, seconds: int) -> None:
        self._plan = plan
        self._number = number
        self._position = position
        self._seconds = seconds

    def node(self) -> MimePart:
        """The message."""
        return self._plan.compose(self._number, self._position, self._seconds)

    def raw(self) -> bytes:
        """The RFC 822 bytes; b"" for a chat."""
        return b"" if self._plan.is_chat(self._number) else self.node().raw()

    def summary(self) -> MessageSummary:
        """The summary of the message."""
        root = self.node()
        return summary_of(root, root.raw_size())

    @property
    def size(self) -> int:
        """Bytes of the message, counted without building it."""
        return self.node().raw_size()

    @property
    def date_ms(self) -> int:
        """The Date header in epoch milliseconds; 0 for a chat."""
        return 0 if self._plan.is_chat(self._number) else self._seconds * 1000

    @property
    def message_id(self) -> str:
        """The Message-ID with its brackets; "" for a chat."""
        return self._plan.message_id(self._number, self._position)

    @property
    def references(self) -> tuple[str, ...]:
        """Message-IDs of the messages before it in its thread."""
        return self._plan.references(self._number, self._position)

    @property
    def subject(self) -> str:
        """The decoded Subject."""
        return self._plan.subject(self._number, self._position)
