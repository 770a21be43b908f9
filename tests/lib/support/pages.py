"""The documentation pages and their content: code blocks, commands, prose."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "ROOT", "blocks", "commands", "name", "prose"]

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
)


def name(path: Path) -> str:
    """The name of a page in the text of other pages."""
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Fenced blocks as (language, text), including those indented in lists."""
    for match in re.finditer(
        r"^( *)```(\w*)\n(.*?)^\1```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    ):
        indent = len(match[1])
        yield match[2], "\n".join(line[indent:] for line in match[3].splitlines())


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(path: Path) -> Iterator[list[str]]:
    """Commands in shell blocks and in inline code, as words."""
    lines = [
        line
        for language, text in blocks(path)
        if language in ("", "sh", "bash", "shell", "console")
        for line in text.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"`((?:\.venv/bin/)?(?:gmail-assets|make|dagster\S*) [^`]+)`", prose(path))
    for line in lines:
        line = re.sub(r"\s{2,}#.*|^#.*|^\$ ", "", line).strip()
        if not re.match(r"[\w./]*[a-z][\w-]*( |$)", line) or line.startswith(("http", "GMAIL_", "AWS_")):
            continue
        words = shlex.split(line)
        words[0] = words[0].removeprefix(".venv/bin/")
        yield words
