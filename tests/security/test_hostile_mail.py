"""Hostile mail in the whole pipeline: rows are stored as Gmail sent them, or the message is recorded as unfetched.

`HostileGmail` is a fake Gmail behind an injected session, so that responses can be invalid MIME or invalid JSON.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.fake_gmail import FakeGmail, FakeRequest, FakeResponse, ManualClock, connect, error_response

from gmail_assets.delta.erase import erase_rows
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep, keep_up
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.syncing import sync
from gmail_assets.views import ViewSources, derive
from gmail_client.http.body import MAX_BODY_BYTES
from gmail_client.quota import preset
from gmail_client.spec import Spec

ADDRESS = "ada@gmail.test"
ROOT = "/gmail/v1/users/me/"
Content = bytes | Callable[[], bytes]

MARKUP = (
    "<script>document.title='executed'</script><img src=x onerror=\"document.title='executed'\">"
    "<svg/onload=alert(1)><iframe src=javascript:alert(1)></iframe><b>bold</b>"
    "[link](javascript:alert(1)) ![image](http://127.0.0.1:9/pixel.png) **strong** # heading\n\n```html\n<i>x</i>\n```"
    '{{7*7}} ${7*7} <%= 7*7 %> =HYPERLINK("http://evil") \'; DROP TABLE emails; --'
)


def mail(message_id: str, payload: Any = None, **more: Any) -> bytes:
    """A message as Gmail sends it."""
    document = {
        "id": message_id,
        "threadId": message_id,
        "labelIds": ["INBOX"],
        "historyId": "900",
        "internalDate": "1700000000000",
        "sizeEstimate": 10,
        "snippet": "x",
        "payload": payload or {"partId": "", "mimeType": "text/plain", "body": {"size": 1, "data": "eA=="}},
    }
    return json.dumps({**document, **more}).encode()


def nested(message_id: str, levels: int) -> bytes:
    """A message with `levels` levels of parts, more than Python's JSON encoder allows."""
    opened = b'{"partId": "0", "mimeType": "multipart/mixed", "body": {"size": 0}, "parts": [' * levels
    leaf = b'{"partId": "0", "mimeType": "text/plain", "body": {"size": 1, "data": "eA=="}}'
    return mail(message_id, "@").replace(b'"@"', opened + leaf + b"]}" * levels)


class HostileGmail:
    """A mailbox whose messages are the given bytes.

    Attributes:
        sent: How often each message was requested, in a batch or singly.
    """

    def __init__(
        self, messages: Mapping[str, Content], *, headers: Mapping[str, dict[str, str]] | None = None
    ) -> None:
        self.messages = dict(messages)
        self.headers = dict(headers or {})
        self.sent: dict[str, int] = {}
        self.wire = FakeGmail(self._answer)
        client = connect(self.wire, ManualClock(), quota=preset(1_200_000))
        self.mailbox = client.mailbox()

    def _answer(self, request: FakeRequest) -> FakeResponse:
        path = request.path.removeprefix(ROOT)
        collection, _, name = path.partition("/")
        if path == "profile":
            count = len(self.messages)
            return FakeResponse(
                json={
                    "emailAddress": ADDRESS,
                    "historyId": "1000",
                    "messagesTotal": count,
                    "threadsTotal": count,
                }
            )
        if path in ("messages", "threads"):
            listed = [{"id": one, "threadId": one, "historyId": "900"} for one in self.messages]
            return FakeResponse(json={path: listed})
        if path == "history":
            return FakeResponse(json={"historyId": "1000"})
        if path == "labels":
            return FakeResponse(json={"labels": [{"id": "INBOX", "name": "INBOX", "type": "system"}]})
        if collection == "messages" and name in self.messages:
            self.sent[name] = self.sent.get(name, 0) + 1
            if request.batched and name in self.headers:
                return error_response(503, "backendError")
            content = self.messages[name]
            return FakeResponse(
                raw=content if isinstance(content, bytes) else content(), headers=self.headers.get(name, {})
            )
        return error_response(404, "notFound")


def load(gmail: HostileGmail, folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Sync all mail tables; returns the rows of `messages` by id, and the reasons why others are missing."""
    lake = Lake(str(folder / "lake"))
    spec = Spec.default()
    sync(gmail.mailbox, lake, [spec.tables[0], spec.tables[1]])
    derive(lake, ADDRESS, ViewSources.of(spec))
    messages, threads, emails = (
        {row["id"] if name != "emails" else row["message_id"]: row for row in rows(lake, name)}
        for name in ("messages", "threads", "emails")
    )
    recorded = {
        name: one.error for name, one in UnfetchedMessages(lake).of_table(ADDRESS, "messages").items()
    }
    assert messages.keys() == emails.keys()
    assert messages.keys() == threads.keys()
    assert messages.keys() | recorded.keys() == gmail.messages.keys(), "neither stored nor recorded"
    return messages, recorded


def rows(lake: Lake, name: str) -> list[dict[str, Any]]:
    delta = lake.find(name)
    return [] if delta is None else list(delta.to_pyarrow_table().to_pylist())


def ordinary(count: int = 3) -> dict[str, Content]:
    """Ordinary messages, which the hostile ones must not affect."""
    return {f"a{number}": mail(f"a{number}") for number in range(count)}


SMALL: dict[str, bytes] = {
    "b0": mail("b0", {"partId": "", "mimeType": "text/html", "headers": [{"name": MARKUP, "value": MARKUP}]}),
    "b1": mail(
        "b1", snippet=MARKUP, payload={"filename": MARKUP, "mimeType": MARKUP, "body": {"data": MARKUP}}
    ),
    "b2": mail("b2", snippet="\ud83d cut \udc00 \x00 \x1b]8;;http://evil\x07 \u202e", labelIds=["INBOX"]),
    "b3": mail("b3").replace(b'"snippet": "x"', b'"snippet": "\xed\xa0\xbd \xc3\xa9"'),
    "b4": mail("b4", {"headers": [{"name": "Subject\x00", "value": "\x00" * 50}], "body": {"data": "\x00"}}),
    "b5": nested("b5", 30),
    "b6": mail(
        "b6", {"headers": [{"name": "From", "value": "=?utf-8?q?" + "=FF" * 500 + "?= <" + "@" * 900 + ">"}]}
    ),
    "b7": mail("b7", {"mimeType": "text/plain", "body": {"size": -5, "data": "!!!not base64!!!"}}),
    "c0": nested("c0", 900),
    "c1": nested("c1", 400),
    "c2": b"[" * 100_000,
    "c3": b'{"id": "c3"' + b" " * 10,
    "c4": b"\xff\xfe\x00\xd8garbage",
    "c5": mail("c5", labelIds=["INBOX\n"], historyId="NaN"),
    "c6": mail("another-id"),
    "c7": b'{"id": "c7", "threadId": "c7", "historyId": ' + b"9" * 5_000 + b"}",
}
"""b: can be stored. c: can't be used."""


def test_small_hostile_messages_are_stored_or_recorded(tmp_path: Path) -> None:
    gmail = HostileGmail({**ordinary(), **SMALL})
    stored, recorded = load(gmail, tmp_path)
    assert {name[0] for name in stored} == {"a", "b"}
    assert {name[0] for name in recorded} == {"c"}
    assert all(recorded.values())
    assert len(stored) == 3 + sum(name.startswith("b") for name in SMALL)
    assert stored["b0"]["payload"]["headers"] == [{"name": MARKUP, "value": MARKUP}]
    assert stored["b1"]["snippet"] == stored["b1"]["payload"]["filename"] == MARKUP
    assert stored["b2"]["snippet"] == "\ufffd cut \ufffd \x00 \x1b]8;;http://evil\x07 \u202e"
    assert stored["b4"]["payload"]["headers"][0]["value"] == "\x00" * 50
    assert json.loads(json.dumps(stored["b5"]["payload"])) is not None
    assert max(gmail.sent.values()) <= 20, "each is retried a bounded number of times"


def test_a_recorded_message_is_retried_and_stored_once_it_is_valid(tmp_path: Path) -> None:
    gmail = HostileGmail({**ordinary(), "c0": SMALL["c0"]})
    _, recorded = load(gmail, tmp_path)
    assert set(recorded) == {"c0"}
    gmail.messages["c0"] = mail("c0")
    stored, recorded = load(gmail, tmp_path)
    assert "c0" in stored
    assert recorded == {}


def test_no_parquet_footer_contains_a_complete_text(tmp_path: Path) -> None:
    value = "".join(random.Random(1).choices("abcdefghijklmnop", k=1 << 20))
    payload = {"headers": [{"name": "Subject", "value": value}], "body": {"data": value}}
    gmail = HostileGmail({**ordinary(), "t": mail("t", payload, snippet=value)})
    load(gmail, tmp_path)
    lake = Lake(str(tmp_path / "lake"))
    partition = MailboxPartition(lake.table("messages"), ADDRESS, "all", "full")
    labels = pa.schema([("id", pa.string()), ("labelIds", pa.list_(pa.field("element", pa.string())))])
    updates = pa.Table.from_pylist([{"id": "t", "labelIds": ["STARRED"]}], schema=labels)
    partition.merge(updates=updates, removed=["a0"], state=partition.state.synced(2_000))
    erase_rows(lake, "messages", ADDRESS, "id = 'a1'")
    keep_up(lake.table("messages"), ADDRESS, Upkeep(1, None, None))
    files = list((tmp_path / "lake").rglob("*.parquet"))
    assert len(files) >= 6
    assert sum(path.stat().st_size for path in files) > len(value)
    assert max(pq.read_metadata(path).serialized_size for path in files) < 200_000


BIG = """
import json, resource, sys
from pathlib import Path
sys.path[:0] = [{root!r} + "/tests/security", {root!r} + "/tests/lib"]
import test_hostile_mail as hostile

gmail = hostile.HostileGmail({{**hostile.ordinary(), **hostile.big({case!r})}})
stored, recorded = hostile.load(gmail, Path({folder!r}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
hostile.check({case!r}, stored)
requests = max(gmail.sent.values())
print(json.dumps({{"stored": sorted(stored), "recorded": recorded, "peak_mb": peak, "requests": requests}}))
"""

CASES: dict[str, tuple[bool, int]] = {
    "a header of 50 MB": (True, 3_000),
    "three bodies of 50 MB": (True, 4_500),
    "a body of 120 MB": (True, 5_000),
    "a million parts": (True, 6_000),
    "a million headers": (True, 6_000),
    "a response of 200 MB": (False, 3_000),
    "a gzip bomb": (False, 3_000),
}
"""Whether the message is stored, and the maximum memory of the process in MB."""


def big(case: str) -> dict[str, Content]:
    """The messages of a case. They are created on request, so that only the client has them in memory."""
    if case == "a header of 50 MB":
        return {"big": lambda: mail("big", {"headers": [{"name": "Subject", "value": "é<b>" * (10 << 20)}]})}
    if case == "three bodies of 50 MB":
        return {
            f"big{n}": lambda n=n: mail(f"big{n}", {"body": {"data": "QUJD" * (25 << 19)}}) for n in range(3)
        }  # type: ignore[misc]
    if case == "a body of 120 MB":
        return {"big": lambda: mail("big", {"mimeType": "text/html", "body": {"data": "QUJD" * (30 << 20)}})}
    if case == "a million parts":
        return {
            "big": lambda: mail(
                "big", {"mimeType": "multipart/mixed", "parts": [{"partId": "1"}] * 1_000_000}
            )
        }
    if case == "a million headers":
        return {"big": lambda: mail("big", {"headers": [{"name": "To", "value": "a@b"}] * 1_000_000})}
    if case == "a response of 200 MB":
        return {"big": lambda: mail("big", {"body": {"data": "QUJD" * (50 << 20)}})}
    return {"big": lambda: mail("big", {"body": {"data": "QUJD" * (500 << 18)}})}


def check(case: str, stored: dict[str, dict[str, Any]]) -> None:
    """Check that the stored rows equal the sent messages."""
    for name, message in stored.items():
        if name.startswith("big"):
            payload = message["payload"]
            sent = json.loads(big(case)[name]())["payload"]  # type: ignore[operator]
            assert len(payload["parts"] or ()) == len(sent.get("parts", ()))
            assert [one["value"] for one in payload["headers"] or ()] == [
                one["value"] for one in sent.get("headers", ())
            ]
            assert ((payload["body"] or {}).get("data")) == sent.get("body", {}).get("data")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_big_hostile_messages_are_stored_or_recorded_in_bounded_memory(tmp_path: Path, case: str) -> None:
    root = str(Path(__file__).parents[2])
    code = BIG.format(root=root, case=case, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    lands, most = CASES[case]
    expected = set(big(case))
    assert set(found["recorded"]) == (set() if lands else expected)
    assert set(found["stored"]) == {"a0", "a1", "a2"} | (expected if lands else set())
    assert found["peak_mb"] <= most
    assert found["requests"] <= 6
    for reason in found["recorded"].values():
        assert f"larger than {MAX_BODY_BYTES >> 20} MB" in reason


def test_a_compressed_response_is_read_like_any_other(tmp_path: Path) -> None:
    packed = gzip.compress(mail("z"))
    gmail = HostileGmail({**ordinary(), "z": packed}, headers={"z": {"Content-Encoding": "gzip"}})
    stored, recorded = load(gmail, tmp_path)
    assert "z" in stored
    assert recorded == {}
