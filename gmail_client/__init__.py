"""Gmail as ten tables: access, quota, reads, changes, schemas.

    from gmail_client import GmailClient

    mailbox = GmailClient.from_settings().mailbox("me")
    for row in mailbox.rows("labels"):
        ...

Each name is imported when it is first used: whoever wants only the errors pays for no Arrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmail_client.auth.credentials import Credentials
    from gmail_client.client import GmailClient, Mailbox
    from gmail_client.errors import GmailError
    from gmail_client.options import Spec, SpecTable, TableOptions
    from gmail_client.quota import QuotaPlan, preset
    from gmail_client.schema import SCHEMAS
    from gmail_client.settings import Settings
    from gmail_client.tables import CATALOGUE

__all__ = [
    "CATALOGUE",
    "SCHEMAS",
    "Credentials",
    "GmailClient",
    "GmailError",
    "Mailbox",
    "QuotaPlan",
    "Settings",
    "Spec",
    "SpecTable",
    "TableOptions",
    "preset",
]

_HOMES = {
    "CATALOGUE": "tables",
    "SCHEMAS": "schema",
    "Credentials": "auth.credentials",
    "GmailClient": "client",
    "GmailError": "errors",
    "Mailbox": "client",
    "QuotaPlan": "quota",
    "Settings": "settings",
    "Spec": "options",
    "SpecTable": "options",
    "TableOptions": "options",
    "preset": "quota",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"gmail_client.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
