"""Labels, settings, filters, aliases, forwarding addresses and delegates of a generated mailbox."""

from __future__ import annotations

from random import Random
from typing import Any

from gmail_client.emulator.generate.people import SENDERS, Person, person

__all__ = ["delegates", "filters", "forwarding_addresses", "send_as", "settings", "user_labels"]

_NAMES = (
    "Work",
    "Work/Clients",
    "Work/Clients/Aurora",
    "Work/Clients/Boréal",
    "Work/Reports",
    "Family",
    "Travel",
    "Travel/2025 Lisbon",
    "Receipts",
    "Newsletters",
    "Choir & theatre",
    "Données",
    "项目",
    "To read",
    "🏡 House",
)
_COLORS = (
    ("#ffffff", "#fb4c2f"),
    ("#000000", "#ffad47"),
    ("#ffffff", "#16a766"),
    ("#ffffff", "#4a86e8"),
    ("#000000", "#f691b3"),
    ("#094228", "#b9e4d0"),
)


def user_labels(rng: Random) -> list[dict[str, Any]]:
    """User labels as Label resources: nested, hidden and colored ones, with short and long ids."""
    labels = []
    for number, name in enumerate(_NAMES, start=1):
        # Old labels have a small number in their id, newer ones a long one.
        label_id = f"Label_{number}" if number <= 9 else f"Label_{int(rng.random() * 9e18) + 10**18}"
        label: dict[str, Any] = {
            "id": label_id,
            "name": name,
            "type": "user",
            "messageListVisibility": "hide" if name == "Newsletters" else "show",
            "labelListVisibility": ("labelShow", "labelShow", "labelShowIfUnread", "labelHide")[number % 4],
        }
        if rng.random() < 0.6:
            text, background = _COLORS[int(rng.random() * len(_COLORS))]
            label["color"] = {"textColor": text, "backgroundColor": background}
        labels.append(label)
    return labels


def settings(rng: Random, owner: Person, end_ms: int) -> dict[str, dict[str, Any]]:
    """The five parts of the settings by name: autoForwarding, imap, pop, language, vacation."""
    forwards = rng.random() < 0.4
    away = rng.random() < 0.5
    vacation: dict[str, Any] = {
        "enableAutoReply": away,
        "restrictToContacts": False,
        "restrictToDomain": False,
    }
    if away:
        vacation |= {
            "responseSubject": "Away until Monday",
            "responseBodyPlainText": f"I am away until Monday.\n{owner.name}\n",
            "responseBodyHtml": f"<div>I am away until <b>Monday</b>.<br>{owner.name}</div>",
            "startTime": str(end_ms - 2 * 86_400_000),
            "endTime": str(end_ms + 5 * 86_400_000),
        }
    return {
        "autoForwarding": {"enabled": True, "emailAddress": "archive@example.org", "disposition": "markRead"}
        if forwards
        else {"enabled": False},
        "imap": {
            "enabled": rng.random() < 0.8,
            "autoExpunge": rng.random() < 0.5,
            "expungeBehavior": "archive",
            "maxFolderSize": (0, 1000, 10_000)[int(rng.random() * 3)],
        },
        "pop": {
            "accessWindow": "fromNowOn" if rng.random() < 0.3 else "disabled",
            "disposition": "leaveInInbox",
        },
        "language": {"displayLanguage": ("en", "en-GB", "de", "ja")[int(rng.random() * 4)]},
        "vacation": vacation,
    }


def filters(rng: Random, labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Filter resources with criteria for senders, subjects, sizes and queries, that label, archive and trash mail."""
    by_name = {label["name"]: label["id"] for label in labels}
    made: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"from": SENDERS[0][1]}, {"addLabelIds": [by_name["Newsletters"]], "removeLabelIds": ["INBOX"]}),
        ({"from": SENDERS[2][1], "subject": "invoice"}, {"addLabelIds": [by_name["Receipts"], "IMPORTANT"]}),
        ({"query": "list:choir.lists.example.net"}, {"addLabelIds": [by_name["Choir & theatre"]]}),
        ({"to": "reports@example.com", "hasAttachment": True}, {"addLabelIds": [by_name["Work/Reports"]]}),
        ({"size": 10_485_760, "sizeComparison": "larger"}, {"addLabelIds": ["STARRED"]}),
        ({"subject": "winner", "negatedQuery": "from:example.com"}, {"addLabelIds": ["TRASH"]}),
        ({"from": SENDERS[7][1], "excludeChats": True}, {"removeLabelIds": ["UNREAD"]}),
    ]
    return [
        {"id": f"ANe1Bm{int(rng.random() * 16**12):012x}", "criteria": criteria, "action": action}
        for criteria, action in made
    ]


def send_as(rng: Random, owner: Person) -> list[dict[str, Any]]:
    """The primary address and two aliases, one of them pending verification."""
    local = owner.address.partition("@")[0]
    return [
        {
            "sendAsEmail": owner.address,
            "displayName": owner.name,
            "replyToAddress": "",
            "signature": f'<div dir="ltr">{owner.name}<br>+1 555 01{int(rng.random() * 90) + 10}</div>',
            "isPrimary": True,
            "isDefault": True,
        },
        {
            "sendAsEmail": f"{local}@work.example.com",
            "displayName": f"{owner.name} (Büro)",
            "replyToAddress": f"{local}@example.org",
            "signature": "",
            "treatAsAlias": True,
            "verificationStatus": "accepted",
        },
        {
            "sendAsEmail": f"info@{local.replace('.', '-')}.example.net",
            "displayName": "",
            "replyToAddress": "",
            "signature": "",
            "treatAsAlias": False,
            "verificationStatus": "pending",
            "smtpMsa": {"host": "smtp.example.net", "port": 587, "securityMode": "starttls"},
        },
    ]


def forwarding_addresses(rng: Random) -> list[dict[str, Any]]:
    """Two forwarding addresses, one of them pending confirmation."""
    return [
        {"forwardingEmail": "archive@example.org", "verificationStatus": "accepted"},
        {"forwardingEmail": person(int(rng.random() * 1000)).address, "verificationStatus": "pending"},
    ]


def delegates(rng: Random) -> list[dict[str, Any]]:
    """Two delegates, one of them pending."""
    return [
        {"delegateEmail": "assistant@work.example.com", "verificationStatus": "accepted"},
        {"delegateEmail": person(int(rng.random() * 1000)).address, "verificationStatus": "pending"},
    ]
