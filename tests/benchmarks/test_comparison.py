"""The comparison of `make bench`, in small: what this product costs against a script with Google's client."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.comparison.compare import compare, first_loads
from benchmarks.comparison.measure import Cost
from benchmarks.comparison.report import (
    comparison_lines,
    draw_comparison,
    draw_growth,
    growth_lines,
    headline,
    latency_lines,
)
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
    picture = tmp_path / "images" / "plot.png"
    draw_comparison(picture, results)
    assert picture.stat().st_size > 10_000
    lines = comparison_lines(results, 300, 1, "images/plot.png")
    assert headline(results) in lines
    assert [line[4:].lower() for line in lines if line.startswith("### ")] == list(PHASES)


def test_first_loads_are_measured_and_drawn(tmp_path: Path) -> None:
    loads = {size: first_loads(["product"], size, 1) for size in (20, 60)}
    assert 0 < loads[20]["product"][0].cost.units < loads[60]["product"][0].cost.units
    assert 0 < loads[20]["product"][0].disk_mb < loads[60]["product"][0].disk_mb
    picture = tmp_path / "plot.png"
    draw_growth(picture, loads)
    assert picture.stat().st_size > 10_000
    assert len([line for line in growth_lines(loads, "plot.png", 20) if "gmail-assets |" in line]) == 2


_COST = Cost(10, 1, 1, 1.0, 1.0, 1.0, 1.0)


def test_a_figure_shows_the_lowest_and_highest_value() -> None:
    costs = [replace(_COST, cpu=cpu) for cpu in (1.0, 4.0, 2.0)]
    lines = comparison_lines({"first load": {"product": costs}}, 5, 3, "plot.png")
    assert "| gmail-assets | 10 | 0.00 | 1 | 1 | 2 (1–4) | 1 | 0 | 0 |" in lines


def test_the_page_says_where_the_product_needs_more() -> None:
    def lines(cpu: float) -> str:
        found = {
            "nothing new": {"product": [replace(_COST, cpu=cpu)], "google_batch": [replace(_COST, cpu=1.0)]}
        }
        return "\n".join(comparison_lines(found, 5, 1, "plot.png"))

    assert "- **CPU s**: nothing new 1.5 (Google's client, batches of 50: 1)." in lines(1.5)
    assert "- Nowhere by more than a tenth." in lines(0.9)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_times_that_the_emulator_may_have_limited_are_marked(share: float) -> None:
    results = {"first load": {"product": [replace(_COST, emulator_share=share)]}}
    text = "\n".join(latency_lines({30.0: results}, 5))
    assert ("| first load | 1 \\* |" in text) == (share > 0.8)
    assert ("was not the bottleneck" in text) == (share < 0.8)
