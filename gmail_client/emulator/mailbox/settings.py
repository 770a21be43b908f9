"""The settings of one mailbox: `SettingsStore`, with five parts, filters, aliases, forwarding addresses, delegates."""

from __future__ import annotations

from typing import Any

from gmail_client.emulator.api.errors import bad_argument, conflict, failed_precondition, not_found
from gmail_client.emulator.mailbox.labels import LabelStore

__all__ = ["SETTINGS_PARTS", "SettingsStore"]

SETTINGS_PARTS = ("autoForwarding", "imap", "pop", "language", "vacation")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "autoForwarding": {"enabled": False},
    "imap": {"enabled": True, "autoExpunge": True, "expungeBehavior": "archive", "maxFolderSize": 0},
    "pop": {"accessWindow": "disabled", "disposition": "leaveInInbox"},
    "language": {"displayLanguage": "en"},
    "vacation": {"enableAutoReply": False, "restrictToContacts": False, "restrictToDomain": False},
}
_FOLDER_SIZES = (0, 1000, 2000, 5000, 10000)
_CRITERIA = ("from", "to", "subject", "query", "negatedQuery", "hasAttachment", "excludeChats", "size")


class SettingsStore:
    """Everything below `settings/`, as API resources.

    Args:
        address: The mailbox's address, its primary send-as alias.
        labels: The mailbox's labels, which filters can name.
        parts: Some or all of autoForwarding, imap, pop, language, vacation.
        filters: Filter resources.
        send_as: Aliases; the primary one is added when it is missing.
        forwarding_addresses: Forwarding addresses.
        delegates: Delegates.
    """

    def __init__(
        self,
        address: str,
        labels: LabelStore,
        *,
        parts: dict[str, dict[str, Any]] | None = None,
        filters: list[dict[str, Any]] | None = None,
        send_as: list[dict[str, Any]] | None = None,
        forwarding_addresses: list[dict[str, Any]] | None = None,
        delegates: list[dict[str, Any]] | None = None,
    ) -> None:
        self.address = address
        self.labels = labels
        self.parts = {name: dict((parts or {}).get(name, _DEFAULTS[name])) for name in SETTINGS_PARTS}
        self.filters = {entry["id"]: entry for entry in filters or ()}
        self.send_as = {entry["sendAsEmail"]: entry for entry in send_as or ()}
        self.forwarding_addresses = {entry["forwardingEmail"]: entry for entry in forwarding_addresses or ()}
        self.delegates = {entry["delegateEmail"]: entry for entry in delegates or ()}
        if not any(entry.get("isPrimary") for entry in self.send_as.values()):
            primary = {
                "sendAsEmail": address,
                "displayName": "",
                "replyToAddress": "",
                "signature": "",
                "isPrimary": True,
                "isDefault": not any(entry.get("isDefault") for entry in self.send_as.values()),
            }
            self.send_as = {address: primary, **self.send_as}

    def rename(self, address: str) -> None:
        """Change the mailbox's address, and with it its primary send-as alias."""
        primary = {**self.send_as[self.address], "sendAsEmail": address}
        others = {
            email: entry for email, entry in self.send_as.items() if email not in (self.address, address)
        }
        self.send_as = {address: primary, **others}
        self.address = address

    def update(self, part: str, value: dict[str, Any]) -> dict[str, Any]:
        """Replace one of the five parts and return it.

        Raises:
            ApiError: 400 for a value that Gmail does not accept.
        """
        if part == "autoForwarding" and value.get("enabled"):
            target = self.forwarding_addresses.get(value.get("emailAddress", ""))
            if target is None or target["verificationStatus"] != "accepted":
                raise failed_precondition("Unrecognized forwarding address")
            if value.get("disposition", "dispositionUnspecified") == "dispositionUnspecified":
                raise bad_argument("Invalid disposition")
        if part == "imap" and value.get("maxFolderSize", 0) not in _FOLDER_SIZES:
            raise bad_argument(f"Invalid max folder size: {value['maxFolderSize']}")
        if part == "vacation":
            if value.get("enableAutoReply") and not any(
                value.get(key) for key in ("responseSubject", "responseBodyPlainText", "responseBodyHtml")
            ):
                raise bad_argument("Vacation responder needs a subject or a body")
            start, end = int(value.get("startTime", 0)), int(value.get("endTime", 0))
            if start and end and start >= end:
                raise bad_argument("Invalid vacation responder time range")
        if part == "language" and not value.get("displayLanguage"):
            raise bad_argument("Invalid display language")
        kept = {name: False for name, old in _DEFAULTS[part].items() if isinstance(old, bool)}
        self.parts[part] = {**kept, **value}
        return dict(self.parts[part])

    def create_filter(self, entry: dict[str, Any], filter_id: str) -> dict[str, Any]:
        """Add a filter under this id.

        Raises:
            ApiError: 400 for empty criteria or actions, unknown labels or an unverified forward; 409 for a duplicate.
        """
        criteria = entry.get("criteria") or {}
        action = entry.get("action") or {}
        if not any(criteria.get(key) for key in _CRITERIA):
            raise bad_argument("Filter criteria must not be empty")
        if not any(action.get(key) for key in ("addLabelIds", "removeLabelIds", "forward")):
            raise bad_argument("Filter action must not be empty")
        self.labels.require([*action.get("addLabelIds", ()), *action.get("removeLabelIds", ())])
        if action.get("forward"):
            target = self.forwarding_addresses.get(action["forward"])
            if target is None or target["verificationStatus"] != "accepted":
                raise failed_precondition("Unrecognized forwarding address")
        for present in self.filters.values():
            if present["criteria"] == criteria and present["action"] == action:
                raise conflict("Filter already exists")
        self.filters[filter_id] = {"id": filter_id, "criteria": criteria, "action": action}
        return self.filters[filter_id]

    def delete_filter(self, filter_id: str) -> None:
        """Remove a filter; 404."""
        self.one(self.filters, filter_id)
        del self.filters[filter_id]

    def create_forwarding_address(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Add a forwarding address: accepted immediately in the user's domain, else pending."""
        email = _email(entry.get("forwardingEmail"))
        if email in self.forwarding_addresses:
            raise conflict("Forwarding address already exists")
        made = {"forwardingEmail": email, "verificationStatus": self._verification(email)}
        self.forwarding_addresses[email] = made
        return made

    def delete_forwarding_address(self, email: str) -> None:
        """Remove a forwarding address, and auto-forwarding to it; 404."""
        self.one(self.forwarding_addresses, email)
        del self.forwarding_addresses[email]
        if self.parts["autoForwarding"].get("emailAddress") == email:
            self.parts["autoForwarding"] = {"enabled": False}

    def create_send_as(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Add an alias: accepted immediately in the user's domain, else pending."""
        email = _email(entry.get("sendAsEmail"))
        if email in self.send_as:
            raise conflict("Send-as alias already exists")
        made: dict[str, Any] = {
            "sendAsEmail": email,
            "displayName": "",
            "replyToAddress": "",
            "signature": "",
            "treatAsAlias": False,
            "verificationStatus": self._verification(email),
        }
        self.send_as[email] = made
        return self.change_send_as(email, entry, replace=False)

    def change_send_as(self, email: str, entry: dict[str, Any], *, replace: bool) -> dict[str, Any]:
        """Patch an alias, or replace all its writable fields; 404."""
        present = self.one(self.send_as, email)
        if entry.get("isDefault") is False and present.get("isDefault") and not replace:
            raise bad_argument("The default send-as alias can only be replaced by another")
        settable = ("displayName", "replyToAddress", "signature", "treatAsAlias")
        changed = dict(present)
        for key in settable:
            if key in entry:
                changed[key] = entry[key]
            elif replace and key in changed:
                changed[key] = False if key == "treatAsAlias" else ""
        if "smtpMsa" in entry:
            changed["smtpMsa"] = {
                key: value for key, value in entry["smtpMsa"].items() if key not in ("username", "password")
            }
        elif replace:
            changed.pop("smtpMsa", None)
        if entry.get("isDefault"):
            for other in self.send_as.values():
                other.pop("isDefault", None)
            changed["isDefault"] = True
        self.send_as[email] = changed
        return changed

    def delete_send_as(self, email: str) -> None:
        """Remove an alias; 404, 400 for the primary one. If it was the default, the primary one becomes the default."""
        present = self.one(self.send_as, email)
        if present.get("isPrimary"):
            raise bad_argument("Cannot delete the primary send-as alias")
        del self.send_as[email]
        if present.get("isDefault"):
            for other in self.send_as.values():
                if other.get("isPrimary"):
                    other["isDefault"] = True

    def verify_send_as(self, email: str) -> None:
        """Resend the verification mail; 404, 400 when no verification is pending."""
        if self.one(self.send_as, email).get("verificationStatus") != "pending":
            raise failed_precondition("Send-as alias is not pending verification")

    def create_delegate(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Add a delegate, accepted immediately; 409 for an existing one."""
        email = _email(entry.get("delegateEmail"))
        if email in self.delegates:
            raise conflict("Delegate already exists")
        self.delegates[email] = {"delegateEmail": email, "verificationStatus": "accepted"}
        return self.delegates[email]

    def delete_delegate(self, email: str) -> None:
        """Remove a delegate; 404."""
        self.one(self.delegates, email)
        del self.delegates[email]

    def one(self, entries: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        """The entry with this key, or 404."""
        if key not in entries:
            raise not_found()
        return entries[key]

    def _verification(self, email: str) -> str:
        same = email.rpartition("@")[2] == self.address.rpartition("@")[2]
        return "accepted" if same else "pending"


def _email(text: str | None) -> str:
    if not text or text.count("@") != 1 or not all(text.split("@")):
        raise bad_argument(f"Invalid email address: {text!r}")
    return text.lower()
