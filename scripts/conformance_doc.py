"""Write the generated tables of docs/conformance.md from the probes: `python scripts/conformance_doc.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from gmail_client.conformance.probes import PROBES

ROOT = Path(__file__).resolve().parent.parent

_TITLES = {
    "history": "History",
    "threads": "Threads",
    "listings": "Listings and profile",
    "messages": "Messages",
    "labels": "Labels",
    "settings": "Settings",
    "batches": "Batches",
    "errors": "Errors",
    "transport": "HTTP",
}


def questions() -> str:
    """All questions, in one table for each subject."""
    return "\n".join(_questions())


def _questions() -> Iterator[str]:
    for subject, probes in groupby(PROBES, key=lambda probe: probe.id.partition(".")[0]):
        yield f"\n### {_TITLES[subject]}\n"
        yield "| Question | Expected | Basis |"
        yield "|---|---|---|"
        for probe in probes:
            yield f"| {probe.question} | {probe.expected} | {probe.basis} |"


SECTIONS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/conformance.md": {"questions": questions},
}
"""By page: what stands between `<!-- name -->` and `<!-- /name -->`."""


def with_sections(page: str, sections: Mapping[str, Callable[[], str]]) -> str:
    """A page with its generated sections.

    Args:
        page: The text of the page.
        sections: Functions that make a section, by its name.
    """
    for name, make in sections.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not start or not end:
            raise ValueError(f"the page has no section {name}")
        page = f"{before}{start}{make().strip()}\n{end}{after}"
    return page


if __name__ == "__main__":
    for name, sections in SECTIONS.items():
        path = ROOT / name
        path.write_text(with_sections(path.read_text("utf-8"), sections), "utf-8")
