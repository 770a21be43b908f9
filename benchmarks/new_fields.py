"""The cost of fields that Gmail adds to its API: CPU per message from the response to the row, with and without them.

    python -m benchmarks.new_fields [--messages 1500] [--rounds 5]

The cases alternate in one process, so that other processes on the machine slow all of them. The emulator runs in a
separate process.
"""

from __future__ import annotations

import argparse
import logging
import time
from typing import Any

from benchmarks.client import connected, ids_of
from gmail_client.api import GmailApi
from gmail_client.emulator import EmulatorProcess, Fault
from gmail_client.quota import preset
from gmail_client.schema import to_batch

CASES: dict[str, dict[str, Any]] = {
    "no new field": {},
    "text in each message": {"Message": {"mood": "good"}},
    "object in each message": {"Message": {"mood": {"is": ["good", 1]}}},
    "text in each part": {"MessagePart": {"language": "en"}},
    "text in each header": {"MessagePartHeader": {"language": "en"}},
    "number in another type": {"Message": {"sizeEstimate": "about 5 KB"}},
}


def spent(api: GmailApi, ids: list[str]) -> float:
    """CPU seconds of reading the messages into a record batch."""
    began = time.process_time()
    rows = [answer.json for answer in api.get_many(map(api.message_call, ids)) if answer.json is not None]
    assert to_batch("messages", rows).num_rows == len(ids)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with EmulatorProcess(messages=arguments.messages, quota="none") as gmail:
        api = connected(gmail, preset(1_200_000))
        ids = ids_of(api)
        spent(api, ids)
        best = dict.fromkeys(CASES, float("inf"))
        for _ in range(arguments.rounds):
            for name, patch in CASES.items():
                gmail.clear_faults()
                if patch:
                    gmail.add_fault(Fault("messages.get", kind="add-fields", patch=patch))
                best[name] = min(best[name], spent(api, ids))
    without = best["no new field"]
    for name, seconds in best.items():
        print(f"{name}: {seconds / len(ids) * 1000:.3f} ms of CPU per message, {seconds / without:.2f} times")


if __name__ == "__main__":
    main()
