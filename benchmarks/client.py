"""The cost of the client: CPU per full message in batches and singly, and the share of a quota that it uses.

    python -m benchmarks.client [--messages 2000] [--minutes 5] [--scale 20]

The emulator runs in a separate process for the CPU figures and in this one for the quota, where both share a clock.
"""

from __future__ import annotations

import argparse
import time
from itertools import count

from gmail_client.api import GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, EmulatorProcess, Fault
from gmail_client.http.clock import SYSTEM_CLOCK, Clock, ScaledClock
from gmail_client.quota import QuotaPlan, preset

ROUNDS = 5


def connected(gmail: Emulator | EmulatorProcess, quota: QuotaPlan, clock: Clock = SYSTEM_CLOCK) -> GmailApi:
    variables = gmail.environment()
    credentials = Credentials.of(
        client_id=variables["GMAIL_CLIENT_ID"],
        client_secret=variables["GMAIL_CLIENT_SECRET"],
        refresh_token=variables["GMAIL_REFRESH_TOKEN"],
    )
    client = GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url, quota=quota, clock=clock)
    return client.mailbox().api


def ids_of(api: GmailApi) -> list[str]:
    return [item["id"] for page in api.list_messages(include_spam_trash=True) for item in page]


def cpu(name: str, api: GmailApi, ids: list[str]) -> None:
    """The best of several rounds, because other processes share the machine."""
    best = float("inf")
    fastest = 0.0
    before = api.usage.snapshot()
    for _ in range(ROUNDS):
        began, spent = time.perf_counter(), time.process_time()
        for answer in api.get_many(map(api.message_call, ids)):
            assert answer.error is None
        best = min(best, time.process_time() - spent)
        fastest = max(fastest, len(ids) / (time.perf_counter() - began))
    size = api.usage.since(before).total_bytes / len(ids) / ROUNDS / 1000
    print(
        f"{name}: {best / len(ids) * 1000:.2f} ms of CPU per message of {size:.1f} kB, {fastest:,.0f} messages/s"
    )


def quota(name: str, minutes: float, scale: float) -> None:
    clock = ScaledClock(scale)
    with Emulator(messages=500, quota=name, clock=clock) as gmail:
        api = connected(gmail, preset(name), clock)
        ids = ids_of(api)
        start, before = clock.time(), api.usage.snapshot()
        for _ in api.get_many(api.message_call(ids[number % len(ids)]) for number in count()):
            if clock.time() >= start + minutes * 60:
                break
        allowed = preset(name).user_per_minute * (clock.time() - start) / 60
        refused = sum(sum(statuses.values()) for statuses in gmail.usage.errors.values())
        share = api.usage.since(before).total_units / allowed
        print(
            f"quota {name}, time {scale:g} times as fast: {share:.1%} of the units used, {refused} calls refused"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--scale", type=float, default=20)
    options = parser.parse_args()
    with EmulatorProcess(messages=options.messages) as gmail:
        api = connected(gmail, preset(1_200_000))
        ids = ids_of(api)
        cpu("batches", api, ids)
        gmail.add_fault(Fault(method="batch", status=503))
        cpu("singly, with the batch endpoint down", connected(gmail, preset(1_200_000)), ids[:500])
    for name in ("current", "600"):
        quota(name, options.minutes, options.scale)


if __name__ == "__main__":
    main()
