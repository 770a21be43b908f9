"""The labels of one mailbox: `LabelStore`, and the system labels that every mailbox has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gmail_client.emulator.api.errors import bad_argument, conflict, not_found

__all__ = ["NOT_BY_HAND", "SPAM_TRASH", "SYSTEM_LABELS", "LabelStore"]

_VISIBLE = ("SENT", "INBOX", "DRAFT", "STARRED", "UNREAD")
_HIDDEN = (
    "CHAT",
    "IMPORTANT",
    "TRASH",
    "SPAM",
    "CATEGORY_FORUMS",
    "CATEGORY_UPDATES",
    "CATEGORY_PERSONAL",
    "CATEGORY_PROMOTIONS",
    "CATEGORY_SOCIAL",
)
SYSTEM_LABELS: tuple[str, ...] = (*_VISIBLE, *_HIDDEN)
SPAM_TRASH = frozenset({"SPAM", "TRASH"})
"""A message with one of these is left out of listings by default."""
NOT_BY_HAND = frozenset({"SENT", "DRAFT", "CHAT"})
"""Labels that no call can add or remove."""
_SETTABLE = ("name", "messageListVisibility", "labelListVisibility", "color")
_LISTED = ("id", "name", "messageListVisibility", "labelListVisibility", "type")


def _system(label_id: str) -> dict[str, Any]:
    label: dict[str, Any] = {"id": label_id, "name": label_id}
    if label_id in _HIDDEN:
        label.update(messageListVisibility="hide", labelListVisibility="labelHide")
    label["type"] = "system"
    return label


class LabelStore:
    """Label resources by id: system labels first, then user labels.

    Args:
        user_labels: Label resources of the first user labels.
    """

    def __init__(self, user_labels: Iterable[dict[str, Any]] = ()) -> None:
        self.labels: dict[str, dict[str, Any]] = {label: _system(label) for label in SYSTEM_LABELS}
        for label in user_labels:
            self.labels[label["id"]] = {**label, "type": "user"}
        numbers = [label_id.removeprefix("Label_") for label_id in self.labels]
        self._last = max((int(number) for number in numbers if number.isdigit()), default=0)

    def __contains__(self, label_id: str) -> bool:
        return label_id in self.labels

    def ids_by_name(self) -> dict[str, str]:
        """Label ids by name, as the operator `label:` of a query uses them."""
        return {label["name"]: label_id for label_id, label in self.labels.items()}

    def listed(self) -> list[dict[str, Any]]:
        """The labels as labels.list returns them, without counts and color."""
        return [{key: label[key] for key in _LISTED if key in label} for label in self.labels.values()]

    def get(self, label_id: str) -> dict[str, Any]:
        """The resource without counts.

        Raises:
            ApiError: 404.
        """
        if label_id not in self.labels:
            raise not_found()
        return dict(self.labels[label_id])

    def require(self, label_ids: Iterable[str]) -> None:
        """Check that labels exist.

        Raises:
            ApiError: 400, in Gmail's words.
        """
        for label_id in label_ids:
            if label_id not in self.labels:
                raise bad_argument(f"Invalid label: {label_id}")

    def create(self, label: dict[str, Any]) -> dict[str, Any]:
        """Add a user label and return its resource.

        Raises:
            ApiError: 400 for a missing or invalid name, 409 for a name that is in use.
        """
        name = self._checked_name(label.get("name"), None)
        _check_color(label)
        self._last += 1
        made = {
            "id": f"Label_{self._last}",
            "name": name,
            "messageListVisibility": label.get("messageListVisibility", "show"),
            "labelListVisibility": label.get("labelListVisibility", "labelShow"),
            "type": "user",
        }
        if "color" in label:
            made["color"] = dict(label["color"])
        self.labels[made["id"]] = made
        return dict(made)

    def change(self, label_id: str, label: dict[str, Any], *, replace: bool) -> dict[str, Any]:
        """Patch a user label, or replace all its writable fields.

        Raises:
            ApiError: 404, 400 (a system label, an invalid name), 409.
        """
        present = self._user_label(label_id, "update")
        if label.get("id", label_id) != label_id:
            raise bad_argument("Label ID in the body does not match the one in the path")
        if "name" in label or replace:
            label = {**label, "name": self._checked_name(label.get("name"), label_id)}
        _check_color(label)
        if replace:
            present.pop("color", None)
            present.update(messageListVisibility="show", labelListVisibility="labelShow")
        for key in _SETTABLE:
            if key in label:
                present[key] = label[key]
        return dict(present)

    def delete(self, label_id: str) -> None:
        """Remove a user label.

        Raises:
            ApiError: 404, or 400 for a system label.
        """
        self._user_label(label_id, "delete")
        del self.labels[label_id]

    def _user_label(self, label_id: str, verb: str) -> dict[str, Any]:
        label = self.labels.get(label_id)
        if label is None:
            raise not_found()
        if label["type"] == "system":
            raise bad_argument(f"Cannot {verb} system label {label_id}")
        return label

    def _checked_name(self, name: str | None, label_id: str | None) -> str:
        if not name or not name.strip("/ ") or len(name) > 225:
            raise bad_argument("Invalid label name")
        for other in self.labels.values():
            if other["id"] != label_id and other["name"].casefold() == name.casefold():
                raise conflict("Label name exists or conflicts")
        return name


def _check_color(label: dict[str, Any]) -> None:
    color = label.get("color")
    if color is not None and not (color.get("backgroundColor") and color.get("textColor")):
        raise bad_argument("Label color needs both backgroundColor and textColor")
