"""A realistic mailbox from a seed (`seeded_mailbox`), and new mail of the same kinds (`random_mail`)."""

from __future__ import annotations

from random import Random

from gmail_client.emulator.generate import initial_settings
from gmail_client.emulator.generate.languages import LANGUAGES
from gmail_client.emulator.generate.message_spec import STYLES, MessageSpec
from gmail_client.emulator.generate.mime_structures import compose
from gmail_client.emulator.generate.outline import MailboxOutline
from gmail_client.emulator.generate.people import LISTS, Person, mailbox_owner, person, pick_language
from gmail_client.emulator.generate.seeded import SeededMailbox
from gmail_client.emulator.mail.content import MessageContent

__all__ = ["END_MS", "GENERATOR_VERSION", "random_mail", "seeded_mailbox"]

GENERATOR_VERSION = 2
"""Increased when a seed gives a different mailbox than before, because a journal is only valid for its mailbox."""

END_MS = 1_795_000_000_000
"""The default date of the newest message: 18 November 2026."""

# Mean kilobytes of JSON per message (measured): the fixed part, and the texts at scale 1.
_FIXED_KB = 7.0
_TEXT_KB = 8.0


def seeded_mailbox(
    seed: int, index: int, messages: int, *, mean_json_kb: float = 15.0, end_ms: int = END_MS
) -> SeededMailbox:
    """The mailbox number `index` of a seed.

    Args:
        seed: Any integer; the same seed gives the same mailboxes.
        index: Number of the mailbox, from 0.
        messages: How many messages it holds.
        mean_json_kb: About how many kilobytes of API JSON (format=full) a message has on average. Headers alone
            are about 7; with a few hundred, mail is mostly text.
        end_ms: The date of the newest message, epoch milliseconds; the mailbox holds the six years before it.
    """
    if messages < 0:
        raise ValueError(f"messages must be 0 or more, not {messages}")
    owner = mailbox_owner(index)
    own_seed = seed * 1_000_003 + index
    rng = Random(own_seed)  # noqa: S311
    labels = initial_settings.user_labels(rng)
    plan = MailboxOutline(
        own_seed,
        owner,
        messages,
        end_ms=end_ms,
        scale=max(0.02, (mean_json_kb - _FIXED_KB) / _TEXT_KB),
        label_ids=[label["id"] for label in labels],
    )
    return SeededMailbox(
        address=owner.address,
        messages=messages,
        seed=own_seed,
        source=lambda: iter(plan),
        labels=labels,
        settings=initial_settings.settings(rng, owner, end_ms),
        filters=initial_settings.filters(rng, labels),
        send_as=initial_settings.send_as(rng, owner),
        forwarding_addresses=initial_settings.forwarding_addresses(rng),
        delegates=initial_settings.delegates(rng),
        history_start=100_000 + int(rng.random() * 800_000),
    )


def random_mail(
    rng: Random,
    address: str,
    *,
    reply_to: MessageContent | None = None,
    style: str | None = None,
    seconds: int = END_MS // 1000,
    sent: bool = False,
    mean_json_kb: float = 15.0,
) -> bytes:
    """New mail as RFC 822 bytes, with the headers of a message that has just been delivered.

    Args:
        rng: Determines everything that is not given.
        address: The recipient's mailbox.
        reply_to: The message that it replies to: sets the subject, In-Reply-To and References.
        style: One of `message_spec.STYLES` but "chat"; random by default.
        seconds: The Date header, epoch seconds.
        sent: Whether the owner of the mailbox writes it to somebody else.
        mean_json_kb: As in `seeded_mailbox`.
    """
    if style is None:
        style = STYLES[int(rng.random() * (len(STYLES) - 1))]
    owner = Person("", address, 0)
    other = person(int(rng.random() * 1_000_000))
    language = pick_language(rng)
    subjects = LANGUAGES[language].subjects
    subject = f"{subjects[int(rng.random() * len(subjects))]} {int(rng.random() * 100_000)}"
    references: tuple[str, ...] = ()
    if reply_to is not None:
        subject = reply_to.subject.removeprefix("Re: ")
        references = (*reply_to.references, *([reply_to.message_id] if reply_to.message_id else []))
    spec = MessageSpec(
        style=style,
        rng=rng,
        owner=owner,
        author=owner if sent else other,
        to=(other,) if sent else (owner,),
        cc=(person(int(rng.random() * 1_000_000)),) if rng.random() < 0.3 else (),
        subject=subject,
        language=language,
        message_id=f"<{int(rng.random() * 2**53):014x}.{int(rng.random() * 2**32):08x}@mail.example.com>",
        references=references,
        seconds=seconds,
        incoming=not sent,
        scale=max(0.02, (mean_json_kb - _FIXED_KB) / _TEXT_KB),
        mailing_list=LISTS[int(rng.random() * len(LISTS))] if style == "list" else None,
    )
    return compose(spec).raw()
