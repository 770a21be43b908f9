"""The resources: thin wrappers of plain objects, not configurable in the run config."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
from dataclasses import fields
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gmail_assets.resources import GmailAccess, GmailResource, LakeLocation, LakeResource, ResourceKeys
from gmail_client.errors import ConfigurationError


@pytest.mark.parametrize("plain", [GmailAccess, LakeLocation])
def test_every_field_is_described(plain: type):
    for field in fields(plain):
        assert f"        {field.name}: " in (plain.__doc__ or ""), field.name


@pytest.mark.parametrize("resource", [GmailResource(), LakeResource()])
def test_run_config_has_no_resource_fields(resource: Any):
    assert resource._schema.config_type.fields == {}


@pytest.mark.usefixtures("clean_environment")
def test_settings_are_read_when_they_are_needed(monkeypatch):
    resource = GmailResource()
    with pytest.raises(ConfigurationError):
        resource.client()
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.later")
    monkeypatch.setenv("GMAIL_QUOTA", "legacy")
    assert resource.client().plan.name == "legacy"
    assert GmailResource(GmailAccess(quota="current")).client().plan.name == "current"
    assert "ya29" not in repr(resource.client()) + repr(resource)


@pytest.mark.usefixtures("clean_environment")
def test_a_process_has_one_client_for_one_set_of_settings(monkeypatch):
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.one")
    first = GmailResource().client()
    assert GmailResource().client() is first
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.two")
    assert GmailResource().client() is not first


@pytest.mark.usefixtures("clean_environment")
def test_fields_are_checked(monkeypatch):
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.one")
    with pytest.raises(ConfigurationError, match="GMAIL_QUOTA"):
        GmailAccess(quota="plenty").client()
    with pytest.raises(ConfigurationError, match="unencrypted"):
        GmailAccess(access_token="x", api_root="http://gmail.example.com").client()
    with pytest.raises(ConfigurationError, match="workers=0"):
        GmailAccess(workers=0)
    with pytest.raises(ConfigurationError, match="workers=21"):
        GmailAccess(workers=21)
    with pytest.raises(ConfigurationError, match="compact_files=-1"):
        LakeLocation(compact_files=-1)
    with pytest.raises(ConfigurationError, match="keep_versions_days=-1"):
        LakeLocation(keep_versions_days=-1)


@pytest.mark.usefixtures("clean_environment")
def test_credentials_in_code_use_only_their_own_endpoint(monkeypatch):
    monkeypatch.setenv("GMAIL_API_ROOT", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="the environment"):
        GmailAccess(access_token="ya29.code").client()
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.environment")
    client = GmailAccess(access_token="ya29.code").client()
    assert client.api_root == "https://gmail.googleapis.com"
    assert client.credentials.access_token.get_secret_value() == "ya29.code"


@pytest.mark.usefixtures("clean_environment")
def test_values_can_come_from_environment_variables(monkeypatch):
    access = GmailAccess(
        client_id="id",
        client_secret=dg.EnvVar("WORK_CLIENT_SECRET"),
        refresh_token=dg.EnvVar("WORK_REFRESH_TOKEN"),
    )
    with pytest.raises(ConfigurationError, match="WORK_CLIENT_SECRET, which is not set"):
        access.client()
    monkeypatch.setenv("WORK_CLIENT_SECRET", "hush-1")
    monkeypatch.setenv("WORK_REFRESH_TOKEN", "hush-2")
    credentials = access.client().credentials
    assert credentials.client_secret.get_secret_value() == "hush-1"
    assert credentials.refresh_token.get_secret_value() == "hush-2"
    monkeypatch.setenv("WORK_KEY", "hush-3")
    lake = LakeLocation(
        uri="s3://bucket/mail", storage_options={"aws_secret_access_key": dg.EnvVar("WORK_KEY")}
    )
    assert lake.lake().options == {"aws_secret_access_key": "hush-3"}
    assert "hush" not in repr(access) + repr(lake)


def test_secrets_in_code_are_not_shown():
    access = GmailAccess(client_id="id", client_secret="hush-1", refresh_token="hush-2")
    lake = LakeLocation(uri="s3://bucket", storage_options={"aws_secret_access_key": "hush-3"})
    shown = [access, lake, GmailResource(access), LakeResource(lake), lake.lake()]
    assert not [text for text in map(repr, shown) if "hush" in text]
    assert not [text for text in map(str, shown) if "hush" in text]


def test_the_lake_is_a_folder_or_a_uri(clean_environment: Path, monkeypatch):
    assert LakeResource().lake().uri == "lake"
    monkeypatch.setenv("GMAIL_LAKE", "~/mail")
    monkeypatch.setenv("HOME", str(clean_environment))
    assert LakeResource().lake().uri == str(clean_environment / "mail")
    lake = LakeLocation(uri="s3://bucket/mail/", storage_options={"aws_region": "eu-west-1"}).lake()
    assert lake.location("messages") == "s3://bucket/mail/messages"
    assert lake.options == {"aws_region": "eu-west-1"}


def test_resource_keys_follow_the_name():
    assert ResourceKeys.of("gmail") == ResourceKeys()
    assert ResourceKeys.of("work").required == {"work", "work_lake"}


@pytest.mark.usefixtures("clean_environment")
def test_a_run_uses_the_given_resource_and_its_config_is_empty(tmp_path: Path):
    @dg.asset
    def where(gmail: GmailResource, gmail_lake: LakeResource) -> str:
        return f"{gmail.client().api_root} {gmail_lake.lake().uri}"

    resources = {
        "gmail": GmailResource(GmailAccess(access_token="x", api_root="http://127.0.0.1:9")),
        "gmail_lake": LakeResource(LakeLocation(uri=str(tmp_path))),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([where], resources=resources, instance=instance)
        assert result.output_for_node("where") == f"http://127.0.0.1:9 {tmp_path}"
        for config in (
            {"gmail_lake": {"config": {"uri": "elsewhere"}}},
            {"gmail": {"config": {"access": {"api_root": "https://evil.example"}}}},
            {"gmail": {"config": {"api_root": "https://evil.example"}}},
        ):
            with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entry"):
                dg.materialize(
                    [where], resources=resources, run_config={"resources": config}, instance=instance
                )
