"""Settings of all tests, and one Spark session for the Spark tests of a worker.

A second session would be the same as the first, and its stop would end it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A busy machine is no failure. Each run draws new examples, so that few are enough for `make test`; CI draws more.
settings.register_profile(
    "quick", settings(), deadline=None, max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "40"))
)
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)  # before the tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a Spark session are slow, except for smoke tests. Without Java they are skipped, in CI they fail."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("smoke"):
            item.add_marker(pytest.mark.slow)
    if shutil.which("java") or os.environ.get("JAVA_HOME") or os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("spark"):
            item.add_marker(pytest.mark.skip(reason="Java is missing: install a JRE, version 17 or later"))


@pytest.fixture(scope="session")
def connections_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which Spark's workers look up connections; its path is set before the JVM starts."""
    path = tmp_path_factory.mktemp("connections") / "connections.json"
    path.write_text("{}")
    os.environ["GMAIL_CONNECTIONS_FILE"] = str(path)
    return path


@pytest.fixture(scope="session")
def spark(connections_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session on two cores with `lakeflow_connect` registered."""
    from lakeflow_entry.pipelines.session import local_session

    home = tmp_path_factory.mktemp("spark")
    session = local_session(
        "gmail tests",
        spark__driver__memory="1g",
        spark__driver__extraJavaOptions="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        spark__sql__warehouse__dir=str(home / "warehouse"),
        spark__local__dir=str(home / "local"),
    )
    yield session
    session.stop()
