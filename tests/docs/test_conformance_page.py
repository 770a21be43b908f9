"""docs/conformance.md and the table of the emulator's page are up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import get_args

import pytest
import yaml

from gmail_client.conformance.examination import AccountKind

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("conformance_doc", ROOT / "scripts" / "conformance_doc.py")
assert _SPEC is not None
assert _SPEC.loader is not None
conformance_doc = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(conformance_doc)


@pytest.mark.parametrize("page", conformance_doc.SECTIONS)
def test_the_generated_sections_are_up_to_date(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    made = conformance_doc.with_sections(text, conformance_doc.SECTIONS[page])
    assert text == made, "run `python scripts/conformance_doc.py`"


def test_a_page_without_the_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="no section questions"):
        conformance_doc.with_sections("text", {"questions": str})


def test_the_issue_template_asks_for_a_record() -> None:
    template = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "gmail-record.yml").read_text("utf-8"))
    fields = {field.get("id"): field for field in template["body"]}
    assert fields["record"]["validations"]["required"]
    kinds = [option.partition(" ")[0] for option in fields["account"]["attributes"]["options"]]
    assert {*kinds, "unknown"} == set(get_args(AccountKind))
    assert template["name"] in (ROOT / "docs" / "conformance.md").read_text("utf-8")
