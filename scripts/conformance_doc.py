"""Write the generated parts of three pages: `python scripts/conformance_doc.py`.

They are docs/conformance.md, docs/emulator.md and README.md. The parts come from the probes and from the records in
`conformance/records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from gmail_client.conformance.probes import PROBES
from gmail_client.conformance.probes.writes import WRITE_PROBES
from gmail_client.conformance.replay import settled

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "conformance" / "records"

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
    "writes": "Writes (`conformance` only)",
}


def questions() -> str:
    """All questions, in one table for each subject."""
    return "\n".join(_questions())


def _questions() -> Iterator[str]:
    for subject, probes in groupby((*PROBES, *WRITE_PROBES), key=lambda probe: probe.id.partition(".")[0]):
        yield f"\n### {_TITLES[subject]}\n"
        yield "| Question | Expected | Basis |"
        yield "|---|---|---|"
        for probe in probes:
            yield f"| {probe.question} | {probe.expected} | {probe.basis} |"


def count() -> str:
    """How many undocumented behaviors are settled."""
    found = settled(RECORDS)
    number = sum(bool(one.answers) for one in found)
    return f"**Undocumented behaviors settled on the real Gmail: {number} of {len(found)}.**"


def table() -> str:
    """Each undocumented behavior that `doctor` asks for, and what the records say."""
    lines = ["| Field | Question | The emulator | On the real Gmail |", "|---|---|---|---|"]
    for one in settled(RECORDS):
        answers = "; ".join(f"{answer} ({record})" for record, answer in one.answers.items())
        lines.append(f"| `{one.behavior}` | {one.question} | {one.default} | {answers or 'open'} |")
    return "\n".join([count(), "", *lines])


SECTIONS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/conformance.md": {"questions": questions},
    "docs/emulator.md": {"settled": table},
    "README.md": {"settled": count},
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
