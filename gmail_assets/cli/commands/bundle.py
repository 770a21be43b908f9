"""`gmail-assets bundle`: write what is deployed to Databricks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.errors import ConfigurationError

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "bundle"
HELP = "write the Lakeflow source for Databricks: one file, a wheel, or the source tree"
DESCRIPTION = """\
Write what is deployed to Databricks. Without options: the single file and the wheel, into the folder `dist`.

  --file    _generated_gmail_python_source.py: works with nothing installed on the workers
  --wheel   the connector below the framework's namespace, to be installed beside the framework's wheel
  --tree    src/databricks/labs/community_connector/sources/gmail/ as the framework's repository expects it

docs/databricks.md says what to do with them.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--file", metavar="FOLDER", type=Path, help="write the single file into this folder")
    parser.add_argument("--wheel", metavar="FOLDER", type=Path, help="write the wheel into this folder")
    parser.add_argument("--tree", metavar="FOLDER", type=Path, help="write the source tree below this folder")


def run(arguments: argparse.Namespace) -> int:
    """Write what was asked for, and tell where it is."""
    try:
        from lakeflow_entry.deploy.bundle import write_file, write_tree, write_wheel
    except ModuleNotFoundError as error:
        if error.name != "pyspark":
            raise
        raise ConfigurationError(
            "The Lakeflow source needs PySpark, which is not installed.",
            fix="Install the extra `spark`: pip install 'gmail-assets[spark]'.",
        ) from None
    asked = [
        (write, folder)
        for write, folder in (
            (write_file, arguments.file),
            (write_wheel, arguments.wheel),
            (write_tree, arguments.tree),
        )
        if folder is not None
    ]
    for write, folder in asked or [(write_file, Path("dist")), (write_wheel, Path("dist"))]:
        sys.stdout.write(f"{write(folder)}\n")
    return ExitCode.DONE
