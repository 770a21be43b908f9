"""The test mails in `../shared/corpus`, from test suites of mail parsers; CI has them next to the clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gmail_client.emulator.mail.content import from_raw

__all__ = ["CORPUS", "corpus_files", "message_of", "needs_corpus"]

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of mails is not next to the clone")


def corpus_files() -> list[Path]:
    """Every mail, in a fixed order."""
    return sorted(CORPUS.glob("*/*.eml"))


def message_of(raw: bytes) -> dict[str, Any]:
    """The message as Gmail returns it with `format: full`."""
    content = from_raw(raw)
    return {
        "id": "18c2a0",
        "threadId": "18c2a0",
        "labelIds": ["INBOX", "UNREAD"],
        "snippet": content.snippet(),
        "historyId": "500",
        "internalDate": str(content.date_ms),
        "sizeEstimate": len(raw),
        "payload": content.payload(lambda part_id: f"ANGj{part_id}"),
    }
