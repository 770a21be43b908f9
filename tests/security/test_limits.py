"""docs/quota.md names each limit with its value in the code and the text of its error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gmail_client import client, json_values, paging, unknown_fields
from gmail_client.http import batch, body, concurrency, error_mapping, sessions, transport

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quota.md").read_text("utf-8").partition("## Limits")[2]
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        f"{body.MAX_BODY_BYTES >> 20} MB (a mail",
        f"| {body.MAX_TOKEN_BODY_BYTES >> 20} MB |",
        f"{transport.CONNECT_TIMEOUT:.0f} s, {transport.READ_TIMEOUT:.0f} s",
        f"| {sessions.DEADLINE:.0f} s |",
        f"{unknown_fields.MAX_NESTING} levels",
        f"{paging.MAX_EMPTY_PAGES} empty pages in a row, or {paging.MAX_REPEATED_PAGES} pages",
        f"{json_values._LONGEST_ID:,}, {json_values._LONGEST_TOKEN:,}, {client._LONGEST_ADDRESS:,} characters",
        f"| {concurrency.MAX_BATCH_PARTS}, {concurrency.MAX_IN_FLIGHT} |",
        f"{batch._BUFFER_BYTES >> 20} MB, or one response",
        f"{error_mapping._LONGEST_MESSAGE} characters",
    ],
)
def test_the_page_has_the_value(text: str) -> None:
    assert text in PAGE


def test_each_error_is_in_the_code_and_in_troubleshooting() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "gmail_client").rglob("*.py"))
    quoted = re.findall(r'"([^"|]+)"', PAGE)
    assert len(quoted) >= 5
    for words in quoted:
        pattern = re.sub(r"\d+", ".{1,40}", re.escape(words))
        assert re.search(pattern, code), words
        assert re.search(re.sub(r"\d+", "(.{1,40})", re.escape(words)), TROUBLESHOOTING), words
