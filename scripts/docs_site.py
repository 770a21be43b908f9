"""Hooks of MkDocs (mkdocs.yml): README.md and other pages of the repository become pages of the site.

Links are written for the repository and rewritten to the site's pages. A linked file that is not a page, such as
an example program, is copied to `files/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Pages outside docs/, and their names in the site."""

_LINK = re.compile(r'(\]\(|<img src=")([^)"\s#]+)(#[^)"\s]*)?')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ and the linked files."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text("utf-8")))
    pages = [
        *PAGES,
        *(
            f"docs/{file.src_uri}"
            for file in files.documentation_pages()
            if file.src_uri not in PAGES.values()
        ),
    ]
    linked = {path for page in pages for path in _linked_files(page)}
    for path in sorted(linked):
        files.append(File.generated(config, _in_site(path), content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    sources = {target: source for source, target in PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def rewritten(match: re.Match[str]) -> str:
        before, target, anchor = match[1], match[2], match[3] or ""
        path = _repository_path(source, target)
        if path is None:
            return match[0]
        here = posixpath.dirname(page.file.src_uri)
        return f"{before}{posixpath.relpath(_in_site(path), here or '.')}{anchor}"

    return _LINK.sub(rewritten, markdown)


def _linked_files(page: str) -> Iterator[str]:
    """Files in the repository that a page links to and that are neither pages nor in docs/."""
    for match in _LINK.finditer((ROOT / page).read_text("utf-8")):
        path = _repository_path(page, match[2])
        if path is not None and path not in PAGES and not path.startswith("docs/"):
            yield path


def _repository_path(page: str, target: str) -> str | None:
    """The file in the repository that a link points to; None for other links."""
    if ":" in target:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    return path if (ROOT / path).is_file() else None


def _in_site(path: str) -> str:
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")
