"""A Gmail API server on loopback, for the demo, the tests and the benchmarks.

    with Emulator(messages=200, seed=1) as gmail:
        ...  # gmail.url, gmail.environment(), gmail.mailbox(), gmail.truth("messages")

`python -m gmail_client.emulator` starts it from the command line; docs/emulator.md describes it.
"""

from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.counters import RequestCounters
from gmail_client.emulator.emulator import Emulator
from gmail_client.emulator.faults import Fault, Faults
from gmail_client.emulator.http.server import PortTakenError
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.process import EmulatorProcess
from gmail_client.emulator.quota import Quota

__all__ = [
    "ApiError",
    "Behavior",
    "EmulatedMailbox",
    "Emulator",
    "EmulatorProcess",
    "Fault",
    "Faults",
    "PortTakenError",
    "Quota",
    "RequestCounters",
]
