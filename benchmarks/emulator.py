"""How fast the emulator serves: listing, batches of 20 and 50, single gets, and its memory.

    python benchmarks/emulator.py [--messages 50000] [--gets 1000]

The client does as little as possible (http.client, no JSON parsing), so that the server is measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from gmail_client.emulator import EmulatorProcess


class Client:
    def __init__(self, emulator: EmulatorProcess) -> None:
        self._headers = {"Authorization": f"Bearer {emulator.access_token()}", "User-Agent": "bench"}
        parts = urlsplit(emulator.url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)

    def request(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        self._connection.request(verb, path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{verb} {path}: {answer.status} {content[:300]!r}")
        return content

    def listing(self, table: str) -> list[str]:
        ids: list[str] = []
        token = None
        while True:
            query = {"maxResults": 500, **({"pageToken": token} if token else {})}
            page = json.loads(self.request("GET", f"/gmail/v1/users/me/{table}?{urlencode(query)}"))
            ids += [item["id"] for item in page.get(table, [])]
            token = page.get("nextPageToken")
            if not token:
                return ids

    def batch(self, paths: list[str]) -> int:
        parts = [
            f"--b\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\nGET {path}\r\n\r\n"
            for number, path in enumerate(paths)
        ]
        body = ("".join(parts) + "--b--").encode()
        answer = self.request(
            "POST", "/batch/gmail/v1", body, **{"Content-Type": "multipart/mixed; boundary=b"}
        )
        if answer.count(b"HTTP/1.1 200 OK") != len(paths):
            raise RuntimeError("a part of a batch failed")
        return len(answer)


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def batches(emulator: EmulatorProcess, name: str, ids: list[str], size: int, threads: int) -> None:
    paths = [f"/gmail/v1/users/me/messages/{message_id}" for message_id in ids]
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    total = [0] * threads

    def work(number: int) -> None:
        client = Client(emulator)
        for chunk in chunks[number::threads]:
            total[number] += client.batch(chunk)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    print(
        f"{name}: {len(ids) / seconds:,.0f} full messages/s, {sum(total) / seconds / 1e6:.1f} MB/s, "
        f"{sum(total) / len(ids) / 1024:.1f} KB each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--gets", type=int, default=1_000)
    options = parser.parse_args()
    began = time.perf_counter()
    with EmulatorProcess(messages=options.messages) as emulator:
        print(f"start with {options.messages:,} messages: {time.perf_counter() - began:.1f} s")
        print(f"memory: {resident_mb(emulator.pid):,.0f} MB")
        client = Client(emulator)
        began = time.perf_counter()
        ids = client.listing("messages")
        print(f"messages.list: {len(ids) / (time.perf_counter() - began):,.0f} ids/s")
        began = time.perf_counter()
        threads = client.listing("threads")
        print(f"threads.list: {len(threads) / (time.perf_counter() - began):,.0f} ids/s")
        stride = max(1, len(ids) // 5_000)
        sample = ids[::stride][:5_000]
        batches(emulator, "100 batches of 20, 2 connections", sample[:2_000], 20, 2)
        batches(emulator, "40 batches of 50, 2 connections", sample[2_000:4_000], 50, 2)
        batches(emulator, "the same 2,000 again", sample[2_000:4_000], 50, 2)
        began = time.perf_counter()
        gets = sample[-options.gets :]
        for message_id in gets:
            client.request("GET", f"/gmail/v1/users/me/messages/{message_id}")
        print(f"single gets, 1 connection: {len(gets) / (time.perf_counter() - began):,.0f} messages/s")
        print(f"memory: {resident_mb(emulator.pid):,.0f} MB")


if __name__ == "__main__":
    main()
