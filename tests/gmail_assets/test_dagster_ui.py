"""The Dagster UI on the tables of the demo, in a browser: names, values, and error messages before stack traces."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.chromium import Chromium, why_not
from support.dagster_pages import DEMO, FAILURE, PAGES, DagsterUi, demo_ui

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUi]:
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run(
        [*DEMO, "run", "--messages", "60"], cwd=folder, check=True, capture_output=True, timeout=300
    )
    with demo_ui(folder) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium(1600, 1000) as started:
        yield started


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_the_page_shows_names_and_values(ui: DagsterUi, browser: Chromium, name: str) -> None:
    (page,) = (page for page in PAGES if page.name == name)
    browser.resize(1600, page.height)
    page.open(browser, ui)


def test_a_failed_run_shows_our_message_and_fix_before_any_stack_trace(
    ui: DagsterUi, browser: Chromium
) -> None:
    text = FAILURE.open(browser, ui)
    _, _, failure = text.partition("STEP_FAILURE")
    shown = failure.partition("Stack Trace")[0]
    assert FAILURE.message in shown
    assert FAILURE.fix in shown
    assert "The above exception" not in text
    assert text.count("STEP_FAILURE") == 1


def test_the_ui_shows_the_sensor_of_the_demo(ui: DagsterUi) -> None:
    found = ui.graphql(
        """query Sensor($selector: SensorSelector!) {
          sensorOrError(sensorSelector: $selector) {
            ... on Sensor { sensorState { status typeSpecificData { ... on SensorData { lastCursor } } } }
          }
        }""",
        selector={
            "repositoryLocationName": "gmail",
            "repositoryName": "__repository__",
            "sensorName": "gmail_changes",
        },
    )["sensorOrError"]["sensorState"]
    assert found["status"] == "RUNNING"
    assert ui.mailbox in found["typeSpecificData"]["lastCursor"]
