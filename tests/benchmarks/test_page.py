"""The page of benchmarks: its sections are measured and written one by one."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page import INTRODUCTION, README, SECTIONS, update_page, update_readme

_GROWTH, _SPARK = SECTIONS["growth"].title, SECTIONS["spark"].title


def test_only_one_section_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    update_page(page, _GROWTH, ["old", "", "### Part", "", "text"])
    update_page(page, _SPARK, ["kept"])
    update_page(page, _GROWTH, ["new", "", "| table |"])
    assert page.read_text() == (f"{INTRODUCTION}\n## {_GROWTH}\n\nnew\n\n| table |\n\n## {_SPARK}\n\nkept\n")


def test_sections_have_the_order_of_the_list_and_unknown_ones_are_dropped(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n\nold text\n\n## Removed\n\nold\n")
    for section in reversed(SECTIONS.values()):
        update_page(page, section.title, ["text"])
    titles = [line[3:] for line in page.read_text().splitlines() if line.startswith("## ")]
    assert titles == [section.title for section in SECTIONS.values()]


def test_the_table_of_the_readme_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README.read_text("utf-8"), "utf-8")
    lines = ["text", "", "| quota units | one |\n|---|---:|\n| first load | 1 |", "", "more"]
    update_readme(readme, lines, 1_234)
    old, new = README.read_text("utf-8"), readme.read_text("utf-8")
    assert "of a mailbox of 1,234\nmessages in sync" in new
    start = new.index("| quota units |")
    table = "| quota units | one |\n|---|---:|\n| first load | 1 |\n"
    assert new[start : start + len(table)] == table
    assert new[start + len(table) :].startswith("\nThe same connector")
    assert new[: start - 200] == old[: start - 200]
