"""Every error message can be found in docs/troubleshooting.md by its first words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmail_client import errors
from gmail_client.auth import login, tokens
from gmail_client.http import error_mapping

ROOT = Path(__file__).parents[2]
PAGE = re.sub(r"[`*]", "", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"))
KINDS = set(errors.__all__) | {
    "LakeError",
    "MailboxBusyError",
    "MassDeletionError",
    "SchemaMismatchError",
    "SparkError",
    "WriterConflictError",
}


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can evaluate to, with a gap for each variable part."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    elif isinstance(node, ast.BinOp):
        for left in _texts(node.left):
            for right in _texts(node.right):
                yield left + right
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _messages() -> Iterator[tuple[str, str]]:
    for package in ("gmail_client", "gmail_assets", "lakeflow_entry"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "emulator" in path.relative_to(ROOT).parts:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and node.args:
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    if name in KINDS:
                        for text in _texts(node.args[0]):
                            yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def _key(message: str) -> str:
    """The first constant words of a message, at most six."""
    chunks = [chunk.strip(" .,:;()'\"\n") for chunk in message.split("\0")]
    telling = [chunk for chunk in chunks if len(re.findall(r"\w+", chunk)) >= 2] or chunks
    return " ".join(telling[0].split()[:6]).rstrip(".,:;(")


FOUND = [(where, text) for where, text in _messages() if _key(text)]


def test_messages_are_found_in_the_page() -> None:
    assert len(FOUND) > 80


@pytest.mark.parametrize(("where", "text"), FOUND, ids=[where for where, _ in FOUND])
def test_each_message_exists_in_the_code(where: str, text: str) -> None:
    assert _key(text) in PAGE, f"{where}: {_key(text)!r} is not in docs/troubleshooting.md"


@pytest.mark.parametrize(
    "reason",
    sorted(
        {
            *login._REFUSALS,
            *tokens._CAUSES,
            *tokens._SERVICE_CAUSES,
            *error_mapping._DISABLED,
            *error_mapping._SCOPE,
            "authError",
            "dailyLimitExceeded",
            "domainPolicy",
            "failedPrecondition",
            "invalidArgument",
            "notFound",
            "quotaExceeded",
            "rateLimitExceeded",
            "userRateLimitExceeded",
        }
    ),
)
def test_each_reason_of_google_exists_in_the_code(reason: str) -> None:
    assert reason in PAGE
