from __future__ import annotations

import pytest

from gmail_client.auth.endpoints import API_ROOT, checked_root
from gmail_client.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "root"),
    [
        (API_ROOT, API_ROOT),
        ("https://gateway.example:8443/gmail/", "https://gateway.example:8443/gmail"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_allowed_roots(url: str, root: str) -> None:
    assert checked_root("GMAIL_API_ROOT", url) == root


@pytest.mark.parametrize(
    "url",
    [
        "http://gmail.googleapis.com",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "http://127.0.0.1@evil.test",
        "ftp://127.0.0.1",
        "gmail.googleapis.com",
        "https://",
        "https://host:port",
        "https://[::1",
        "https://host?x=1",
        "https://host#x",
        "",
    ],
)
def test_refused_roots(url: str) -> None:
    with pytest.raises(ConfigurationError, match="GMAIL_API_ROOT"):
        checked_root("GMAIL_API_ROOT", url)


def test_a_password_in_a_root_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_root("GMAIL_API_ROOT", "https://ada:s3cret@gateway.example")
    assert "s3cret" not in str(caught.value)
