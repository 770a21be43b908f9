"""Spark's failures become errors of one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.errors import PySparkException

from gmail_client.errors import ConfigurationError, CredentialsError, GmailError, HistoryExpiredError
from lakeflow_entry.pipelines.failures import PipelineError, readable_failures
from lakeflow_entry.pipelines.ingest import ingest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def failure(text: str) -> GmailError:
    with pytest.raises(GmailError) as caught, readable_failures("updating messages"):
        raise PySparkException(text)
    assert caught.value.__suppress_context__
    return caught.value


def test_an_error_of_a_worker_keeps_its_class_text_and_fix() -> None:
    error = failure(
        "[PYTHON_DATA_SOURCE_ERROR] Failed when Python data source instance read: Traceback (most recent call last):\n"
        '  File "<_gmail_lakeflow_1.gmail_client.auth.tokens>", line 3, in token\n'
        "_gmail_lakeflow_1.gmail_client.errors.CredentialsError: No access token: invalid_grant.\n"
        "Fix: Log in again.\n\n"
        "  at org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)"
    )
    assert type(error) is CredentialsError
    assert (error.what, error.fix) == ("No access token: invalid_grant.", "Log in again.")


def test_the_last_of_several_errors_counts() -> None:
    error = failure(
        "gmail_client.errors.NotFoundError: 404\n\nDuring handling ...\n"
        "gmail_client.errors.HistoryExpiredError: Gmail no longer keeps the history.\nFix: Run a full refresh."
    )
    assert type(error) is HistoryExpiredError
    assert error.fix == "Run a full refresh."


@pytest.mark.parametrize(
    "text",
    [
        "org.apache.spark.SparkException: Python worker failed to connect back.\n\tat org.apache...",
        "Timed out while waiting for the Python worker to connect back after 15s",
        "Caused by: java.net.SocketTimeoutException: Accept timed out",
        "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)",
        # The process that plans a stream was killed.
        "[STREAM_FAILED] Query [id = 06c8, runId = ed1c] terminated with exception: Stream closed SQLSTATE: XXKST",
        'java.io.IOException: Cannot run program "python9": error=2',
    ],
)
def test_workers_that_do_not_start_are_named_with_the_fix(text: str) -> None:
    error = failure(text)
    assert isinstance(error, PipelineError)
    assert error.what.startswith("Spark's Python workers did not start or were lost while updating messages")
    assert "PYSPARK_PYTHON" in error.fix
    assert "spark.python.authenticate.socketTimeout" in error.fix
    assert "\tat" not in str(error)


def test_another_failure_is_one_line_without_secrets() -> None:
    error = failure(
        "An error occurred\n: java.lang.OutOfMemoryError: Java heap space ya29.secret\n\tat java.base"
    )
    assert isinstance(error, PipelineError)
    assert error.what.startswith(
        "Spark failed while updating messages: java.lang.OutOfMemoryError: Java heap"
    )
    assert "ya29" not in error.what
    assert len(str(error).splitlines()) == 2


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ingest_raises_the_error_of_its_workers(spark: SparkSession, tmp_path: Path) -> None:
    assert spark.sparkContext.getConf().get("spark.python.authenticate.socketTimeout") == "120s"
    spec = {"connection_name": "nobody", "objects": [{"table": {"source_table": "labels"}}]}
    with pytest.raises(ConfigurationError, match="Connection not found: 'nobody'") as caught:
        ingest(spark, spec, lake=str(tmp_path))
    assert len(str(caught.value).splitlines()) == 2
    spec["objects"] = [{"table": {"source_table": "messages"}}]
    with pytest.raises(ConfigurationError, match="Connection not found: 'nobody'"):
        ingest(spark, spec, lake=str(tmp_path))
