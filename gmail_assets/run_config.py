"""Config schemas of steps that can't read the environment: `config_schema`, and the field that all steps have.

With Dagster's schema for a `dagster.Config`, run config can name an environment variable for each text, number or
boolean (`{env: AWS_SECRET_ACCESS_KEY}`), and a user who launches a run can see its value in the resulting error. The
schemas made here accept plain values only.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args

import dagster as dg
from pydantic import BaseModel, Field
from pydantic_core import PydanticUndefined

__all__ = ["MailboxesConfig", "config_schema"]


class MailboxesConfig(BaseModel):
    """Run config of the other steps."""

    mailboxes: list[str] = Field(
        default_factory=list,
        description="The mailboxes of a run over several without a partition; each has to be a partition. Only the "
        "first step of the run needs them.",
    )


def config_schema(model: type[BaseModel]) -> dict[str, dg.Field]:
    """The fields of a model of plain values, each with its default and description.

    Raises:
        dagster.DagsterInvalidConfigDefinitionError: A field of another type than bool, int, float, str, one of them
            or None, or a list of texts.
    """
    schema = {}
    for name, field in model.model_fields.items():
        texts = field.annotation == list[str]
        kinds = {str} if texts else set(get_args(field.annotation)) or {field.annotation}
        (kind,) = kinds - {NoneType}
        config: Any = dg.Noneable(kind) if NoneType in kinds else [kind] if texts else kind
        required = field.default is PydanticUndefined and field.default_factory is None
        default = {} if required else {"default_value": field.get_default(call_default_factory=True)}
        schema[name] = dg.Field(config, description=field.description, is_required=required, **default)
    return schema
