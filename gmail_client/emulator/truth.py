"""The rows that each of the ten tables must have: `truth_of`, computed from the mailbox without the API's handlers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gmail_client.emulator.mailbox.listing import ListingFilter
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import MessageFormat, Renderer
from gmail_client.emulator.mailbox.settings import SETTINGS_PARTS

__all__ = ["TRUTH_TABLES", "truth_of"]

Row = dict[str, Any]

TRUTH_TABLES = (
    "messages",
    "threads",
    "labels",
    "drafts",
    "profile",
    "settings",
    "filters",
    "forwarding_addresses",
    "send_as",
    "delegates",
)


def truth_of(
    mailbox: EmulatedMailbox,
    renderer: Renderer,
    table: str,
    *,
    q: str | None = None,
    label_ids: Sequence[str] = (),
    include_spam_trash: bool = False,
    format: MessageFormat = "full",
) -> list[Row]:
    """The rows of a table as API JSON objects.

    Messages, threads and drafts are full resources (in `format`), sorted by id. A thread is in its table when one of
    its messages matches, with all its messages but those in spam and trash, unless these are included. `settings` is
    one row of emailAddress and the five parts. The filters apply to messages, threads and drafts only.

    Raises:
        ValueError: There is no such table.
    """
    if table not in TRUTH_TABLES:
        raise ValueError(f"no table {table!r}; there are {', '.join(TRUTH_TABLES)}")
    with mailbox.lock:
        if table in ("messages", "threads", "drafts"):
            matching = mailbox.listing_filter(q, label_ids, include_spam_trash)
            return _mail(mailbox, renderer, table, matching, include_spam_trash, format)
        if table == "labels":
            return [mailbox.label(label_id) for label_id in sorted(mailbox.labels.labels)]
        if table == "profile":
            return [mailbox.profile()]
        settings = mailbox.settings
        if table == "settings":
            return [
                {"emailAddress": mailbox.address, **{part: settings.parts[part] for part in SETTINGS_PARTS}}
            ]
        entries: dict[str, Row] = getattr(settings, table)
        return [dict(entries[key]) for key in sorted(entries)]


def _mail(
    mailbox: EmulatedMailbox,
    renderer: Renderer,
    table: str,
    matching: ListingFilter,
    include_spam_trash: bool,
    format: MessageFormat,
) -> list[Row]:
    store = mailbox.store
    if table == "messages":
        texts = [
            renderer.message(message, format)
            for _, message in sorted(store.messages.items())
            if matching.message(message)
        ]
    elif table == "drafts":
        texts = [
            renderer.draft(message, format)
            for _, message in sorted(store.drafts.items())
            if matching.message(message)
        ]
    else:
        texts = []
        for _, thread in sorted(store.threads.items()):
            if not matching.thread(thread):
                continue
            members = [member for member in thread.members if include_spam_trash or not member.hidden]
            texts.append(renderer.thread_of(thread, members, format, snippet=True))
    return [json.loads(text) for text in texts]
