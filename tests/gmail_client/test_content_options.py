"""Options of `attachment_contents`: which attachments are stored."""

from __future__ import annotations

from typing import Any

import pytest

from gmail_client.content_options import ContentOptions
from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.spec import Spec
from gmail_client.views import CONTENTS


def spec(*names: str, **configuration: Any) -> Spec:
    return Spec.parse(
        {
            "objects": [
                *({"source_table": name} for name in names),
                {"table": {"source_table": CONTENTS, "table_configuration": configuration}},
            ]
        }
    )


SOURCES = ("messages", "emails", "attachments")


def test_options_are_read_from_a_spec_also_as_text() -> None:
    found = spec(*SOURCES, maxBytes="1000", types="application/PDF, image/*", shared="true").contents
    assert found is not None
    assert found.options == ContentOptions(max_bytes=1000, types=("application/pdf", "image/*"), shared=True)
    assert (found.table_name, found.links_name) == ("attachment_contents", "attachment_links")
    assert spec(*SOURCES).contents is not None
    assert Spec.default().contents is None


@pytest.mark.parametrize(
    ("mime_type", "size", "allowed"),
    [
        ("application/pdf", 1000, True),
        ("application/pdf", 1001, False),
        ("application/pdf", None, True),
        ("image/png", 1, True),
        ("imagery/png", 1, False),
        ("text/plain", 1, False),
        (None, 1, False),
    ],
)
def test_types_and_sizes(mime_type: str | None, size: int | None, allowed: bool) -> None:
    options = ContentOptions.parse({"maxBytes": 1000, "types": ["application/pdf", "image/*"]})
    assert options.allow(mime_type, size) == allowed
    assert ContentOptions().allow(None, 1)


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({"maxBytes": 0}, "'maxBytes' of 'attachment_contents' is 0"),
        ({"maxBytes": "many"}, "'maxBytes'"),
        ({"types": "pdf"}, "'types'"),
        ({"types": [1]}, "'types'"),
        ({"shared": "perhaps"}, "'shared'"),
        ({"q": "x"}, "'q' is not an option of 'attachment_contents'"),
    ],
)
def test_invalid_options_are_refused(configuration: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        spec(*SOURCES, **configuration)
    assert caught.value.fix


def test_it_needs_its_sources_and_free_names() -> None:
    with pytest.raises(ConfigurationError, match="'attachment_contents' without 'attachments'"):
        spec("messages")
    with pytest.raises(ConfigurationError, match="unknown key 'options'"):
        Spec.parse({"objects": [{"source_table": CONTENTS, "options": {"shared": True}}]})
    for name in ("attachment_links", "attachment_contents"):
        with pytest.raises(ConfigurationError, match="the name of another table"):
            Spec.parse({"objects": [{"source_table": "labels", "destination_table": name}]})
    listed = [*({"source_table": name} for name in SOURCES), {"source_table": "labels"}]
    listed[3]["destination_table"] = "files_links"
    with pytest.raises(ConfigurationError, match="to one table"):
        Spec.parse({"objects": [*listed, {"source_table": CONTENTS, "destination_table": "files"}]})
