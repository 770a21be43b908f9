"""`gmail-assets bundle`: write the deployment artifacts for Databricks."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.errors import ConfigurationError

__all__ = ["bundle"]

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command
@click.option(
    "--file",
    "file_folder",
    metavar="FOLDER",
    type=_FOLDER,
    help="Write _generated_gmail_python_source.py, which needs no packages on the workers, and a pipeline, ingest.py.",
)
@click.option(
    "--wheel",
    "wheel_folder",
    metavar="FOLDER",
    type=_FOLDER,
    help="Write the wheel of the connector, installed in addition to the framework's wheel.",
)
@click.option(
    "--tree",
    "tree_folder",
    metavar="FOLDER",
    type=_FOLDER,
    help="Write src/databricks/labs/community_connector/sources/gmail/, the layout of the framework's repository.",
)
@click.option(
    "--sql",
    "sql_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write SQL that registers the lake's tables in Unity Catalog, with a view for each mailbox.",
)
@click.option(
    "--schema",
    metavar="CATALOG.SCHEMA",
    default="main.gmail",
    show_default=True,
    help="Catalog and schema in which --sql registers the tables.",
)
def bundle(
    file_folder: Path | None,
    wheel_folder: Path | None,
    tree_folder: Path | None,
    sql_file: Path | None,
    schema: str,
) -> int:
    """Write the Lakeflow source, or SQL, for Databricks.

    Without options, this writes the single file and the wheel into the folder `dist`. docs/databricks.md explains how
    to deploy them.
    """
    if sql_file is not None:
        _write_sql(sql_file, schema)
        if not (file_folder or wheel_folder or tree_folder):
            return ExitCode.SUCCESS
    try:
        from lakeflow_entry.deploy.bundle import write_project, write_tree, write_wheel
    except ModuleNotFoundError as error:
        if error.name != "pyspark":
            raise
        raise ConfigurationError(
            "The Lakeflow source needs PySpark, which is not installed.",
            fix="Install the extra `spark`: pip install 'gmail-assets[spark]'.",
        ) from None
    writers = ((write_project, file_folder), (write_wheel, wheel_folder), (write_tree, tree_folder))
    requested = [(write, folder) for write, folder in writers if folder is not None]
    for write, folder in requested or [(write_project, Path("dist")), (write_wheel, Path("dist"))]:
        sys.stdout.write(f"{write(folder)}\n")
    return ExitCode.SUCCESS


def _write_sql(file: Path, schema: str) -> None:
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.catalog_sql import catalog_sql

    environment = Environment.load()
    uri = environment.settings.lake
    if "://" not in uri:
        raise ConfigurationError(
            f"The lake {uri!r:.200} is a local folder, which Databricks can't read.",
            fix="Set GMAIL_LAKE to an s3://, gs:// or abfss:// URI, an external location of the catalog.",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(catalog_sql(environment.lake, environment.spec, schema), encoding="utf-8")
    sys.stdout.write(f"{file}\n")
