"""Which endpoint belongs to which credentials, for all combinations of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmail_client.auth.credentials import WAYS
from gmail_client.auth.endpoints import GOOGLE, Endpoints
from gmail_client.auth.layers import CLIENT, ROOTS, Layer, merged, owner_of_client
from gmail_client.errors import ConfigurationError

HERE = "https://gateway.example"
EVIL = "https://evil.example"
FULL = {"client_id": "id", "client_secret": "hush", "refresh_token": "1//hush"}


def layers(*values: dict[str, Any]) -> list[Layer]:
    return [Layer.of(name, value) for name, value in zip(("first", "second", "third"), values, strict=False)]


def test_the_first_layer_that_names_a_value_wins() -> None:
    found = merged(layers({"quota": "1"}, {"quota": "2", "lake": "here"}, {"lake": "there"}))
    assert found == {"quota": "1", "lake": "here"}


def test_empty_values_are_ignored() -> None:
    assert merged(layers({"quota": "", "lake": None}, {"quota": "2"})) == {"quota": "2"}


def test_an_endpoint_in_the_same_layer_belongs_to_the_credentials() -> None:
    found = merged(layers({}, {**FULL, "api_root": f"{HERE}/"}))
    assert (found["api_root"], found["oauth_root"]) == (HERE, GOOGLE.oauth_root)


def test_credentials_without_an_endpoint_use_googles() -> None:
    found = merged(layers(FULL, {**FULL, "api_root": EVIL, "oauth_root": EVIL}))
    assert Endpoints(found["api_root"], found["oauth_root"]) == GOOGLE


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("above", [True, False])
def test_an_endpoint_alone_is_refused_with_both_names(root: str, way: str, above: bool) -> None:
    both: tuple[dict[str, Any], dict[str, Any]] = ({root: EVIL}, {way: "hush"})
    with pytest.raises(ConfigurationError) as caught:
        merged(layers(*(both if above else reversed(both))))
    assert EVIL in caught.value.what
    assert getattr(GOOGLE, root) in caught.value.what
    assert "first" in caught.value.what
    assert "second" in caught.value.what
    assert "hush" not in str(caught.value)
    assert caught.value.fix


def test_an_endpoint_alone_is_accepted_if_it_agrees() -> None:
    found = merged(layers({"api_root": f"{HERE}/"}, {**FULL, "api_root": HERE}))
    assert found["api_root"] == HERE


def test_a_client_secret_from_another_layer_brings_its_own_endpoint() -> None:
    with pytest.raises(ConfigurationError, match="evil"):
        merged(layers({"client_secret": "hush"}, {"refresh_token": "1//hush", "oauth_root": EVIL}))
    with pytest.raises(ConfigurationError, match="evil"):
        merged(layers({"refresh_token": "1//hush"}, {**FULL, "oauth_root": EVIL}))


def test_without_credentials_endpoints_are_merged_like_other_values() -> None:
    assert merged(layers({"api_root": HERE}, {"api_root": EVIL}))["api_root"] == HERE


def test_a_password_in_another_layer_s_endpoint_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        merged(layers({"api_root": "https://ada:s3cret@evil.example"}, FULL))
    assert "s3cret" not in str(caught.value)


def test_a_folder_s_file_names_no_key_file_together_with_an_endpoint() -> None:
    values = {"service_account_file": "/home/ada/key.json", "api_root": EVIL}
    with pytest.raises(ConfigurationError, match="GMAIL_SERVICE_ACCOUNT_FILE"):
        merged([Layer.of(".env", values, trusted=False)])
    assert merged([Layer.of("the environment", values)])["api_root"] == EVIL
    assert merged([Layer.of(".env", {**values, "api_root": GOOGLE.api_root}, trusted=False)])


def test_the_client_that_logs_in_has_its_own_endpoint() -> None:
    owner = owner_of_client(layers({}, {**FULL, "oauth_root": HERE}))
    assert owner is not None
    assert owner.endpoints == Endpoints(oauth_root=HERE)
    with pytest.raises(ConfigurationError, match="evil"):
        owner_of_client(layers({"client_secret": "hush"}, {"oauth_root": EVIL}))
    assert owner_of_client(layers({"client_id": "id"}, {"oauth_root": EVIL})) is None


roots = st.sampled_from(["", HERE, EVIL, GOOGLE.api_root])
secrets = st.sampled_from(["", "hush"])
values = st.fixed_dictionaries(dict.fromkeys((*CLIENT, *WAYS), secrets) | dict.fromkeys(ROOTS, roots))


@given(st.lists(values, min_size=1, max_size=3))
def test_no_secret_belongs_to_a_layer_that_names_other_endpoints(given_values: list[dict[str, str]]) -> None:
    found_layers = layers(
        *(
            {name: value and f"{value}-{at}" if value == "hush" else value for name, value in one.items()}
            for at, one in enumerate(given_values)
        )
    )
    try:
        found = merged(found_layers)
    except ConfigurationError:
        return
    way = next((name for name in WAYS if name in found), None)
    if way is None:
        return
    used = [way, *(["client_secret"] if "refresh_token" in found and "client_secret" in found else [])]
    for name in used:
        layer = next(layer for layer in found_layers if layer.values.get(name) == found[name])
        assert layer.endpoints == Endpoints(found["api_root"], found["oauth_root"])
    for layer in found_layers:
        if not layer.has_credentials:
            assert all(layer.root(root) == found[root] for root in ROOTS if root in layer.values)


ELSEWHERE = (
    "s3://evil/lake",
    "/srv/www",
    "../lake",
    "a/../../lake",
    "~/public",
    "file:///srv",
    "link",
    "holds",
)
WITHIN = ("lake", "./lake", "data/lake", "a/../lake", ".")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with symbolic links to folders outside of it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path)
    (tmp_path / "work" / "holds").mkdir()
    (tmp_path / "work" / "holds" / "messages").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("lake", ELSEWHERE)
@pytest.mark.parametrize("owner", [None, "environment", ".env with a key file"])
def test_an_untrusted_layer_names_no_lake_elsewhere_for_the_mail_of_others(
    lake: str, owner: str | None
) -> None:
    dotenv = {"lake": lake}
    if owner == ".env with a key file":
        dotenv["service_account_file"] = "/home/ada/key.json"
    above = [Layer.of("environment", FULL)] if owner == "environment" else []
    with pytest.raises(ConfigurationError) as caught:
        merged([*above, Layer.of(".env", dotenv, trusted=False)])
    assert repr(lake) in caught.value.what
    assert "hush" not in str(caught.value)
    assert "in the environment" in caught.value.fix


@pytest.mark.parametrize("lake", WITHIN)
def test_an_untrusted_layer_may_name_a_lake_in_the_same_folder(folder: Path, lake: str) -> None:
    (folder / "link").unlink()
    (folder / "holds" / "messages").unlink()
    found = merged([Layer.of("environment", FULL), Layer.of(".env", {"lake": lake}, trusted=False)])
    assert found["lake"] == lake
    absolute = {"lake": str(folder / lake)}
    assert merged([Layer.of("environment", FULL), Layer.of(".env", absolute, trusted=False)])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("lake", ELSEWHERE)
def test_the_layer_of_the_credentials_or_a_trusted_layer_names_the_lake(lake: str) -> None:
    dotenv = Layer.of(".env", {**FULL, "lake": lake}, trusted=False)
    assert merged([dotenv])["lake"] == lake
    assert merged([Layer.of("environment", {"lake": lake}), Layer.of("login", FULL)])["lake"] == lake
    assert merged([Layer.of("environment", {"lake": "s3://mine"}), dotenv])["lake"] == "s3://mine"
    with pytest.raises(ConfigurationError, match="not written there"):
        merged([Layer.of("environment", {"access_token": "hush"}), dotenv])
