"""The resources: thin, described, and without secrets."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from gmail_assets.resources import GmailResource, LakeResource
from gmail_client.errors import ConfigurationError


@pytest.mark.parametrize("resource", [GmailResource, LakeResource])
def test_every_field_is_described_and_none_is_a_secret(resource):
    for name, field in resource.model_fields.items():
        assert field.description, name
        assert not any(word in name for word in ("token", "secret", "client_id", "password", "credential"))


@pytest.mark.usefixtures("clean_environment")
def test_settings_are_read_when_they_are_needed(monkeypatch):
    resource = GmailResource()
    with pytest.raises(ConfigurationError):
        resource.client()
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.later")
    monkeypatch.setenv("GMAIL_QUOTA", "legacy")
    assert resource.client().plan.name == "legacy"
    assert GmailResource(quota="current").client().plan.name == "current"
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
        GmailResource(quota="plenty").client()
    with pytest.raises(ConfigurationError, match="http"):
        GmailResource(api_root="http://gmail.example.com").client()
    with pytest.raises(ValueError, match="workers"):
        GmailResource(workers=0)


def test_the_lake_is_a_folder_or_a_uri(clean_environment: Path, monkeypatch):
    assert LakeResource().lake().uri == "lake"
    monkeypatch.setenv("GMAIL_LAKE", "~/mail")
    monkeypatch.setenv("HOME", str(clean_environment))
    assert LakeResource().lake().uri == str(clean_environment / "mail")
    lake = LakeResource(uri="s3://bucket/mail/", storage_options={"aws_region": "eu-west-1"}).lake()
    assert lake.location("messages") == "s3://bucket/mail/messages"
    assert lake.options == {"aws_region": "eu-west-1"}


@pytest.mark.usefixtures("clean_environment")
def test_they_can_be_configured_in_run_config():
    @dg.asset
    def where(gmail_lake: LakeResource) -> str:
        return gmail_lake.lake().uri

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [where],
            resources={"gmail_lake": LakeResource.configure_at_launch()},
            run_config={"resources": {"gmail_lake": {"config": {"uri": "elsewhere"}}}},
            instance=instance,
        )
        assert result.output_for_node("where") == "elsewhere"
