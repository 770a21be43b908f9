"""Read Gmail as ten tables: accounts, quota, reads, changes, schemas.

    from gmail_client import GmailClient

    mailbox = GmailClient.from_settings().mailbox("me")
    for label in mailbox.rows("labels"):
        print(label["name"])

Names are imported on first use, so that importing the errors alone does not import Arrow. See docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmail_client.auth.credentials import Credentials
    from gmail_client.client import GmailClient, Mailbox
    from gmail_client.errors import (
        AccessError,
        ApiDisabledError,
        ConcurrencyError,
        ConfigurationError,
        CredentialsError,
        DailyLimitError,
        DelegationError,
        ForbiddenError,
        GmailError,
        HistoryExpiredError,
        IncompleteReadError,
        NoMailboxError,
        NotFoundError,
        OptionError,
        PreconditionError,
        QuotaError,
        RateLimitError,
        RequestError,
        ResponseError,
        ScopeError,
        UnavailableError,
        UnknownTableError,
    )
    from gmail_client.mailbox_changes import MailboxChange, MailboxChanges
    from gmail_client.options import TableOptions
    from gmail_client.quota import QuotaPlan, preset
    from gmail_client.schema import SCHEMAS
    from gmail_client.settings import Settings
    from gmail_client.spec import Spec, SpecTable
    from gmail_client.tables import CATALOGUE

__all__ = [
    "CATALOGUE",
    "SCHEMAS",
    "AccessError",
    "ApiDisabledError",
    "ConcurrencyError",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "DailyLimitError",
    "DelegationError",
    "ForbiddenError",
    "GmailClient",
    "GmailError",
    "HistoryExpiredError",
    "IncompleteReadError",
    "Mailbox",
    "MailboxChange",
    "MailboxChanges",
    "NoMailboxError",
    "NotFoundError",
    "OptionError",
    "PreconditionError",
    "QuotaError",
    "QuotaPlan",
    "RateLimitError",
    "RequestError",
    "ResponseError",
    "ScopeError",
    "Settings",
    "Spec",
    "SpecTable",
    "TableOptions",
    "UnavailableError",
    "UnknownTableError",
    "preset",
]

_MODULES = {
    "CATALOGUE": "tables",
    "SCHEMAS": "schema",
    "Credentials": "auth.credentials",
    "GmailClient": "client",
    "Mailbox": "client",
    "MailboxChange": "mailbox_changes",
    "MailboxChanges": "mailbox_changes",
    "QuotaPlan": "quota",
    "Settings": "settings",
    "Spec": "spec",
    "SpecTable": "spec",
    "TableOptions": "options",
    "preset": "quota",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"gmail_client.{_MODULES.get(name, 'errors')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
