"""Errors of several mailboxes: each fix once, and each error once."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gmail_assets.cli.error_groups import grouped_errors

_FIX = "\nFix: Check it."


def test_the_same_error_is_one_line_with_all_names() -> None:
    found = grouped_errors([("ada", f"No token.{_FIX}"), ("ben", f"No token.{_FIX}")])
    assert list(found) == [f"ada, ben: No token.{_FIX}"]


def test_different_errors_share_their_fix() -> None:
    found = grouped_errors([("ada", f"Ada failed.{_FIX}"), ("ben", "Odd."), ("cas", f"Cas failed.{_FIX}")])
    assert list(found) == [f"ada: Ada failed.\ncas: Cas failed.{_FIX}", "ben: Odd."]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from(("", "1", "2")))))
@example([("a", "x", "1"), ("b", "y", "1"), ("a", "x", ""), ("a", "x", "1")])
def test_no_error_is_lost_and_no_fix_is_repeated(errors: list[tuple[str, str, str]]) -> None:
    texts = [(name, f"{what}\nFix: {fix}" if fix else what) for name, what, fix in errors]
    shown = list(grouped_errors(texts))
    pairs = set()
    for text in shown:
        lines, _, fix = text.partition("\nFix: ")
        for line in lines.splitlines():
            names, _, what = line.partition(": ")
            pairs |= {(name, what, fix) for name in names.split(", ")}
    assert pairs == set(errors)
    assert len(shown) == len({fix for _, _, fix in errors})
