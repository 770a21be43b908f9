"""Writes to labels and settings: `SettingsWrites`, a part of `EmulatedMailbox`.

None of them leaves a record in the history, but for the labelsRemoved of a deleted label's messages.
"""

from __future__ import annotations

from typing import Any

from gmail_client.emulator.mailbox.core import MailboxCore, write

__all__ = ["SettingsWrites"]

Resource = dict[str, Any]


class SettingsWrites(MailboxCore):
    """Labels, the five settings, filters, aliases, forwarding addresses, delegates."""

    _lost_one = False

    @write
    def create_label(self, name: str, **rest: Any) -> str:
        """labels.create; returns the label's id.

        Args:
            name: Its name; slashes nest.
            rest: messageListVisibility, labelListVisibility, color.

        Raises:
            ApiError: 400 for a bad name or colour, 409 for a name that is taken.
        """
        return str(self.labels.create({"name": name, **rest})["id"])

    @write
    def patch_label(self, label_id: str, **changes: Any) -> Resource:
        """labels.patch: change what is named; 404, 400 for a system label, 409."""
        return self.labels.change(label_id, changes, replace=False)

    @write
    def update_label(self, label_id: str, **label: Any) -> Resource:
        """labels.update: replace all that can be set; 404, 400, 409."""
        return self.labels.change(label_id, label, replace=True)

    @write
    def delete_label(self, label_id: str) -> None:
        """labels.delete: the label goes, and off its messages, which leaves labelsRemoved; 404, 400."""
        self.labels.delete(label_id)
        carriers = [message for message in self.store.messages.values() if label_id in message.label_ids]
        self.record([change for message in carriers for change in self.relabelled(message, (), (label_id,))])

    @write
    def lose_a_label(self) -> None:
        """Delete the first user label that is left, if this was not done before: another client's doing."""
        if not self._lost_one:
            self._lost_one = True
            for label_id in list(self.labels.labels):
                if self.labels.labels[label_id]["type"] == "user":
                    self.delete_label(label_id)
                    break

    @write
    def update_settings(self, part: str, value: Resource) -> Resource:
        """settings.update...: replace one of autoForwarding, imap, pop, language, vacation; 400."""
        return self.settings.update(part, value)

    @write
    def create_filter(self, criteria: Resource, action: Resource) -> Resource:
        """settings.filters.create; 400, 409 when there is one like it."""
        filter_id = f"ANe1Bmj{self.draw(1 << 32):08x}{self.draw(1 << 32):08x}"
        return self.settings.create_filter({"criteria": criteria, "action": action}, filter_id)

    @write
    def delete_filter(self, filter_id: str) -> None:
        """settings.filters.delete; 404."""
        self.settings.delete_filter(filter_id)

    @write
    def create_forwarding_address(self, email: str) -> Resource:
        """settings.forwardingAddresses.create: accepted inside the domain, else pending; 400, 409."""
        return self.settings.create_forwarding_address({"forwardingEmail": email})

    @write
    def delete_forwarding_address(self, email: str) -> None:
        """settings.forwardingAddresses.delete; 404."""
        self.settings.delete_forwarding_address(email)

    @write
    def create_send_as(self, email: str, **rest: Any) -> Resource:
        """settings.sendAs.create: accepted inside the domain, else pending; 400, 409."""
        return self.settings.create_send_as({"sendAsEmail": email, **rest})

    @write
    def patch_send_as(self, email: str, **changes: Any) -> Resource:
        """settings.sendAs.patch; 404."""
        return self.settings.change_send_as(email, changes, replace=False)

    @write
    def update_send_as(self, email: str, **alias: Any) -> Resource:
        """settings.sendAs.update; 404."""
        return self.settings.change_send_as(email, alias, replace=True)

    @write
    def verify_send_as(self, email: str) -> None:
        """settings.sendAs.verify; 404, 400 when nothing is pending."""
        self.settings.verify_send_as(email)

    @write
    def delete_send_as(self, email: str) -> None:
        """settings.sendAs.delete; 404, 400 for the primary address."""
        self.settings.delete_send_as(email)

    @write
    def create_delegate(self, email: str) -> Resource:
        """settings.delegates.create; 400, 409."""
        return self.settings.create_delegate({"delegateEmail": email})

    @write
    def delete_delegate(self, email: str) -> None:
        """settings.delegates.delete; 404."""
        self.settings.delete_delegate(email)
