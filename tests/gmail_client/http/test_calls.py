from __future__ import annotations

import threading
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.http.calls import ApiCall, QuotaUsage


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, ""),
        ({"q": None, "labelIds": []}, ""),
        ({"labelIds": ["INBOX", "Label_1"]}, "?labelIds=INBOX&labelIds=Label_1"),
        ({"includeSpamTrash": True, "prettyPrint": False}, "?includeSpamTrash=true&prettyPrint=false"),
        ({"maxResults": 500, "q": "a b&c"}, "?maxResults=500&q=a+b%26c"),
    ],
)
def test_the_target_is_path_and_query(params: dict[str, object], query: str) -> None:
    assert ApiCall("messages.list", "/x", params).target == f"/x{query}"


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.text(alphabet=st.characters(exclude_categories=["Cs"]))))
def test_any_text_is_encoded_as_one_ascii_line(params: dict[str, str]) -> None:
    target = ApiCall("messages.list", "/x", params).target
    assert target.isascii()
    assert not set(target) & set(" \r\n")
    assert dict(parse_qsl(urlsplit(target).query, keep_blank_values=True)) == params


def test_usage_counts_by_method_and_since_a_snapshot() -> None:
    usage = QuotaUsage()
    usage.sent("messages.list")
    usage.spent("messages.list", 5, 100)
    before = usage.snapshot()
    usage.sent("messages.get", "messages.get", "threads.get")
    usage.spent("messages.get", 20, 1_000)
    usage.waited(1.5)
    since = usage.since(before)
    assert dict(since.calls) == {"messages.get": 2, "threads.get": 1}
    assert (since.total_calls, since.total_units, since.total_bytes) == (3, 20, 1_000)
    assert (since.requests, since.waited) == (1, 1.5)
    assert usage.snapshot().total_calls == 4
    assert before.total_calls == 1


def test_usage_counts_every_thread() -> None:
    usage = QuotaUsage()

    def work() -> None:
        for _ in range(1_000):
            usage.sent("messages.get")
            usage.spent("messages.get", 20, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = usage.snapshot()
    assert (snapshot.total_calls, snapshot.total_units, snapshot.total_bytes) == (4_000, 80_000, 4_000)
