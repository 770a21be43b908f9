"""The comparison of `make bench`, in small: what this product costs against a script with Google's client."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.comparison.__main__ import compare
from benchmarks.comparison.measure import Cost
from benchmarks.comparison.report import headline, write_page
from benchmarks.comparison.scenario import PHASES

pytestmark = pytest.mark.slow

# Upper bounds of the units against those of the script, by phase; None: a few units in all.
UNITS = (0.40, 0.36, None, None, 0.05, None)
FEW = 12


def test_units_rows_and_requests_stay_within_bounds(tmp_path: Path) -> None:
    results = compare(["product", "google_batch"], messages=300, repeats=1)
    for (phase, rows), bound in zip(results.items(), UNITS, strict=True):
        (ours,), (theirs,) = rows["product"], rows["google_batch"]
        assert (ours.missing, ours.wrong) == (0, 0), phase
        assert (theirs.missing, theirs.wrong) == (0, 0), phase
        assert ours.units <= (FEW if bound is None else bound * theirs.units), phase
        assert ours.requests <= max(theirs.requests * 2, 25), phase
    load = results["first load"]
    assert load["product"][0].wire_mb < 0.6 * load["google_batch"][0].wire_mb
    page, picture = tmp_path / "page.md", tmp_path / "images" / "plot.png"
    about = dict.fromkeys(("date", "machine", "versions", "messages", "repeats"), "some")
    write_page(page, picture, results, about, {"More": ["text"]})
    assert picture.stat().st_size > 10_000
    text = page.read_text()
    assert headline(results) in text
    assert [line[3:].lower() for line in text.splitlines() if line.startswith("## ")] == [*PHASES, "more"]


def test_a_figure_shows_the_lowest_and_highest_value(tmp_path: Path) -> None:
    costs = [Cost(10, 1, 1, 1.0, cpu, 1.0, 1.0) for cpu in (1.0, 4.0, 2.0)]
    write_page(
        tmp_path / "page.md",
        tmp_path / "plot.png",
        {"first load": {"product": costs}},
        dict.fromkeys(("date", "machine", "versions", "messages", "repeats"), "some"),
        {},
    )
    assert "| gmail-assets | 10 | 0.00 | 1 | 1 | 2 (1–4) | 1 | 0 | 0 |" in (tmp_path / "page.md").read_text()
