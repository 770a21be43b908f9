"""Change capture on a large mailbox: 100 label changes, recent ones and scattered ones, into both tables.

    python -m benchmarks.changes [--messages 500000] [--mean-kb 15] [--lake FOLDER] [--others 100]

The emulator and each measured sync run in separate processes. A lake in FOLDER that already contains the mailbox is
reused. With `--others`, the measurement is repeated with this many unchanged mailboxes in the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from benchmarks.first_load import peak_mb


def sync_once(folder: str) -> None:
    """The work of a measured process."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.maintenance import Upkeep
    from gmail_assets.syncing import sync
    from gmail_client.client import GmailClient
    from gmail_client.spec import Spec

    mailbox = GmailClient.from_settings().mailbox()
    started = time.monotonic()
    results = sync(
        mailbox, Lake(folder), Spec.default().tables[:2], upkeep=Upkeep(small_files=0, retention=None)
    )
    tables = {name: [r.mode, r.rows_written, r.rows_updated, r.rows_deleted] for name, r in results.items()}
    units = results["messages"].units
    print(
        json.dumps(
            {"seconds": time.monotonic() - started, "peak_mb": peak_mb(), "units": units, "tables": tables}
        )
    )


def measured(folder: str, environment: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.changes", "--sync", folder]
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True, timeout=7200
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def fill(folder: str, messages: int, mean_kb: float) -> None:
    """Write the emulator's mailbox into the tables without reading it: its ids and labels, and content from a pool.

    A load through the API would take hours with Gmail's quota and half an hour with the emulator; only the syncs after
    the load are measured.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, keep_up
    from gmail_assets.syncing.chunk import Chunk
    from gmail_assets.syncing.planner import open_table
    from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
    from gmail_client.client import GmailClient
    from gmail_client.emulator import Emulator
    from gmail_client.fetch import FetchedThread
    from gmail_client.schema import SCHEMAS
    from gmail_client.spec import Spec

    mailbox = GmailClient.from_settings().mailbox()
    head = int(mailbox.api.profile()["historyId"])
    twin = Emulator(messages=messages, seed=1, mean_json_kb=mean_kb)
    pool: list[dict[str, object]] = []
    for page in mailbox.api.list_messages():
        calls = [mailbox.api.message_call(item["id"]) for item in page]
        pool += [answer.json for answer in mailbox.api.get_many(calls) if answer.json]
        if len(pool) >= 2_000:
            break
    content = Chunk([FetchedThread("", messages=pool)]).array
    lake = Lake(folder)
    parts = [open_table(lake, spec, mailbox.address).partition for spec in Spec.default().tables[:2]]
    for part in parts:
        part.commit(part.state.loading(head))
    threads = [
        thread
        for thread in twin.mailbox().store.threads.values()
        if any(not m.hidden for m in thread.members)
    ]
    threads.sort(key=lambda thread: thread.id, reverse=True)
    twin.stop()
    batch: list[object] = []
    for index, thread in enumerate(threads):
        batch.append(thread)
        if len(batch) < 1_000 and index < len(threads) - 1:
            continue
        members = [(t, m) for t in batch for m in t.members if not m.hidden]
        array = content.take(pa.array([n % len(content) for n in range(len(members))], pa.int64()))
        own = {
            "id": [m.id for _, m in members],
            "threadId": [t.id for t, _ in members],
            "labelIds": [list(m.label_ids) for _, m in members],
            "historyId": [str(m.history_id) for _, m in members],
            "internalDate": [str(m.internal_date_ms) for _, m in members],
        }
        kind = array.type
        columns = [
            pa.array(own[f.name], f.type) if f.name in own else pc.struct_field(array, f.name) for f in kind
        ]
        array = pa.StructArray.from_arrays(columns, fields=list(kind))
        history = pc.cast(columns[kind.get_field_index("historyId")], pa.int64())
        last = index == len(threads) - 1
        rows = pa.Table.from_arrays([*columns, history], schema=SCHEMAS["messages"])
        parts[0].append(rows, parts[0].state.synced(head, int(time.time())) if last else None)
        at = 0
        edits = []
        for t in batch:
            count = sum(1 for m in t.members if not m.hidden)
            edits.append(ThreadEdit(t.id, put=list(range(at, at + count)), history_id=t.history_id))
            at += count
        rebuilt, _ = rebuild(SCHEMAS["threads"].empty_table(), edits, array)
        parts[1].append(rebuilt, parts[1].state.synced(head, int(time.time())) if last else None)
        batch = []
    for part in parts:
        keep_up(part.table, mailbox.address, DEFAULT_UPKEEP)


def add_others(folder: str, others: int, rows: int = 500) -> None:
    """Put unchanged mailboxes into both tables."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.partition import MailboxPartition

    lake = Lake(folder)
    for name in ("messages", "threads"):
        table = lake.table(name)
        owner = table.mailboxes()[0]
        some = MailboxPartition(table, owner, "all", "full").members()["id"].to_pylist()[:rows]
        content = MailboxPartition(table, owner, "all", "full").rows(some).drop_columns(["mailbox"])
        for index in range(others):
            MailboxPartition(lake.table(name), f"other{index}@example.test", "all", "full").append(content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--mean-kb", type=float, default=15.0)
    parser.add_argument("--lake", default=None)
    parser.add_argument("--others", type=int, default=100)
    parser.add_argument("--sync", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sync:
        sync_once(arguments.sync)
        return
    from gmail_client.emulator import EmulatorProcess  # not in the measured processes

    folder = arguments.lake or tempfile.mkdtemp(prefix="changes-")
    with EmulatorProcess(messages=arguments.messages, seed=1, mean_json_kb=arguments.mean_kb) as gmail:
        environment = {**gmail.environment(), "GMAIL_QUOTA": "1200000"}
        print(
            f"{'what':<28} {'seconds':>8} {'peak MB':>8} {'units':>10}  tables: how, new, changed, removed",
            flush=True,
        )

        def show(what: str, result: dict[str, object]) -> None:
            print(
                f"{what:<28} {result['seconds']:>8.1f} {result['peak_mb']:>8.0f} {result['units']:>10,}  "
                f"{result['tables']}",
                flush=True,
            )

        if not (Path(folder) / "threads").exists():
            os.environ.update(environment)
            fill(folder, arguments.messages, arguments.mean_kb)
        show("nothing to do", measured(folder, environment))
        root = f"{gmail.url}/gmail/v1/users/me"
        token = requests.post(
            f"{gmail.url}/token",
            data={
                "grant_type": "refresh_token",
                "client_id": environment["GMAIL_CLIENT_ID"],
                "client_secret": environment["GMAIL_CLIENT_SECRET"],
                "refresh_token": environment["GMAIL_REFRESH_TOKEN"],
            },
            timeout=60,
        ).json()["access_token"]
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"

        from gmail_assets.delta.lake import Lake
        from gmail_assets.delta.partition import MailboxPartition

        table = Lake(folder).table("messages")
        ids = sorted(MailboxPartition(table, gmail.addresses[0], "all", "full").members()["id"].to_pylist())
        rng = random.Random(1)

        def change(chosen: list[str]) -> None:
            for message_id in chosen:
                carried = session.get(
                    f"{root}/messages/{message_id}", params={"format": "minimal"}, timeout=60
                ).json()
                starred = "STARRED" in carried.get("labelIds", [])
                body = {"removeLabelIds" if starred else "addLabelIds": ["STARRED"]}
                session.post(f"{root}/messages/{message_id}/modify", json=body, timeout=60).raise_for_status()

        for others in (0, arguments.others) if arguments.others else (0,):
            if others:
                add_others(folder, others)
            suffix = f", {others} others" if others else ""
            change(ids[-100:])
            show(f"100 recent{suffix}", measured(folder, environment))
            change(rng.sample(ids, 100))
            show(f"100 scattered{suffix}", measured(folder, environment))


if __name__ == "__main__":
    main()
