"""Errors of the lake quote the message of the object store, without credentials."""

from __future__ import annotations

import pytest

from gmail_assets.delta.errors import one_line, unreadable

HUSH = "FwoGZXIvYXdz/hush+token=="


@pytest.mark.parametrize(
    "text",
    [
        f"<CanonicalRequest>GET\nx-amz-security-token:{HUSH}\nx</CanonicalRequest>",
        f"https://x.blob.core.windows.net/c?sp=r&sig={HUSH}&se=2026",
        f"Authorization: AWS4-HMAC-SHA256 Credential={HUSH}, SignedHeaders=host, Signature={HUSH}",
        f"aws_secret_access_key = {HUSH}",
        f'{{"AWS_SECRET_ACCESS_KEY": "{HUSH}"}}',
        "postgresql://ada:hush@db.test/dagster",
        "Authorization: Bearer ya29.hush",
        f"<AWSAccessKeyId>{HUSH}</AWSAccessKeyId>",
    ],
)
def test_credentials_are_removed(text: str) -> None:
    shown = one_line(RuntimeError(f"Client error with status 403 Forbidden: {text}"))
    assert "hush" not in shown
    assert shown.startswith("Client error with status 403 Forbidden:")
    assert "removed" in shown
    assert "hush" not in str(unreadable("s3://b/t", RuntimeError(text)))


def test_the_message_is_one_short_line() -> None:
    assert one_line(OSError("a\n  b")) == "a b"
    assert one_line(OSError("\x1b[31m↳\x1b[0m no")) == "↳ no"
    assert len(one_line(OSError("x" * 10_000))) == 300
    assert len(one_line(OSError("secret" * 100_000))) <= 300


def test_colors_and_arrows_of_the_object_store_are_removed() -> None:
    arrow = "\n  \x1b[31m↳\x1b[0m "
    text = f"Generic S3 error{arrow}404 Not Found{arrow}<?xml version='1.0'?>\n<Code>NoSuchKey</Code>"
    assert one_line(OSError(text)) == "Generic S3 error: 404 Not Found: <Code>NoSuchKey</Code>"
