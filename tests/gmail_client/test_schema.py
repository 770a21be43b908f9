"""Gmail's JSON as Arrow: parts below five levels, odd text, absent and empty objects."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.schema import PARTS_DEPTH, SCHEMAS, describe, message_array, to_batch

PARTS = st.recursive(
    st.builds(lambda text: {"partId": text, "body": {"size": len(text)}}, st.text(max_size=3)),
    lambda inner: st.builds(
        lambda text, parts: {"partId": text, "parts": parts},
        st.text(max_size=3),
        st.lists(inner, min_size=1, max_size=2),
    ),
    max_leaves=30,
)


def unfolded(part: dict[str, Any]) -> dict[str, Any]:
    """A stored part as Gmail sent it."""
    plain = {
        key: value for key, value in part.items() if value is not None and key not in ("parts", "partsJson")
    }
    if "body" in plain:
        plain["body"] = {key: value for key, value in plain["body"].items() if value is not None}
    if part.get("partsJson"):
        plain["parts"] = json.loads(part["partsJson"])
    elif part.get("parts"):
        plain["parts"] = [unfolded(child) for child in part["parts"]]
    return plain


@settings(deadline=None)
@given(PARTS)
def test_no_part_is_lost_at_any_depth(payload: dict[str, Any]) -> None:
    row = to_batch("messages", [{"id": "1", "payload": payload}]).to_pylist()[0]
    assert unfolded(row["payload"]) == payload


def test_parts_below_the_typed_levels_are_kept_as_json() -> None:
    payload: dict[str, Any] = {"partId": "deepest"}
    for level in range(PARTS_DEPTH + 2):
        payload = {"partId": str(level), "parts": [payload]}
    part = to_batch("messages", [{"id": "1", "payload": payload}]).to_pylist()[0]["payload"]
    for _ in range(PARTS_DEPTH):
        part = part["parts"][0]
    assert json.loads(part["partsJson"]) == [{"partId": "0", "parts": [{"partId": "deepest"}]}]


@pytest.mark.parametrize("table", ["messages", "threads", "drafts"])
def test_a_lone_surrogate_does_not_fail_a_table(table: str) -> None:
    message = {
        "id": "1",
        "snippet": "cut inside \ud83d",
        "payload": {"headers": [{"name": "X", "value": "\ude00!"}]},
    }
    row = {
        "messages": message,
        "threads": {"id": "1", "messages": [message]},
        "drafts": {"id": "1", "message": message},
    }
    stored = to_batch(table, [row[table], {"id": "2", "snippet": "😀"} if table != "drafts" else {"id": "2"}])
    text = json.dumps(stored.to_pylist(), ensure_ascii=False)
    assert "cut inside \ufffd" in text
    assert "\ufffd!" in text
    assert message_array([message]).to_pylist()[0]["snippet"] == "cut inside \ufffd"
    if table != "drafts":
        assert "😀" in text


def test_history_ids_are_numbers_too_and_absent_objects_are_null() -> None:
    rows = to_batch(
        "messages", [{"id": "1", "historyId": "999"}, {"id": "2", "historyId": "1000"}, {"id": "3"}]
    ).to_pylist()
    assert [row["historySequence"] for row in rows] == [999, 1000, None]
    assert rows[0]["payload"] is None
    assert rows[0]["labelIds"] is None


def test_every_field_at_every_depth_is_described() -> None:
    def check(field: pa.Field, path: str) -> None:
        kind = field.type
        if field.name != "element":
            assert describe(field).endswith("."), path
        for child in (
            [kind.value_field] if pa.types.is_list(kind) else kind.fields if pa.types.is_struct(kind) else []
        ):
            check(child, f"{path}.{child.name}")

    for table, schema in SCHEMAS.items():
        for field in schema:
            check(field, f"{table}.{field.name}")
