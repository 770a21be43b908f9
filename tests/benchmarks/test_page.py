"""The page of benchmarks: its sections are measured and written one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page import (
    INTRODUCTION,
    README,
    SECTIONS,
    Measured,
    Section,
    Sizes,
    measure,
    update_page,
    update_readme,
)

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


def _fail(sizes: Sizes) -> Measured:
    raise RuntimeError("measured nothing")


def _drawn(sizes: Sizes) -> Measured:
    text = f"{sizes.messages} messages"

    def draw(path: Path) -> None:
        path.write_text(text)

    return Measured([text], {"screenshots/one.png": draw})


def test_a_section_is_written_with_its_pictures_and_a_failed_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs" / "screenshots").mkdir(parents=True)
    sections = {"spark": Section(_SPARK, _fail, "fails"), "growth": Section(_GROWTH, _drawn, "draws")}
    assert measure(sections, Sizes(["product"], 7), tmp_path) == ["spark"]
    assert (tmp_path / "docs" / "screenshots" / "one.png").read_text() == "7 messages"
    assert (tmp_path / "docs" / "benchmarks.md").read_text().endswith("7 messages\n")


def test_without_a_root_a_section_is_printed_only(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(f"drew {path}")

    section = Section(_GROWTH, lambda sizes: Measured(["printed"], {"one.png": refuse}), "prints")
    assert measure({"growth": section}, Sizes(["product"]), None) == []
    assert "\nprinted\n" in capsys.readouterr().out
