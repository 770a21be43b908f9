"""Label changes in a large mailbox, recent ones and scattered ones, in both tables: CPU, memory and rewritten files.

    python -m benchmarks.changes [--messages 100000] [--mean-kb 15] [--others 0]

It is measured with `threads` as Gmail returns them, and with threads without bodies (`format: minimal`). The emulator
and each measured sync run in separate processes. With `--others`, this many unchanged mailboxes are in the tables.
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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.first_load import cpu_seconds, peak_mb

if TYPE_CHECKING:
    from gmail_client.emulator import EmulatorProcess
    from gmail_client.options import MessageFormat
    from gmail_client.spec import SpecTable

FORMATS: tuple[MessageFormat, ...] = ("full", "minimal")
_TABLES = ("messages", "threads")


def specs(threads_format: str) -> list[SpecTable]:
    """Both tables, with this format of `threads`."""
    from gmail_client.spec import SpecTable

    configuration = {"table_configuration": {"format": threads_format}}
    return [SpecTable(source_table="messages"), SpecTable.parse({"source_table": "threads", **configuration})]


def sync_once(folder: str, threads_format: str) -> None:
    """The work of a measured process."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.maintenance import Upkeep
    from gmail_assets.syncing import sync
    from gmail_client.client import GmailClient

    mailbox = GmailClient.from_settings().mailbox()
    upkeep = Upkeep(small_files=0, retention=None)
    results = sync(mailbox, Lake(folder), specs(threads_format), upkeep=upkeep)
    found = {
        "cpu": cpu_seconds(),
        "peak_mb": peak_mb(),
        "units": results["messages"].units,
        "changed": {name: result.rows_updated for name, result in results.items()},
    }
    print(json.dumps(found))


def measured(folder: str, threads_format: str, environment: dict[str, str]) -> dict[str, Any]:
    """One sync in a separate process, and the files that it wrote."""
    command = [sys.executable, "-m", "benchmarks.changes", "--sync", folder, threads_format]
    before = {name: files(folder, name) for name in _TABLES}
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True, timeout=7200
    )
    result: dict[str, Any] = json.loads(done.stdout)
    for name in _TABLES:
        now = files(folder, name)
        new = now.keys() - before[name].keys()
        result[name] = (len(new), len(now), sum(now[path] for path in new) / 1e6)
    return result


def files(folder: str, name: str) -> dict[str, int]:
    """Sizes of a table's files, by path."""
    from gmail_assets.delta.lake import Lake

    return {file.path: file.size for file in Lake(folder).table(name).files()}


def stored_ids(folder: str) -> list[str]:
    """Ids of the mailbox's messages, oldest first."""
    import pyarrow as pa

    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.scan import read_columns
    from gmail_client.schema import SCHEMAS

    table = Lake(folder).table("messages")
    address = max(table.sums().items(), key=lambda entry: entry[1])[0]
    schema = pa.schema([SCHEMAS["messages"].field("id")])
    return sorted(read_columns(table, address, ["id"], schema)["id"].to_pylist())


def fill(folder: str, messages: int, mean_kb: float, threads_format: MessageFormat = "full") -> None:
    """Write the emulator's mailbox into the tables without reading it: its ids and labels, and content from a pool.

    A load through the API would take hours with Gmail's quota and half an hour with the emulator; only the syncs after
    the load are measured.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, keep_up
    from gmail_assets.syncing.chunk import Chunk, projected
    from gmail_assets.syncing.planner import open_table
    from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
    from gmail_client.client import GmailClient
    from gmail_client.emulator import Emulator
    from gmail_client.fetch import FetchedThread
    from gmail_client.schema import SCHEMAS, message_array

    mailbox = GmailClient.from_settings().mailbox()
    head = int(mailbox.api.profile()["historyId"])
    twin = Emulator(messages=messages, seed=1, mean_json_kb=mean_kb)
    pool: list[dict[str, object]] = []
    for page in mailbox.api.list_messages():
        calls = [mailbox.api.message_call(item["id"]) for item in page]
        pool += [answer.json for answer in mailbox.api.get_many(calls) if answer.json]
        if len(pool) >= 2_000:
            break
    content = message_array(pool)
    lake = Lake(folder)
    parts = [open_table(lake, spec, mailbox.address).partition for spec in specs(threads_format)]
    for part in parts:
        part.commit(part.state.loading(head))
    threads = [
        thread
        for thread in twin.mailbox().store.threads.values()
        if any(not m.hidden for m in thread.members)
    ]
    threads.sort(key=lambda thread: thread.id, reverse=True)
    twin.stop()
    batch: list[Any] = []
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
        last = index == len(threads) - 1
        chunk = Chunk([FetchedThread("", messages=[{"id": m.id} for _, m in members])], array)
        rows = chunk.rows(list(range(len(members))))
        parts[0].append(rows, parts[0].state.synced(head, int(time.time())) if last else None)
        at = 0
        edits = []
        for t in batch:
            count = sum(1 for m in t.members if not m.hidden)
            edits.append(ThreadEdit(t.id, put=list(range(at, at + count)), history_id=t.history_id))
            at += count
        if threads_format != "full":
            array = projected(array, threads_format)
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


def changes_of(gmail: EmulatorProcess, ids: Sequence[str]) -> None:
    """Star messages, or remove the star."""
    mailbox = gmail.mailbox()
    for message_id in ids:
        starred = "STARRED" in mailbox.write("label_ids", message_id=message_id)
        add, remove = ([], ["STARRED"]) if starred else (["STARRED"], [])
        mailbox.write("modify", message_id=message_id, add=add, remove=remove)


def section(messages: int = 100_000, mean_kb: float = 15.0, others: int = 0) -> list[str]:
    """Measure all changes, and return them as Markdown."""
    from gmail_client.emulator import EmulatorProcess  # not in the measured processes

    lines = [
        "| label changes | bodies in `threads` | CPU s | peak MB | files written | MB written |",
        "|---|---|---:|---:|---:|---:|",
    ]
    sizes = {}
    with (
        EmulatorProcess(messages=messages, seed=1, mean_json_kb=mean_kb) as gmail,
        tempfile.TemporaryDirectory(prefix="changes-") as folder,
    ):
        environment = {**gmail.environment(), "GMAIL_QUOTA": "1200000"}
        os.environ.update(environment)
        for format_ in FORMATS:
            fill(f"{folder}/{format_}", messages, mean_kb, format_)
            sizes[format_] = {name: sum(files(f"{folder}/{format_}", name).values()) for name in _TABLES}
            print(f"{format_} threads: {sizes[format_]} bytes", flush=True)
            add_others(f"{folder}/{format_}", others)
        ids = stored_ids(f"{folder}/full")
        rng = random.Random(1)
        for what, chosen in (
            ("none", []),
            ("the 10 newest messages", ids[-10:]),
            ("the 100 newest messages", ids[-100:]),
            ("10 messages of all ages", rng.sample(ids, 10)),
            ("100 messages of all ages", rng.sample(ids, 100)),
            ("1,000 messages of all ages", rng.sample(ids, min(1_000, len(ids)))),
            ("10,000 messages of all ages", rng.sample(ids, min(10_000, len(ids)))),
        ):
            changes_of(gmail, chosen)
            for format_ in FORMATS:
                result = measured(f"{folder}/{format_}", format_, environment)
                written = [result[name] for name in _TABLES]
                lines.append(
                    f"| {what} | {'yes' if format_ == 'full' else 'no'} | {result['cpu']:.1f} | "
                    f"{result['peak_mb']:,.0f} | {' + '.join(f'{new} of {all_}' for new, all_, _ in written)} | "
                    f"{' + '.join(f'{size:.1f}' for *_, size in written)} |"
                )
                print(lines[-1], flush=True)
    about = (
        f"One sync of both tables, of a mailbox of {messages:,} messages, start-up included, each once. Files and "
        f"megabytes: of `messages`, then of `threads`. On disk, `messages` has "
        f"{sizes['full']['messages'] / 1e6:,.0f} MB, `threads` {sizes['full']['threads'] / 1e6:,.0f} MB, and without "
        f"bodies {sizes['minimal']['threads'] / 1e6:,.0f} MB. A sync rewrites the files that contain a change one by "
        "one, so memory does not grow with the number of changes ([storage](storage.md))."
    )
    return [about, "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--mean-kb", type=float, default=15.0)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--sync", nargs=2, metavar=("FOLDER", "FORMAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sync:
        sync_once(*arguments.sync)
        return
    print("\n".join(section(arguments.messages, arguments.mean_kb, arguments.others)))


if __name__ == "__main__":
    main()
