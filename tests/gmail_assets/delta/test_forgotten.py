"""Forgotten mailboxes are refused until they are allowed again, and the lake does not contain their addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmail_assets.delta.forgotten import FORGOTTEN, ForgottenMailboxes, forget, refuse_forgotten, remember
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_client.errors import ConfigurationError

ADA = "ada@example.test"


def test_a_forgotten_mailbox_is_refused_until_it_is_allowed(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    registry = MailboxRegistry(lake)
    assert not ForgottenMailboxes(lake).includes(ADA)
    forget(lake, ADA)
    forget(lake, ADA)
    assert ForgottenMailboxes(lake).includes(ADA)
    with pytest.raises(ConfigurationError, match="must not be loaded"):
        registry.check_name("me", ADA)
    with pytest.raises(ConfigurationError, match="must not be loaded"):
        refuse_forgotten(lake, ADA)
    registry.check_name("bob@example.test", "bob@example.test")
    refuse_forgotten(lake, "bob@example.test")
    files = [path.read_text("latin-1") for path in (tmp_path / FORGOTTEN).rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert not any(ADA in text for text in files)
    assert remember(lake, ADA)
    assert not remember(lake, ADA)
    registry.check_name("me", ADA)
