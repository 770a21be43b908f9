"""`gmail-assets bundle`: write the deployment artifacts for Databricks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.errors import ConfigurationError

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "bundle"
HELP = "write the Lakeflow source for Databricks: single file, wheel or source tree"
DESCRIPTION = """\
Write the artifacts that are deployed to Databricks. Without options: single file and wheel, into the folder `dist`.

  --file    _generated_gmail_python_source.py: needs no packages on the workers
  --wheel   the connector in the framework's namespace, installed in addition to the framework's wheel
  --tree    src/databricks/labs/community_connector/sources/gmail/, the layout of the framework's repository

docs/databricks.md explains how to deploy them.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--file", metavar="FOLDER", type=Path, help="write the single file into this folder")
    parser.add_argument("--wheel", metavar="FOLDER", type=Path, help="write the wheel into this folder")
    parser.add_argument("--tree", metavar="FOLDER", type=Path, help="write the source tree into this folder")


def run(arguments: argparse.Namespace) -> int:
    """Write the requested artifacts and print their paths."""
    try:
        from lakeflow_entry.deploy.bundle import write_file, write_tree, write_wheel
    except ModuleNotFoundError as error:
        if error.name != "pyspark":
            raise
        raise ConfigurationError(
            "The Lakeflow source needs PySpark, which is not installed.",
            fix="Install the extra `spark`: pip install 'gmail-assets[spark]'.",
        ) from None
    requested = [
        (write, folder)
        for write, folder in (
            (write_file, arguments.file),
            (write_wheel, arguments.wheel),
            (write_tree, arguments.tree),
        )
        if folder is not None
    ]
    for write, folder in requested or [(write_file, Path("dist")), (write_wheel, Path("dist"))]:
        sys.stdout.write(f"{write(folder)}\n")
    return ExitCode.SUCCESS
