"""What `conformance` creates in a throw-away mailbox, and how it is removed: `seed`, `change`, `clean_up`.

Everything is found again by the name of a label, even after a kill: every message has the label, except one, which has
a Message-ID with the same random token; drafts have a special subject. The label is removed last.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import quote

from gmail_client.conformance.evidence import Evidence, items
from gmail_client.errors import RequestError, ScopeError
from gmail_client.http.exchange import Exchange, Reply

__all__ = ["MESSAGES", "CleanedUp", "Seeded", "change", "clean_up", "seed", "wait_until_listed"]

PREFIX = "gmail-assets-conformance"
"""Beginning of the name of the label; `/` and the token of the run follow."""

DOMAIN = "gmail-assets.invalid"
DRAFT_SUBJECT = "A draft of gmail-assets conformance"
MESSAGES = 30
"""Messages that `seed` creates; one more is a draft."""

_LABEL = re.compile(f"{PREFIX}/[0-9a-f]{{8}}")
"""Other labels that begin like this one are the user's own."""
_POLLS = 12
_POLL_SECONDS = 5.0
_UNITS = {
    "drafts.create": 10,
    "drafts.delete": 10,
    "drafts.update": 15,
    "labels.create": 5,
    "labels.delete": 5,
    "labels.patch": 5,
    "messages.batchDelete": 50,
    "messages.batchModify": 50,
    "messages.insert": 25,
    "messages.modify": 5,
    "messages.trash": 5,
    "messages.untrash": 5,
}


@dataclass
class Seeded:
    """What a run created.

    Attributes:
        token: The random token in the label's name and in every Message-ID.
        label_id: The label.
        messages: Ids of the messages, in the order of their creation.
        draft_id: The draft.
        evidence: The responses to some writes, for the probes of `probes/writes.py`.
    """

    token: str = field(default_factory=lambda: secrets.token_hex(4))
    label_id: str = ""
    messages: list[str] = field(default_factory=list)
    draft_id: str = ""
    evidence: Evidence = field(default_factory=Evidence)


@dataclass
class CleanedUp:
    """What `clean_up` removed.

    Attributes:
        labels: Labels of this command, of this run and of earlier ones.
        deleted: Permanently deleted messages, including drafts.
        trashed: Messages that are in the trash, because the scope does not allow deleting them.
    """

    labels: int = 0
    deleted: int = 0
    trashed: int = 0


def seed(exchange: Exchange, made: Seeded | None = None) -> Seeded:
    """Create a label, 30 messages and a draft, and change some of them.

    Args:
        exchange: Sends the requests.
        made: Receives what is created, so that it is known even after a failure.

    Raises:
        GmailError: A write was refused; `clean_up` can remove what was created so far.
    """
    made = made or Seeded()
    reply = _write(exchange, "labels.create", "POST", "/labels", {"name": f"{PREFIX}/{made.token}"})
    made.label_id = _id(reply)
    _make_thread(exchange, made)
    for number in range(4, MESSAGES - 1):
        labels = ["INBOX", "UNREAD"] if number % 2 else ["INBOX"]
        _insert(exchange, made, _plain(made, number), [*labels, made.label_id])
    _insert(exchange, made, _plain(made, MESSAGES - 1), ["SPAM", made.label_id])
    _label_changes(exchange, made)
    _draft(exchange, made)
    return made


def _make_thread(exchange: Exchange, made: Seeded) -> None:
    """A message that stays as it is, then a thread of three whose last message goes to the trash."""
    _insert(exchange, made, _plain(made, 0), ["INBOX", made.label_id])
    for number in (1, 2, 3):
        thread_id = made.evidence.replies["inserted"][1].json if number > 1 else None
        _insert(
            exchange,
            made,
            _alternative(made, number),
            ["INBOX", made.label_id],
            thread_id=str(thread_id["threadId"]) if thread_id else None,
        )
    _keep(made, "trashed", _modify(exchange, made.messages[3], "trash"))


def _label_changes(exchange: Exchange, made: Seeded) -> None:
    for message_id in made.messages[6:12]:
        _modify(exchange, message_id, "modify", {"addLabelIds": ["STARRED"]})
    before = exchange.get("getProfile", "/profile")
    _write(
        exchange,
        "messages.batchModify",
        "POST",
        "/messages/batchModify",
        {"ids": made.messages[12:18], "addLabelIds": ["IMPORTANT"]},
    )
    start = (before.json or {}).get("historyId")
    _keep(made, "after batch change", exchange.get("history.list", "/history", {"startHistoryId": start}))
    for message_id in made.messages[18:21]:
        _modify(exchange, message_id, "modify", {"removeLabelIds": ["INBOX"]})
    # From here on, this message has no labels: its Message-ID has the token.
    unlabelled = ["INBOX", "UNREAD", made.label_id]
    _modify(exchange, made.messages[21], "modify", {"removeLabelIds": unlabelled})
    _modify(exchange, made.messages[22], "trash")
    _keep(made, "untrashed", _modify(exchange, made.messages[22], "untrash"))


def _draft(exchange: Exchange, made: Seeded) -> None:
    raw = {"message": {"raw": _encoded(_draft_mail(made, "first"))}}
    created = _keep(made, "draft created", _write(exchange, "drafts.create", "POST", "/drafts", raw))
    made.draft_id = _id(created)
    path = f"/drafts/{quote(made.draft_id, safe='')}"
    raw = {"message": {"raw": _encoded(_draft_mail(made, "second"))}}
    _keep(made, "draft updated", _write(exchange, "drafts.update", "PUT", path, raw))


def change(exchange: Exchange, made: Seeded) -> None:
    """Change the mailbox as its owner might: a reply, label changes, the trash, a replaced draft.

    Raises:
        GmailError: A write was refused.
    """
    thread_id = str((made.evidence.replies["inserted"][1].json or {}).get("threadId"))
    _insert(exchange, made, _alternative(made, MESSAGES), ["INBOX", made.label_id], thread_id=thread_id)
    _modify(exchange, made.messages[5], "trash")
    _modify(exchange, made.messages[7], "modify", {"addLabelIds": ["UNREAD"], "removeLabelIds": ["STARRED"]})
    _modify(exchange, made.messages[8], "modify", {"removeLabelIds": ["INBOX"]})
    _write(exchange, "drafts.delete", "DELETE", f"/drafts/{quote(made.draft_id, safe='')}")
    raw = {"message": {"raw": _encoded(_draft_mail(made, "third"))}}
    _write(exchange, "drafts.create", "POST", "/drafts", raw)
    path = f"/labels/{quote(made.label_id, safe='')}"
    before = exchange.get("getProfile", "/profile")
    _write(exchange, "labels.patch", "PATCH", path, {"messageListVisibility": "hide"})
    start = (before.json or {}).get("historyId")
    _keep(made, "after label change", exchange.get("history.list", "/history", {"startHistoryId": start}))


def wait_until_listed(exchange: Exchange, made: Seeded, sleep: Any) -> bool:
    """Wait until a listing by the label contains all messages that have it: Gmail's index may lag.

    Args:
        exchange: Sends the requests.
        made: What was created.
        sleep: Waits for a number of seconds.

    Returns:
        Whether it contains them within a minute.
    """
    expected = len(made.messages) - 1
    for _ in range(_POLLS):
        if len(list(_labelled(exchange, made.label_id))) >= expected:
            return True
        sleep(_POLL_SECONDS)
    return False


def clean_up(exchange: Exchange, made: Seeded | None = None) -> CleanedUp:
    """Remove what this command created, in this run and in earlier ones that were killed.

    Only what has a label of this command, its Message-ID or the draft's subject is removed.

    Args:
        exchange: Sends the requests.
        made: What this run created: it is removed even if Gmail's index does not find it yet.

    Raises:
        GmailError: A request was refused; the label stays, so that the next call can continue.
    """
    done = CleanedUp()
    page = exchange.get("labels.list", "/labels").json or {}
    labels = [label for label in items(page, "labels") if _LABEL.fullmatch(str(label.get("name")))]
    if labels:
        _remove_drafts(exchange, done)
    for label in labels:
        token = str(label["name"]).partition("/")[2]
        ids = {*_labelled(exchange, str(label["id"])), *_with_message_id(exchange, _message_id(token, 21))}
        if made is not None and made.token == token:
            ids.update(made.messages)
        if ids:
            _remove(exchange, sorted(ids), done)
        _write(exchange, "labels.delete", "DELETE", f"/labels/{quote(str(label['id']), safe='')}")
        done.labels += 1
    return done


def _remove(exchange: Exchange, ids: Sequence[str], done: CleanedUp) -> None:
    """Delete messages permanently, or move them to the trash if the scope does not allow that."""
    try:
        _write(exchange, "messages.batchDelete", "POST", "/messages/batchDelete", {"ids": list(ids)})
        done.deleted += len(ids)
    except ScopeError:
        body = {"ids": list(ids), "addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX", "SPAM"]}
        _write(exchange, "messages.batchModify", "POST", "/messages/batchModify", body)
        done.trashed += len(ids)


def _remove_drafts(exchange: Exchange, done: CleanedUp) -> None:
    # Including the newest ones: the index of a search may lag.
    searches: list[dict[str, Any]] = [
        {"maxResults": 500, "q": f'subject:"{DRAFT_SUBJECT}"'},
        {"maxResults": 5},
    ]
    found = [
        str(draft["id"])
        for params in searches
        for draft in items(exchange.get("drafts.list", "/drafts", params).json or {}, "drafts")
    ]
    for draft_id in dict.fromkeys(found):
        path = f"/drafts/{quote(draft_id, safe='')}"
        message = (exchange.get("drafts.get", path, {"format": "metadata"}).json or {}).get("message") or {}
        if _header_values(message, "subject") == [DRAFT_SUBJECT]:
            _write(exchange, "drafts.delete", "DELETE", path)
            done.deleted += 1


def _labelled(exchange: Exchange, label_id: str) -> Iterator[str]:
    yield from _listed(exchange, {"labelIds": [label_id]})


def _with_message_id(exchange: Exchange, message_id: str) -> Iterator[str]:
    # Each message is verified, because a deletion is final and a search is not exact by contract.
    for found in _listed(exchange, {"q": f"rfc822msgid:{message_id}"}):
        path = f"/messages/{quote(found, safe='')}"
        message = exchange.get("messages.get", path, {"format": "metadata"}).json or {}
        if _header_values(message, "message-id") == [f"<{message_id}>"]:
            yield found


def _header_values(message: dict[str, Any], name: str) -> list[Any]:
    headers = items(message.get("payload") or {}, "headers")
    return [header.get("value") for header in headers if str(header.get("name")).lower() == name]


def _listed(exchange: Exchange, params: dict[str, Any]) -> Iterator[str]:
    token: str | None = None
    while True:
        reply = exchange.get(
            "messages.list",
            "/messages",
            {**params, "includeSpamTrash": True, "maxResults": 500, "pageToken": token},
        )
        if reply.error is not None:
            raise reply.error
        page = reply.json or {}
        yield from (str(message["id"]) for message in items(page, "messages"))
        token = page.get("nextPageToken")
        if not token:
            return


def _insert(
    exchange: Exchange, made: Seeded, mail: bytes, labels: Sequence[str], thread_id: str | None = None
) -> None:
    body: dict[str, Any] = {"raw": _encoded(mail), "labelIds": list(labels)}
    if thread_id is not None:
        body["threadId"] = thread_id
    reply = _keep(made, "inserted", _write(exchange, "messages.insert", "POST", "/messages", body))
    made.messages.append(_id(reply))


def _modify(exchange: Exchange, message_id: str, what: str, body: dict[str, Any] | None = None) -> Reply:
    path = f"/messages/{quote(message_id, safe='')}/{what}"
    return _write(exchange, f"messages.{what}", "POST", path, body)


def _write(
    exchange: Exchange, method: str, verb: str, path: str, body: dict[str, Any] | None = None
) -> Reply:
    reply = exchange.write(method, verb, path, body, units=_UNITS[method])
    if isinstance(reply.error, ScopeError):
        raise ScopeError(
            f"{method}: the login may not change the mailbox.",
            fix="Log in with `gmail-assets login --scope modify`, with a throw-away account.",
            status=reply.error.status,
            reason=reply.error.reason,
            method=method,
        )
    if reply.error is not None:
        raise reply.error
    return reply


def _keep(made: Seeded, name: str, reply: Reply) -> Reply:
    made.evidence.replies.setdefault(name, []).append(reply)
    return reply


def _id(reply: Reply) -> str:
    found = (reply.json or {}).get("id")
    if not isinstance(found, str) or not found:
        raise RequestError(
            f"{reply.name}: the response has no id.", fix="Check GMAIL_API_ROOT: is it a Gmail server?"
        )
    return found


def _encoded(mail: bytes) -> str:
    return urlsafe_b64encode(mail).decode()


def _message_id(token: str, number: int) -> str:
    return f"{token}.{number}@{DOMAIN}"


def _mail(made: Seeded, number: int, subject: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Conformance <conformance@{DOMAIN}>"
    mail["To"] = f"Somebody <somebody@{DOMAIN}>"
    mail["Subject"] = subject
    mail["Date"] = "Thu, 01 Oct 2026 10:00:00 +0000"
    mail["Message-ID"] = f"<{_message_id(made.token, number)}>"
    return mail


def _plain(made: Seeded, number: int) -> bytes:
    mail = _mail(made, number, f"Message {number} of gmail-assets conformance {made.token}")
    mail.set_content(f"This is message {number}.\n")
    return mail.as_bytes()


def _alternative(made: Seeded, number: int) -> bytes:
    """A message with a plain and an HTML text that differ, an attachment, and header lines that are folded."""
    subject = "A subject of gmail-assets conformance that is longer than the 78 columns of a line"
    mail = _mail(made, number, f"{subject} {made.token}")
    mail["X-Twice"] = "first"
    mail["X-Twice"] = "second"
    if number > 1:
        mail["In-Reply-To"] = f"<{_message_id(made.token, 1)}>"
        mail["References"] = f"<{_message_id(made.token, 1)}>"
    words = " ".join(f"lengthy{count}" for count in range(60))
    mail.set_content(f"The plain text, also with ä, ö and €: {words}")
    mail.add_alternative(f"<p>The HTML text: {words}</p>", subtype="html")
    mail.add_attachment(b"12345", maintype="application", subtype="pdf", filename="report.pdf")
    return mail.as_bytes()


def _draft_mail(made: Seeded, text: str) -> bytes:
    mail = _mail(made, MESSAGES + 1, DRAFT_SUBJECT)
    mail.set_content(f"The {text} text.\n")
    return mail.as_bytes()
