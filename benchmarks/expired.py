"""An expired history: the cost of a reconciliation with a listing, compared with a full load.

    python -m benchmarks.expired [--messages 50000]

Units are counted by the emulator; those of the sampled threads are reported separately.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile

from benchmarks.changes import fill


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=50_000)
    arguments = parser.parse_args()
    from gmail_assets.delta.lake import Lake
    from gmail_assets.syncing import sync
    from gmail_client.client import GmailClient
    from gmail_client.emulator import Emulator
    from gmail_client.spec import Spec

    with tempfile.TemporaryDirectory() as folder, Emulator(messages=arguments.messages, seed=1) as gmail:
        os.environ.update({**gmail.environment(), "GMAIL_QUOTA": "1200000"})
        fill(folder, arguments.messages, 15.0)
        mailbox = gmail.mailbox()
        sizes = [sum(not m.hidden for m in thread.members) for thread in mailbox.store.threads.values()]
        full = sum(min(20 * size, 40) for size in sizes)
        print(f"{len(mailbox.message_ids()):,} messages; a full load takes {full:,} units and the listings")
        client = GmailClient.from_settings()
        for share in (0.0, 0.01):
            threads = [t for t in mailbox.store.threads.values() if any(not m.hidden for m in t.members)]
            chosen = random.Random(1).sample(threads, int(len(threads) * share))
            for thread in chosen:
                mailbox.modify_thread(thread.id, ["STARRED"], ["UNREAD"])
            gmail.expire_history()
            gmail.usage.reset()
            results = sync(client.mailbox(), Lake(folder), Spec.default().tables[:2])
            gets = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
            listings = gmail.usage.total_units - gets
            print(
                f"{share:.0%} of the threads changed: {listings:,} units for listings and {gets:,} for labels "
                f"(a sample of 20 threads included), {(listings + gets) / full:.2%} of a full load; "
                f"content read of {gmail.usage.fetched} messages; {results['messages'].rows_updated} rows changed"
            )


if __name__ == "__main__":
    main()
