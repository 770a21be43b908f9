"""A Spark session on this machine: `local_session`, and its requirements: `require_java`, `worker_python`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gmail_client.errors import ConfigurationError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["local_session", "require_java", "worker_python"]


def require_java() -> str:
    """The path of the Java that Spark will start.

    Raises:
        ConfigurationError: No working Java is found.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    problem = "was not found"
    if java is not None:
        try:
            subprocess.run([java, "-version"], check=True, capture_output=True, timeout=60)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            problem = f"({java}) does not run"
        else:
            return java
    raise ConfigurationError(
        f"Java {problem}; Spark needs it.",
        fix="Install Java 17 or later (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; "
        "macOS: brew install openjdk@17) and set JAVA_HOME where it is not on the PATH.",
    )


def worker_python() -> None:
    """Make Spark's workers use the running interpreter; another one may not have pyarrow."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)


def local_session(name: str, *, cores: int = 2, **settings: str) -> SparkSession:
    """A small Spark session in this process, with `lakeflow_connect` registered.

    Args:
        name: Its name in logs.
        cores: Threads.
        **settings: Further Spark settings, dots written as `__` (`spark__driver__memory="2g"`).

    Raises:
        ConfigurationError: Java is missing.
    """
    require_java()
    worker_python()
    from pyspark.sql import SparkSession

    from lakeflow_entry.datasource import register_lakeflow_source

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = (
        SparkSession.builder.master(f"local[{cores}]")
        .appName(name)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(cores))
        .config("spark.driver.bindAddress", "127.0.0.1")
        # On a busy machine, a Python worker can need more than the default of 15 s to start.
        .config("spark.python.authenticate.socketTimeout", "120s")
    )
    for key, value in settings.items():
        builder = builder.config(key.replace("__", "."), value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    register_lakeflow_source(spark)
    return spark
