"""Messages that docs/databricks.md quotes, and the texts of source files that they are looked up in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["FRAMEWORK", "fragments", "quoted", "texts"]

FRAMEWORK = (
    "Source 'gmail' not found",
    "Could not find a LakeflowSource subclass for source",
    "does not have a 'register_lakeflow_source' function",
    "register() takes a source name string",
    "Invalid pipeline spec: …",
    "Spec must be a dictionary",
    "Invalid SCD type …",
    "must be a JSON-encoded list[str]",
    "must be a JSON-encoded dict",
    "unknown framework virtual table",
    "option 'namespace' was supplied",
    "Field … is not nullable but not found in the input",
    "Error converting …",
    "Missing required connection parameters: …",
    "requires these connection options",
    "Unknown connection parameters for 'gmail'",
    "Invalid JSON for --options",
    "--options must be a JSON object",
    "Failed to … connection: …",
    "Could not find source directory for 'gmail'",
    "Could not find the framework repo root",
    "Pipeline spec file not found",
    "Failed to parse pipeline spec file",
    "Pipeline spec must be a JSON/YAML object",
    "Invalid ingestion definition: …",
    "Either --pipeline-spec or --connection-name must be provided",
    "Cannot upload packages: catalog and schema are required",
    "Invalid volume path …",
    "does not contain",
)
"""Messages of Lakeflow's framework and its command line."""


def quoted(page: str) -> list[str]:
    """The texts in backticks of the first column of the tables under `## Troubleshooting`."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", page.partition("\n## Troubleshooting\n")[2], re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def fragments(message: str) -> list[str]:
    """The parts of a message that are the same each time."""
    return [part.strip() for part in message.split("…") if len(part.strip()) > 2]


def texts(paths: Iterable[Path]) -> Iterator[str]:
    """All string constants of Python files; an f-string gives its constant parts, joined by …."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
