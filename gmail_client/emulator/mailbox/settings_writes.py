"""Writes to labels and settings: `SettingsWrites`, a base of `EmulatedMailbox`.

They add no history records, except labelsRemoved for the messages of a deleted label.
"""

from __future__ import annotations

from typing import Any

from gmail_client.emulator.mailbox.core import MailboxCore, write

__all__ = ["SettingsWrites"]


class SettingsWrites(MailboxCore):
    """Labels, the five settings, filters, aliases, forwarding addresses, delegates."""

    _first_label_deleted = False

    @write
    def create_label(self, name: str, **rest: Any) -> str:
        """labels.create; returns the id of the label.

        Args:
            name: Its name; slashes nest labels.
            rest: messageListVisibility, labelListVisibility, color.

        Raises:
            ApiError: 400 for an invalid name or color, 409 for a name in use.
        """
        return str(self.labels.create({"name": name, **rest})["id"])

    @write
    def patch_label(self, label_id: str, **changes: Any) -> dict[str, Any]:
        """labels.patch: change the given fields; 404, 400 for a system label, 409."""
        return self.labels.change(label_id, changes, replace=False)

    @write
    def update_label(self, label_id: str, **label: Any) -> dict[str, Any]:
        """labels.update: replace all writable fields; 404, 400, 409."""
        return self.labels.change(label_id, label, replace=True)

    @write
    def delete_label(self, label_id: str) -> None:
        """labels.delete: delete the label and remove it from its messages (labelsRemoved); 404, 400."""
        self.labels.delete(label_id)
        carriers = [message for message in self.store.messages.values() if label_id in message.label_ids]
        self.record(
            [change for message in carriers for change in self.change_labels(message, (), (label_id,))]
        )

    @write
    def delete_first_user_label(self) -> None:
        """Delete the first user label, once, as another client could between two reads."""
        if not self._first_label_deleted:
            self._first_label_deleted = True
            for label_id in list(self.labels.labels):
                if self.labels.labels[label_id]["type"] == "user":
                    self.delete_label(label_id)
                    break

    @write
    def update_settings(self, part: str, value: dict[str, Any]) -> dict[str, Any]:
        """settings.update...: replace one of autoForwarding, imap, pop, language and vacation; 400."""
        return self.settings.update(part, value)

    @write
    def create_filter(self, criteria: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
        """settings.filters.create; 400, 409 for an equal filter."""
        filter_id = f"ANe1Bmj{self.draw(1 << 32):08x}{self.draw(1 << 32):08x}"
        return self.settings.create_filter({"criteria": criteria, "action": action}, filter_id)

    @write
    def delete_filter(self, filter_id: str) -> None:
        """settings.filters.delete; 404."""
        self.settings.delete_filter(filter_id)

    @write
    def create_forwarding_address(self, email: str) -> dict[str, Any]:
        """settings.forwardingAddresses.create: accepted in the user's domain, else pending; 400, 409."""
        return self.settings.create_forwarding_address({"forwardingEmail": email})

    @write
    def delete_forwarding_address(self, email: str) -> None:
        """settings.forwardingAddresses.delete; 404."""
        self.settings.delete_forwarding_address(email)

    @write
    def create_send_as(self, email: str, **rest: Any) -> dict[str, Any]:
        """settings.sendAs.create: accepted in the user's domain, else pending; 400, 409."""
        return self.settings.create_send_as({"sendAsEmail": email, **rest})

    @write
    def patch_send_as(self, email: str, **changes: Any) -> dict[str, Any]:
        """settings.sendAs.patch; 404."""
        return self.settings.change_send_as(email, changes, replace=False)

    @write
    def update_send_as(self, email: str, **alias: Any) -> dict[str, Any]:
        """settings.sendAs.update; 404."""
        return self.settings.change_send_as(email, alias, replace=True)

    @write
    def verify_send_as(self, email: str) -> None:
        """settings.sendAs.verify; 404, 400 when no verification is pending."""
        self.settings.verify_send_as(email)

    @write
    def delete_send_as(self, email: str) -> None:
        """settings.sendAs.delete; 404, 400 for the primary address."""
        self.settings.delete_send_as(email)

    @write
    def create_delegate(self, email: str) -> dict[str, Any]:
        """settings.delegates.create; 400, 409."""
        return self.settings.create_delegate({"delegateEmail": email})

    @write
    def delete_delegate(self, email: str) -> None:
        """settings.delegates.delete; 404."""
        self.settings.delete_delegate(email)
