"""Config schemas that are built from pydantic models."""

from __future__ import annotations

import dagster as dg
import pytest
from pydantic import BaseModel, Field

from gmail_assets.assets import SyncConfig
from gmail_assets.run_config import config_schema


class Example(BaseModel):
    switch: bool = Field(default=True, description="A switch.")
    number: float = 1.5
    text: str | None = None
    needed: int


def job(**config: object) -> dict[str, object]:
    found: dict[str, object] = {}

    @dg.op(config_schema=config_schema(Example))
    def one(context) -> None:  # type: ignore[no-untyped-def]
        found.update(context.op_config)

    @dg.job
    def graph() -> None:
        one()

    with dg.DagsterInstance.ephemeral() as instance:
        graph.execute_in_process({"ops": {"one": {"config": config}}}, instance=instance)
    return found


def test_types_defaults_and_descriptions_equal_the_model() -> None:
    assert job(needed=3) == {"switch": True, "number": 1.5, "text": None, "needed": 3}
    assert job(needed=3, text="x", number=2.0)["text"] == "x"
    schema = config_schema(Example)
    assert schema["switch"].description == "A switch."
    assert schema["needed"].is_required


@pytest.mark.parametrize("field", list(Example.model_fields))
def test_no_field_reads_the_environment(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "hush")
    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        job(**{"needed": 3, field: {"env": "PLANTED"}})
    assert "hush" not in str(caught.value)


def test_a_required_field_is_required() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="needed"):
        job()


def test_the_step_s_config_has_a_schema_with_a_description_for_each_field() -> None:
    schema = config_schema(SyncConfig)
    assert schema.keys() == SyncConfig.model_fields.keys()
    assert all(field.description for field in schema.values())
