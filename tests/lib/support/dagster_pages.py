"""The pages of the Dagster UI that a user of the demo needs: `PAGES`, with the texts that each has to show.

The browser test looks for the texts, and scripts/screenshots.py takes the screenshots of the documentation.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from support.chromium import Chromium

__all__ = ["DEMO", "FAILURE", "PAGES", "DagsterUi", "Page", "demo_ui"]

DEMO = [sys.executable, "-m", "gmail_assets.demo"]
"""The command behind `make demo` and `make ui`."""

_REPOSITORY = "__repository__@gmail"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DagsterUi:
    """A running webserver and the mailbox of its demo.

    Attributes:
        root: URL of the webserver.
        mailbox: Address of the mailbox.
    """

    root: str
    mailbox: str

    @property
    def location(self) -> str:
        """URL of the code location's pages."""
        return f"{self.root}/locations/{_REPOSITORY}"

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute a query and return its data."""
        answer = requests.post(
            f"{self.root}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, run_config: dict[str, Any]) -> str:
        """Launch a run of a job for the mailbox, wait for its end and return its id."""
        launched = self.graphql(
            """mutation Launch($params: ExecutionParams!) {
              launchRun(executionParams: $params) {
                __typename
                ... on LaunchRunSuccess { run { runId } }
                ... on PythonError { message }
              }
            }""",
            params={
                "selector": {
                    "repositoryLocationName": "gmail",
                    "repositoryName": "__repository__",
                    "jobName": job,
                },
                "runConfigData": run_config,
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": self.mailbox}]},
            },
        )["launchRun"]
        run_id = str(launched["run"]["runId"])
        until = time.monotonic() + 2 * _SECONDS
        while self.status(run_id) not in ("SUCCESS", "FAILURE", "CANCELED"):
            assert time.monotonic() < until, self.status(run_id)
            time.sleep(0.5)
        return run_id

    def status(self, run_id: str) -> str:
        """Status of a run."""
        query = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        return str(self.graphql(query, id=run_id)["runOrError"]["status"])


@contextmanager
def demo_ui(folder: Path) -> Iterator[DagsterUi]:
    """Start what `make ui` starts for the demo in this folder; stop it at the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*DEMO, "ui", "--port", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        shown = []
        for line in process.stdout:
            shown.append(line)
            if line.startswith("Ready"):
                break
        else:
            raise RuntimeError("Dagster did not start: " + "".join(shown))
        mailbox = next(word for word in "".join(shown).split() if "@" in word)
        yield DagsterUi(f"http://127.0.0.1:{port}", mailbox)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout.close()


def _show_plots(browser: Chromium) -> None:
    for name in ("Plots", "Events"):
        browser.run(
            "[...document.querySelectorAll('button')].filter(button => button.innerText.trim() === "
            f"'{name}').forEach(button => button.click())"
        )
        time.sleep(1)
    browser.run(
        "[...document.querySelectorAll('*')].filter(element => element.innerText === 'Metadata').at(-1)"
        ".scrollIntoView()"
    )


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        name: Name of its screenshot.
        url: Address, with `{ui}` (the `DagsterUi`) and `{mailbox}`.
        texts: The texts that it has to show.
        prepare: Called with the browser before the screenshot.
        height: Height of the screenshot in pixels.
    """

    name: str
    url: str
    texts: Sequence[str]
    prepare: Callable[[Chromium], None] | None = None
    height: int = 1000

    def open(self, browser: Chromium, ui: DagsterUi) -> None:
        """Open the page and wait until it shows everything.

        Raises:
            TimeoutError: It does not show one of the texts.
        """
        browser.open(self.url.format(ui=ui, mailbox=quote(ui.mailbox)))
        for text in self._expected(ui):
            browser.wait_for(text, _SECONDS)
        browser.wait_while("Loading", _SECONDS)
        if self.prepare is not None:
            self.prepare(browser)

    def _expected(self, ui: DagsterUi) -> Iterator[str]:
        for text in self.texts:
            yield text.format(mailbox=ui.mailbox)


_TABLES = (
    "messages",
    "threads",
    "labels",
    "drafts",
    "filters",
    "profile",
    "settings",
    "send_as",
    "delegates",
)
_VIEWS = ("emails", "message_labels", "attachments")

PAGES = (
    Page(
        "assets",
        "{ui.location}/asset-groups/gmail/list",
        (
            *(f"gmail / {name}" for name in ("account", *_TABLES, "forwarding_addresses", *_VIEWS)),
            "1 partition",
        ),
        height=1150,
    ),
    Page(
        "lineage",
        "{ui.root}/assets/gmail/emails?view=lineage&lineageScope=upstream&lineageDepth=5",
        ("account", "messages", "labels", "emails", "Delta Lake", "Passed", "100% filled"),
        height=800,
    ),
    Page(
        "asset",
        "{ui.root}/assets/gmail/messages?view=overview",
        (
            "Email messages with labels, headers and bodies.",
            "Row count",
            "{mailbox}",
            "Id of the thread the message belongs to.",
            "payload.headers",
            "gmail_changes",
            "quota_units",
        ),
    ),
    Page(
        "plots",
        "{ui.root}/assets/gmail/messages?view=overview",
        ("quota_units", "dagster/partition_row_count"),
        _show_plots,
    ),
    Page(
        "partition",
        "{ui.root}/assets/gmail/messages?view=partitions&partition={mailbox}",
        (
            "{mailbox}",
            "Materialized",
            "sync_mode",
            "incremental",
            "rows_written",
            "quota_units",
            "synced_through",
        ),
        height=1200,
    ),
    Page(
        "checks",
        "{ui.root}/assets/gmail/messages?view=checks&checkDetail=row_count",
        (
            *("labels_known", "primary_key_unique", "threads_and_messages_agree", "up_to_date"),
            "rows; Gmail counts",
            "Passed",
            "gmail_total",
        ),
    ),
    Page(
        "sensor",
        "{ui.location}/sensors/gmail_changes",
        ("Cursor", "synced_through", "tables_synced_through", "gmail_sync", "{mailbox}"),
    ),
    Page(
        "runs",
        "{ui.root}/runs",
        ("gmail_all", "gmail_sync", "gmail_changes", "partition: {mailbox}", "Success"),
        height=480,
    ),
    Page(
        "launchpad",
        "{ui.location}/jobs/gmail_sync/playground",
        ("gmail_mail", "gmail_views", "Launch Run", "No errors"),
    ),
)

_INVALID = {"ops": {"gmail_mail": {"config": {"replay_from": "abc"}}}}
_MESSAGE = "replay_from is not a history id: it has other characters than digits."


@dataclass(frozen=True, slots=True)
class FailedRun:
    """The page of a run that fails with one of our errors.

    Attributes:
        run_config: Run config that causes the error, for the job `gmail_sync`.
        message: What happened.
        fix: How to fix it.
    """

    run_config: dict[str, Any]
    message: str
    fix: str

    def open(self, browser: Chromium, ui: DagsterUi) -> str:
        """Launch the run, open its page and return the text of the page."""
        run_id = ui.launch("gmail_sync", self.run_config)
        browser.open(f"{ui.root}/runs/{run_id}")
        browser.wait_for("RUN_FAILURE", _SECONDS)
        return browser.text()


FAILURE = FailedRun(_INVALID, _MESSAGE, "Fix: Give a history id such as '123456'.")
