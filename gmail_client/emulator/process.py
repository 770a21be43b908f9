"""The emulator in a separate process, for benchmarks: `EmulatorProcess`, with most of the methods of `Emulator`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import requests

from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.faults import Fault
from gmail_client.emulator.mailbox.journal import encode_arguments
from gmail_client.http.clock import SYSTEM_CLOCK, Clock, ScaledClock

__all__ = ["EmulatorProcess", "RemoteMailbox"]

PathLike = str | os.PathLike[str]


class RemoteMailbox:
    """A mailbox in another process: `write(name, **arguments)` calls a method of its `EmulatedMailbox`."""

    def __init__(self, process: EmulatorProcess, address: str) -> None:
        self.address = address
        self._process = process

    def write(self, operation: str, **arguments: Any) -> Any:
        """Call a method of `EmulatedMailbox` by name, with keyword arguments, and return its result.

        Raises:
            RuntimeError: The call failed; the message is the emulator's response.
        """
        body = {
            "mailbox": self.address,
            "operation": operation,
            "arguments": encode_arguments(arguments),
        }
        result = self._process.post("write", body)["result"]
        return result.encode("latin-1") if operation == "random_mail" else result


class EmulatorProcess:
    """Starts and stops `python -m gmail_client.emulator`.

    The arguments are those of `Emulator`, and `project_quota`: units per minute of all mailboxes together.

    The other process ends with this one, even if this one is killed. The clock is the system's or a `ScaledClock` that
    has not been used yet.

    Raises:
        RuntimeError: The process did not start; the message is its output.
    """

    def __init__(
        self,
        mailboxes: int = 1,
        messages: int = 200,
        seed: int = 1,
        *,
        mean_json_kb: float = 15.0,
        quota: str | int = "none",
        project_quota: int | None = None,
        latency_ms: float = 0,
        clock: Clock = SYSTEM_CLOCK,
        behavior: Behavior | None = None,
        journal: PathLike | None = None,
        eml: Iterable[PathLike] = (),
        mbox: Iterable[PathLike] = (),
        maildir: Iterable[PathLike] = (),
        port: int = 0,
        service_account_file: PathLike | None = None,
    ) -> None:
        command = [sys.executable, "-m", "gmail_client.emulator", "--json", "--end-with-input"]
        command += ["--mailboxes", str(mailboxes), "--messages", str(messages), "--seed", str(seed)]
        command += ["--mean-kb", str(mean_json_kb), "--quota", str(quota)]
        if project_quota is not None:
            command += ["--project-quota", str(project_quota)]
        command += ["--latency-ms", str(latency_ms), "--port", str(port)]
        if isinstance(clock, ScaledClock):
            command += ["--time-scale", str(clock.factor)]
        for word in (behavior or Behavior()).words():
            command += ["--behavior", word]
        for name, value in (("--journal", journal), ("--service-account-file", service_account_file)):
            if value is not None:
                command += [name, os.fspath(value)]
        for name, paths in (("--eml", eml), ("--mbox", mbox), ("--maildir", maildir)):
            for path in paths:
                command += [name, os.fspath(path)]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            _, output = self._process.communicate()
            raise RuntimeError(output.strip() or f"the emulator ended with {self._process.returncode}")
        announced = json.loads(line)
        self.url: str = announced["url"]
        self.addresses: list[str] = announced["addresses"]
        self._environment: dict[str, str] = announced["environment"]
        self._session = requests.Session()
        self._session.trust_env = False
        # The server closes idle connections, possibly at the moment of a request.
        self._session.headers["Connection"] = "close"

    def __enter__(self) -> EmulatorProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The environment variables with which the product reads its first mailbox."""
        return dict(self._environment)

    def mailbox(self, address: str | None = None) -> RemoteMailbox:
        """A mailbox to write to."""
        return RemoteMailbox(self, address or self.addresses[0])

    def usage(self) -> dict[str, Any]:
        """The counters as a JSON object, see `RequestCounters.as_json`."""
        return dict(self.get("usage"))

    def reset_usage(self) -> None:
        """Reset the counters."""
        self.post("usage/reset", {})

    def add_fault(self, fault: Fault) -> None:
        """Add a fault."""
        self.post("faults", fault.as_json())

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.post("faults/clear", {})

    def truth(
        self,
        table: str,
        address: str | None = None,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        format: str = "full",
    ) -> list[dict[str, Any]]:
        """The rows that a table must have now, as `Emulator.truth`."""
        query: dict[str, Any] = {"table": table, "labelIds": list(label_ids), "format": format}
        query["includeSpamTrash"] = str(include_spam_trash).lower()
        if address:
            query["mailbox"] = address
        if q:
            query["q"] = q
        return list(self.get("truth", query))

    def access_token(
        self, address: str | None = None, scopes: Sequence[str] | None = None, expires_in: float = 3600
    ) -> str:
        """An access token for a mailbox."""
        body = {"mailbox": address, "scopes": list(scopes or ()), "expires_in": expires_in}
        return str(self.post("token", body)["access_token"])

    def expire_history(self, address: str | None = None, *, upto: str | int | None = None) -> None:
        """Drop old history records of a mailbox, as `Emulator.expire_history`."""
        self.post("expire", {"mailbox": address, "upto": upto})

    def revoke_tokens(self, address: str | None = None) -> None:
        """Revoke all refresh and access tokens of a mailbox."""
        self.post("revoke", {"mailbox": address})

    def time(self) -> float:
        """The current time of the emulator's clock."""
        return float(self.get("time")["time"])

    def get(self, action: str, query: dict[str, Any] | None = None) -> Any:
        """GET an admin route."""
        return self._checked(self._session.get(f"{self.url}/_emulator/{action}", params=query, timeout=300))

    def post(self, action: str, body: dict[str, Any]) -> Any:
        """POST to an admin route."""
        return self._checked(self._session.post(f"{self.url}/_emulator/{action}", json=body, timeout=300))

    @staticmethod
    def _checked(response: requests.Response) -> Any:
        if response.status_code != 200:
            raise RuntimeError(f"the emulator answered {response.status_code}: {response.text}")
        return response.json()

    def stop(self) -> None:
        """End the process."""
        self._session.close()
        self._process.terminate()
        self._process.communicate(timeout=20)
