"""Submits the emulator's consent page as a user would, with an HTTP client."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import requests

__all__ = ["decide"]


def decide(url: str, *, decision: str = "approve", account: str | None = None, scopes: bool = True) -> str:
    """Submit the page at `url`; returns the URL of the redirect, which is not followed.

    Args:
        url: The consent page.
        decision: `approve` or `deny`.
        account: The account to choose; by default the preselected one.
        scopes: Leave the checkboxes of the scopes selected.
    """
    page = requests.get(url, timeout=10)
    page.raise_for_status()
    fields = re.findall(r'<input type="(\w+)" name="(\w+)" value="([^"]*)"( checked)?>', page.text)
    form = [
        (name, value)
        for kind, name, value, checked in fields
        if kind == "hidden"
        or (checked and not (name == "account" and account) and not (name == "scope" and not scopes))
    ]
    form += [("decision", decision), *([("account", account)] if account else [])]
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)
    assert action is not None, page.text
    answer = requests.post(urljoin(url, action[1]), data=form, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]
