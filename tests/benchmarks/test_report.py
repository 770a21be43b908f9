"""Sections of the page of benchmarks that are measured alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison.report import replace_section

PAGE = "# Benchmarks\n\nText.\n\n## One\n\nold\n\n### Part\n\n## Two\n\nkept\n"


def test_only_one_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    replace_section(page, "One", ["new", "", "| table |"])
    assert page.read_text() == "# Benchmarks\n\nText.\n\n## One\n\nnew\n\n| table |\n\n## Two\n\nkept\n"
    replace_section(page, "Two", ["other"])
    assert page.read_text().endswith("| table |\n\n## Two\n\nother\n")


def test_a_new_section_is_the_last(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    replace_section(page, "Three", ["more"])
    assert page.read_text() == f"{PAGE}\n## Three\n\nmore\n"
