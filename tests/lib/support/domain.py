"""An environment whose service account reads all mailboxes of an emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmail_client.emulator import Emulator

__all__ = ["read_domain"]


def read_domain(emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set environment variables: endpoints, a service account's key in the folder, no login, and `variables`."""
    values = {
        "GMAIL_API_ROOT": emulator.url,
        "GMAIL_OAUTH_ROOT": emulator.url,
        "GMAIL_SERVICE_ACCOUNT_FILE": str(emulator.service_account_file(folder / "key.json")),
        "GMAIL_CREDENTIALS_FILE": str(folder / "none.json"),
        "GMAIL_QUOTA": "1200000",
        **variables,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
