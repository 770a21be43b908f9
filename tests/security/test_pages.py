"""Dagster's pages show hostile mail and errors as text: nothing in them is rendered, run or fetched by the browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.chromium import Chromium, why_not
from support.dagster_server import serving
from support.pages import ROOT
from support.trap import Trap

from gmail_client.emulator import Emulator, Fault

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "a browser is there")]

PAGES = (
    "/asset-groups",
    "/assets/gmail/settings",
    "/assets/gmail/settings?view=events",
    "/assets/gmail/labels",
    "/assets/gmail/messages?view=checks",
    "/assets/gmail/emails?view=events",
    "/runs",
    "/overview/resources",
    "/locations/gmail_assets.definitions/sensors/gmail_changes",
    "/deployment/locations",
)
FOUND = """
const evil = [];
const look = (root) => {
  evil.push(...root.querySelectorAll('[data-evil], a[href^="javascript:" i], iframe[src^="javascript:" i]'));
  const sources = [...root.querySelectorAll('img, iframe, link, script')];
  evil.push(...sources.filter((element) => (element.src || element.href || '').includes(TRAP)));
  for (const element of root.querySelectorAll('*')) if (element.shadowRoot) look(element.shadowRoot);
};
look(document);
return [evil.map((e) => e.outerHTML), window.executed || null, document.title];
"""


def markup(trap: str) -> str:
    """Markup for HTML, SVG, Markdown, templates; if rendered, it changes the page or sends a request to the trap."""
    return (
        f"<b data-evil='1'>bold</b><script data-evil='1'>window.executed='script'</script>"
        f"<img data-evil='1' src='{trap}/image' onerror=\"window.executed='image'\">"
        f"<svg data-evil='1' onload=\"window.executed='svg'\"></svg><iframe data-evil='1' src='javascript:1'></iframe>"
        f"![image]({trap}/markdown) [link](javascript:window.executed='link') **strong** {{{{7*7}}}}"
    )


def test_nothing_is_rendered_run_or_fetched(bare: Path, trap: Trap) -> None:
    hostile = markup(trap.url)
    with Emulator(messages=4, seed=5, mean_json_kb=2.0) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label(hostile[:200])
        mail = f"From: {hostile} <a@b.test>\nSubject: {hostile}\nContent-Type: text/html\n\n{hostile}"
        mailbox.modify(mailbox.insert(mail.encode(), ["INBOX"]), [label], [])
        gmail.faults.add(
            Fault("settings.filters.list", status=403, reason="accessNotConfigured", message=hostile)
        )
        gmail.faults.add(Fault("settings.getVacation", status=403, message=hostile))
        environment = {
            **gmail.environment(),
            "GMAIL_LAKE": str(bare / "lake"),
            "GMAIL_QUOTA": "1200000",
            "GMAIL_CREDENTIALS_FILE": str(bare / "no-login.json"),
            "PYTHONPATH": str(ROOT),
        }
        with serving(bare / "home", environment) as dagster:
            for job in ("gmail_sync", "gmail_snapshots"):
                assert dagster.launch(job, "me", {})["__typename"] == "LaunchRunSuccess"
            runs = dagster.wait_for_runs()
            assert "FAILURE" in runs.values()
            shown = ""
            with Chromium(width=1600, height=1400) as browser:
                for page in (*(f"/runs/{run}" for run in runs), *PAGES):
                    browser.open(dagster.url + page)
                    shown += settled(browser)
                    evil, executed, title = browser.run(FOUND.replace("TRAP", repr(trap.url)))
                    assert evil == [], page
                    assert executed is None, page
                    assert "executed" not in title
    assert "<b data-evil=" in shown, "the markup has to be shown somewhere, as text"
    assert trap.received == []


def settled(browser: Chromium) -> str:
    """The text of a page once it no longer changes."""
    before, stable = "", 0
    until = time.monotonic() + 15
    while stable < 4 and time.monotonic() < until:
        text = browser.text()
        stable = stable + 1 if text == before and len(text) > 100 else 0
        before = text
        time.sleep(0.5)
    return before
