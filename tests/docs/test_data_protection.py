"""The commands of docs/data-protection.md and SECURITY.md, run in their order on a lake with two mailboxes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from support.pages import ROOT, blocks, commands
from support.traces import files_naming

from gmail_assets.cli import main
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec

PAGE = ROOT / "docs" / "data-protection.md"


def shown() -> list[list[str]]:
    found = [words[1:] for page in (PAGE, ROOT / "SECURITY.md") for words in commands(page)]
    # `logout` is last, as in the order of the page.
    return sorted(found, key=lambda words: words == ["logout"])


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GMAIL_") or name == "DAGSTER_HOME"]:
        monkeypatch.delenv(name)
    with Emulator(mailboxes=2, messages=20) as gmail:
        for name, value in gmail.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GMAIL_QUOTA", "1200000")
        monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "credentials.json"))
        monkeypatch.chdir(tmp_path)
        ada, bob = gmail.addresses
        lines = shown()
        assert {words[0] for words in lines} == {"forget", "vacuum", "check", "logout", "--version"}
        monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.environment(bob)["GMAIL_REFRESH_TOKEN"])
        assert main(["sync", "messages", "labels", "--quiet", "--mailbox", bob]) == 0
        monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.environment(ada)["GMAIL_REFRESH_TOKEN"])
        for words in lines:
            if words[0] in ("forget", "check"):
                # Each command runs after a sync, as if it were the only one.
                main(["forget", "--undo", ada, "--quiet"])
                assert main(["sync", "messages", "labels", "--quiet"]) == 0
            message_id = gmail.truth("messages", ada)[0]["id"]
            if "--message" in words:
                gmail.mailbox(ada).delete(message_id)
            replaced = {"ada@example.com": ada, "18c2f0a7b3d4e5f6": message_id}
            arguments = [replaced.get(word, word) for word in words]
            confirmed = ["--yes"] if words[0] == "forget" and "--undo" not in words else []
            assert main([*arguments, *confirmed]) == 0, words
            if "--clean-log" in words:
                assert files_naming(tmp_path / "lake", ada) == []
            if "--message" in words:
                assert not [
                    name for name in files_naming(tmp_path / "lake", message_id) if "_delta_log" not in name
                ]
        assert files_naming(tmp_path / "lake", bob)


def test_the_spec_of_the_page_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = [text for language, text in blocks(PAGE) if language == "yaml"]
    spec = Spec.parse(yaml.safe_load(text))
    monkeypatch.setenv("GMAIL_HASH_KEY", "k" * 32)
    # So that both tables have the content.
    assert len({entry.options.fingerprint for entry in spec.tables}) == 1
    assert spec.tables[0].options.exclude_labels == ("CATEGORY_PROMOTIONS", "Label_12")
