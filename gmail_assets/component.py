"""`GmailComponent`: all definitions of `gmail_definitions` from a `defs.yaml`, for projects of Dagster's `dg` tool.

type: gmail_assets.GmailComponent
attributes:
  key_prefix: [raw, gmail]
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field

from gmail_assets.checks import DEFAULT_MAX_LAG
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP
from gmail_assets.factory import gmail_definitions
from gmail_assets.resources import GmailAccess, GmailResource, LakeLocation, LakeResource
from gmail_assets.schedules import DAILY
from gmail_assets.snapshot_checks import DEFAULT_MAX_AGE
from gmail_client.errors import ConfigurationError
from gmail_client.spec import Spec

__all__ = ["GmailComponent"]


class _AccessModel(dg.Model):
    """Credentials and limits of the account. Values that are not given come from the environment or the login file."""

    client_id: str | None = Field(None, description="Id of the OAuth client.")
    client_secret: str | None = Field(None, description="Secret of the OAuth client: {{ env.NAME }}.")
    refresh_token: str | None = Field(None, description="A refresh token of the client: {{ env.NAME }}.")
    access_token: str | None = Field(None, description="An access token alone: {{ env.NAME }}.")
    service_account_file: str | None = Field(None, description="Path of a service account's JSON key.")
    service_account_email: str | None = Field(
        None, description="A service account without a key file: the machine's Google identity has it signed."
    )
    logins: str | None = Field(None, description="Folder of login files, one per mailbox.")
    api_root: str | None = Field(None, description="Root of the Gmail API. Default: Google's.")
    oauth_root: str | None = Field(None, description="Root of the token endpoint. Default: Google's.")
    quota: str | int | None = Field(None, description="current, legacy, or quota units per minute and user.")
    workers: int = Field(5, description="Maximum number of concurrent requests per mailbox, 1 to 20.")


class _LakeModel(dg.Model):
    """Location of the Delta tables."""

    uri: str | None = Field(
        None, description="A folder, or an s3://, gs:// or abfss:// URI. Default: GMAIL_LAKE, else ./lake."
    )
    storage_options: dict[str, str] = Field(
        default_factory=dict, description="Settings of the object store, such as aws_region."
    )
    compact_files: int = Field(
        DEFAULT_UPKEEP.small_files,
        description="Compact a mailbox's files once so many of them are small; 0: never.",
    )
    keep_versions_days: int | None = Field(
        7, description="Remove files that only versions older than this need; null keeps all."
    )
    keep_deleted_days: int | None = Field(
        None, description="Remove soft-deleted rows after so many days; null keeps them."
    )


def _access(context: dg.ResolutionContext, model: _AccessModel | None) -> GmailAccess | None:
    if model is None:
        return None
    values = context.resolve_value(model.model_dump(exclude_unset=True, exclude={"workers"}))
    texts = {name: None if value is None else str(value) for name, value in values.items()}
    return GmailAccess(**texts, workers=model.workers)


def _location(context: dg.ResolutionContext, model: _LakeModel | None) -> LakeLocation | None:
    return (
        None if model is None else LakeLocation(**context.resolve_value(model.model_dump(exclude_unset=True)))
    )


def _attribute(description: str, **more: Any) -> Any:
    return dg.Resolver.default(description=description, **more)


class _Translation(TranslationFnResolver[str]):
    """Dagster's resolver of translations, with the table as template variable and a description."""

    def __init__(self) -> None:
        super().__init__(lambda table: {"table": table})
        self.description = (
            "Changes key, group, owners, tags ... of each asset; {{ table }} is the table's name, or account."
        )


class ScaffoldParams(BaseModel):
    """Parameters of `dg scaffold defs gmail_assets.GmailComponent`."""

    key_prefix: str = Field("gmail", description="Prefix of the asset keys, components separated by a slash.")
    lake: str | None = Field(
        None, description="Folder or object-store URI of the tables. Default: GMAIL_LAKE."
    )


class _Scaffolder(dg.Scaffolder[ScaffoldParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        params = request.params
        attributes: dict[str, Any] = {"key_prefix": params.key_prefix.split("/")}
        if params.lake:
            attributes["lake"] = {"uri": params.lake}
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(_Scaffolder)
@dataclass(kw_only=True)
class GmailComponent(dg.Component, dg.Resolvable):
    """Gmail in Delta Lake: assets, checks, jobs, schedule and sensor of one account.

    Without attributes, everything is configured by the environment (GMAIL_...), `.env` or the login file.
    """

    key_prefix: Annotated[Sequence[str], _attribute("Prefix of the asset keys.")] = ("gmail",)
    group_name: Annotated[
        str,
        _attribute("Group of the assets, and prefix of the names of jobs, schedule, sensor and resources."),
    ] = "gmail"
    mailboxes: Annotated[
        Sequence[str] | None,
        _attribute(
            "The partitions: addresses, or me. Default: GMAIL_MAILBOXES, else me; with GMAIL_DIRECTORY or "
            "GMAIL_MAILBOXES_FILE, those that a sensor registers."
        ),
    ] = None
    spec_file: Annotated[
        str | None, _attribute("A pipeline spec (YAML or JSON), relative to this file. Default: GMAIL_SPEC.")
    ] = None
    objects: Annotated[
        Sequence[Mapping[str, Any]] | None,
        _attribute("Tables and their options, as in a pipeline spec. Default: all tables."),
    ] = None
    access: Annotated[
        GmailAccess | None,
        dg.Resolver(_access, model_field_type=_AccessModel | None, description=_AccessModel.__doc__),
    ] = None
    lake: Annotated[
        LakeLocation | None,
        dg.Resolver(_location, model_field_type=_LakeModel | None, description=_LakeModel.__doc__),
    ] = None
    owners: Annotated[Sequence[str], _attribute("Owners of the assets: email addresses, or team:NAME.")] = ()
    snapshot_cron: Annotated[str, _attribute("Cron expression of the snapshot schedule, in UTC.")] = DAILY
    max_lag_minutes: Annotated[
        float, _attribute("Age of the oldest unsynced message at which the check up_to_date fails.")
    ] = DEFAULT_MAX_LAG.total_seconds() / 60
    max_snapshot_age_hours: Annotated[
        float, _attribute("Age of a snapshot at which recently_read and the freshness policy fail.")
    ] = DEFAULT_MAX_AGE.total_seconds() / 3600
    pool: Annotated[
        str | None, _attribute("Dagster pool of the steps that call Gmail. Default: the group name.")
    ] = None
    translation: Annotated[TranslationFn[str] | None, _Translation()] = field(default=None)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg` shows of the component."""
        return dg.ComponentTypeSpec(
            description="Gmail in Delta Lake, in sync and verifiable.",
            tags=["gmail", "deltalake", "ingestion"],
            produces=["asset", "asset_check", "job", "resource", "schedule", "sensor"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions.

        Raises:
            ConfigurationError: An attribute or a setting is invalid.
        """
        return gmail_definitions(
            spec=self._spec(context.path),
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            mailboxes=self.mailboxes,
            owners=self.owners,
            gmail=None if self.access is None else GmailResource(self.access),
            lake=None if self.lake is None else LakeResource(self.lake),
            snapshot_cron=self.snapshot_cron,
            max_lag=timedelta(minutes=self.max_lag_minutes),
            max_snapshot_age=timedelta(hours=self.max_snapshot_age_hours),
            pool=self.pool,
            translation=self.translation,
        )

    def _spec(self, folder: Path) -> Spec | None:
        if self.objects is not None and self.spec_file is not None:
            raise ConfigurationError(
                "The component has both objects and spec_file.", fix="Remove one of the two attributes."
            )
        if self.spec_file is not None:
            return Spec.load(folder / self.spec_file)
        return None if self.objects is None else Spec.parse({"objects": list(self.objects)})
