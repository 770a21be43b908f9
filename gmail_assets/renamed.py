"""Finds mailboxes that were renamed before they are loaded again: `find_renamed`.

Called with all mailboxes of a deployment, before a new one is registered or loaded. A mailbox is compared with the
stored ones that are not among them any more: by the directory's id of its user, else by the ids of its messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.forgotten import ForgottenMailboxes, forgotten_error, user_key
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.mailbox_names import MailboxNames
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.syncing.identity import StoredIds, newest
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError

__all__ = ["Renames", "find_renamed"]

_MOST_PROBED = 3
"""Stored mailboxes for which single messages are requested; with more, only the newest 500 ids are compared."""


@dataclass(frozen=True, slots=True)
class Renames:
    """The renamed mailboxes among all of a deployment.

    Attributes:
        present: The present name of each renamed mailbox, by its earlier ones.
        undecided: Mailboxes that could not be compared, with the error: they must not be loaded now, because they may
            be stored under an earlier address. Also those of users who were erased under an earlier address.
    """

    present: Mapping[str, str] = field(default_factory=dict)
    undecided: Mapping[str, GmailError] = field(default_factory=dict)


def find_renamed(
    lake: Lake,
    open_mailbox: Callable[[str], Mailbox],
    mailboxes: Sequence[str],
    user_ids: Mapping[str, str] | None = None,
) -> Renames:
    """Record the new addresses of renamed mailboxes in the lake.

    Costs nothing if each of the mailboxes is known, or if each stored one is among them. Otherwise 6 units for each
    new mailbox, and up to 125 more for each of at most three stored ones.

    Args:
        lake: The lake.
        open_mailbox: Opens a mailbox by its name.
        mailboxes: All mailboxes of the deployment, in its present names.
        user_ids: The directory's id of each user, by address.

    Raises:
        LakeError: The lake can't be read or written.
    """
    registry = MailboxRegistry(lake)
    names = registry.names()
    undecided = _erased_users(lake, mailboxes, user_ids or {})
    if not names.mailboxes:
        return Renames(undecided=undecided)
    if user_ids:
        names = _compare_users(registry, names, user_ids)
    missing = _not_among(names, mailboxes)
    for name in mailboxes if missing else ():
        if name not in names.stored_as and name not in undecided:
            candidates = [
                address
                for address in missing
                if (user_ids or {}).get(name) is None or names.mailboxes[address].user_id is None
            ]
            try:
                stored_as = _same_mailbox(lake, open_mailbox, name, candidates, names) if candidates else None
            except LakeError:
                raise
            except GmailError as error:
                undecided[name] = error
                continue
            if stored_as is not None:
                names = registry.names()
                missing.remove(stored_as)
    present = {names.stored_as[name]: name for name in mailboxes if name in names.stored_as and "@" in name}
    renamed = {
        earlier: present[stored_as]
        for earlier, stored_as in names.stored_as.items()
        if stored_as in present
        and earlier not in (*mailboxes, "me")
        and earlier != names.mailboxes[stored_as].current
    }
    return Renames(renamed, undecided)


def _erased_users(lake: Lake, mailboxes: Sequence[str], user_ids: Mapping[str, str]) -> dict[str, GmailError]:
    """The mailboxes whose users were erased, which may have had another address then."""
    if not user_ids:
        return {}
    forgotten = ForgottenMailboxes(lake)
    return {
        name: forgotten_error(name)
        for name in mailboxes
        if name in user_ids and forgotten.includes(user_key(user_ids[name]))
    }


def _compare_users(
    registry: MailboxRegistry, names: MailboxNames, user_ids: Mapping[str, str]
) -> MailboxNames:
    """Record addresses that moved with their users, and the ids of users that are not recorded yet."""
    addresses = {user_id: address for address, user_id in user_ids.items()}
    changed = False
    noted: dict[str, str] = {}
    for mailbox in names.mailboxes.values():
        if mailbox.user_id is None:
            if (user_id := user_ids.get(mailbox.current)) is not None:
                noted[mailbox.stored_as] = user_id
            continue
        present = addresses.get(mailbox.user_id)
        if present is None and mailbox.current in user_ids:
            present = ""  # another user has the address, and this one is gone
        if present is None or present == mailbox.current:
            continue
        if names.stored_as.get(present, mailbox.stored_as) != mailbox.stored_as:
            present = ""  # another mailbox is stored under it; the old address is not this user's any more
        if present != mailbox.current:
            registry.rename(mailbox.stored_as, present)
            changed = True
    if noted:
        registry.note_users(noted)
    return registry.names() if changed or noted else names


def _not_among(names: MailboxNames, mailboxes: Sequence[str]) -> list[str]:
    """The stored mailboxes that none of these names belongs to."""
    present = {names.stored_as.get(name) for name in mailboxes}
    return [stored_as for stored_as in names.mailboxes if stored_as not in present]


def _same_mailbox(
    lake: Lake,
    open_mailbox: Callable[[str], Mailbox],
    name: str,
    candidates: Sequence[str],
    names: MailboxNames,
) -> str | None:
    """Which of the stored mailboxes this one is, recorded in the lake; None if it is another one."""
    ids = StoredIds(lake)
    mailbox = open_mailbox(name)
    address = mailbox.address
    if address in names.stored_as:
        return None
    listed = newest(mailbox.api)
    for stored_as in candidates:
        probe = len(candidates) <= _MOST_PROBED
        if ids.is_same(mailbox.api, stored_as, listed=listed, probe=probe):
            MailboxRegistry(lake).rename(stored_as, address)
            return stored_as
    return None
