"""For all combinations of layers: a secret is only sent to servers that its own layer names.

Each layer has secrets and servers with its name in them. Requests are intercepted before they reach the network.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from support.egress import Sent, egress
from support.matrix import slow_except

from gmail_assets import GmailAccess
from gmail_assets.cli import main
from gmail_client.auth import keyless
from gmail_client.auth.endpoints import Endpoints
from gmail_client.auth.login import Login
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.discovery import discover
from gmail_client.errors import GmailError
from gmail_client.settings import login_target
from lakeflow_entry.connection import Connection

API, OAUTH = "https://gmail.googleapis.com", "https://oauth2.googleapis.com"
IAM, ADMIN = "https://iamcredentials.googleapis.com", "https://admin.googleapis.com"
CREDENTIALS = ("nothing", "refresh", "access", "key", "google key", "client", "token alone")
ELSEWHERE = ("keyless", "tokens", "logins", "own logins")
"""Ways whose secrets are in a file, in the machine's identity, or one for each mailbox."""
ENDPOINTS = ("google", "both", "api", "oauth")
SETTINGS_LAYERS = ("code", "environment", "dotenv", "login")
PAIRS = [(owner, other) for owner in SETTINGS_LAYERS for other in SETTINGS_LAYERS]


MACHINE = {
    "type": "authorized_user",
    "client_id": "id-machine",
    "client_secret": "hush-machine-client",
    "refresh_token": "hush-machine-refresh",
}
"""The machine's Google identity: a user's application default credentials."""


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def server(layer: str) -> str:
    return f"https://{layer}.example"


def layer_values(layer: str, credentials: str, endpoints: str, folder: Path) -> dict[str, str]:
    """The values of one layer; every secret in it contains the layer's name."""
    values: dict[str, str] = {}
    if credentials in ("refresh", "client"):
        values |= {"client_id": f"id-{layer}", "client_secret": f"hush-{layer}-client"}
    if credentials in ("refresh", "token alone"):
        values["refresh_token"] = f"hush-{layer}-refresh"
    if credentials == "access":
        values["access_token"] = f"hush-{layer}-access"
    if credentials.endswith("key"):
        path = folder / f"{layer}.json"
        token_uri = f"{OAUTH if credentials == 'google key' else server(layer)}/token"
        email = f"hush-{layer}-key@iam.example"
        path.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "client_email": email,
                    "private_key": private_key(),
                    "token_uri": token_uri,
                }
            )
        )
        values |= {"service_account_file": str(path)}
    if credentials == "keyless":
        values["service_account_email"] = f"hush-{layer}-robot@p.iam.gserviceaccount.com"
    if credentials == "tokens":
        token = {"ada@gmail.test": f"hush-{layer}-refresh"}
        values |= {
            "client_id": f"id-{layer}",
            "client_secret": f"hush-{layer}-client",
            "refresh_tokens": json.dumps(token),
        }
    if credentials.endswith("logins"):
        values["logins"] = str(folder / f"{layer}-logins")
        login = {
            "address": "ada@gmail.test",
            "client_id": "id",
            "client_secret": f"hush-{layer}-login-client",
        }
        login["refresh_token"] = f"hush-{layer}-login-refresh"
        login |= (
            dict.fromkeys(("api_root", "oauth_root"), server(layer)) if credentials == "own logins" else {}
        )
        Path(values["logins"]).mkdir()
        Path(values["logins"], "ada.json").write_text(json.dumps(login))
    values |= {root: server(layer) for root in ("api_root", "oauth_root") if endpoints in ("both", root[:-5])}
    return values


def check(sent: list[Sent], named: Mapping[str, Mapping[str, str]]) -> None:
    """Check that the secrets of each layer were only sent to servers of the same layer.

    Args:
        sent: The intercepted requests.
        named: The values of each layer.
    """
    for request in sent:
        if "hush-machine" in request.text:
            assert request.root in _roots_of_the_machine(request, named), (
                f"the machine's identity went to {request}"
            )
        for layer, values in named.items():
            if f"hush-{layer}-" not in request.text:
                continue
            signed = request.path.endswith(":signJwt")
            root = "oauth_root" if signed or request.path in ("/token", "/revoke") else "api_root"
            source = _login_of(values) if f"hush-{layer}-login" in request.text else values
            google = IAM if signed else OAUTH if root == "oauth_root" else API
            own = source.get(root, ADMIN if request.path.startswith("/admin/directory/") else google)
            if request.path == "/token" and f"hush-{layer}-key" in request.text:
                key = json.loads(Path(values["service_account_file"]).read_text())
                own = key["token_uri"].removesuffix("/token")
            assert request.root == own, f"a secret of {layer} ({values}) went to {request}"


def _login_of(values: Mapping[str, str]) -> dict[str, str]:
    login: dict[str, str] = json.loads(Path(values["logins"], "ada.json").read_text())
    return login


def _roots_of_the_machine(request: Sent, named: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Google's, and where a layer that has the machine's identity used is allowed to send it: not from `.env`."""
    if not request.path.endswith(":signJwt"):
        return {OAUTH}
    trusted = [
        values for layer, values in named.items() if layer != "dotenv" and "service_account_email" in values
    ]
    return {IAM, *(values["oauth_root"] for values in trusted if "oauth_root" in values)}


@contextmanager
def layers(
    chosen: Mapping[str, tuple[str, str]], prefix: str = "GMAIL_"
) -> Iterator[dict[str, dict[str, str]]]:
    """Set the chosen values in the environment, `.env` and login file; yields the values of each layer."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        named = {layer: layer_values(layer, *what, folder) for layer, what in chosen.items()}
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("GMAIL_") and not key.lower().endswith("_proxy")
        }
        variables = {f"{prefix}{key.upper()}": value for key, value in named.get("environment", {}).items()}
        variables["GMAIL_CREDENTIALS_FILE"] = str(folder / "login.json")
        variables["GMAIL_CONNECTIONS_FILE"] = str(folder / "connections.json")
        variables["GMAIL_USER_ID"] = "ada@gmail.test"
        variables["GOOGLE_APPLICATION_CREDENTIALS"] = str(folder / "machine.json")
        (folder / "machine.json").write_text(json.dumps(MACHINE))
        keyless._identity.cache_clear()
        if "login" in named:
            login = dict(named["login"])
            login |= {key: json.loads(value) for key, value in login.items() if key == "refresh_tokens"}
            (folder / "login.json").write_text(json.dumps(login))
            (folder / "login.json").chmod(0o600)
        (folder / "connections.json").write_text(json.dumps({"corp": named.get("connection", {})}))
        lines = [f"GMAIL_{key.upper()}={value}" for key, value in named.get("dotenv", {}).items()]
        (folder / ".env").write_text("\n".join(lines))
        with patch.dict(os.environ, {**kept, **variables}, clear=True):
            os.chdir(folder)
            try:
                yield named
            finally:
                os.chdir(before)


@contextmanager
def silent_errors() -> Iterator[None]:
    """Accept a `GmailError` instead of a request, if it contains no secret."""
    text = ""
    try:
        yield
    except GmailError as error:
        text = f"{error} {error!r}"
    assert "hush-" not in text  # the name of a temporary folder has no dash


def read_with_settings(chosen: Mapping[str, tuple[str, str]]) -> int:
    """Read a mailbox with the settings of the layers; returns the number of requests."""
    with layers(chosen) as named, egress() as sent:
        with silent_errors():
            code = {key: value for key, value in named.get("code", {}).items() if key != "refresh_tokens"}
            access = GmailAccess(**code)  # type: ignore[arg-type]
            access.client().mailbox("ada@gmail.test").api.profile()
        check(sent, named)
    return len(sent)


choices = st.tuples(st.sampled_from(CREDENTIALS), st.sampled_from(ENDPOINTS))
every_choice = st.tuples(st.sampled_from((*CREDENTIALS, *ELSEWHERE)), st.sampled_from(ENDPOINTS))


@settings(max_examples=80, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(SETTINGS_LAYERS, every_choice)))
def test_any_four_layers(chosen: dict[str, tuple[str, str]]) -> None:
    read_with_settings(chosen)


@pytest.mark.parametrize(
    ("owner", "other"), slow_except(PAIRS, [("environment", "dotenv"), ("login", "code")])
)
def test_credentials_of_one_layer_and_an_endpoint_of_another(owner: str, other: str) -> None:
    made = 0
    for credentials, endpoints, beside in product(CREDENTIALS, ENDPOINTS, ENDPOINTS):
        chosen = {owner: (credentials, endpoints)}
        if other != owner:
            chosen[other] = ("nothing", beside)
        made += read_with_settings(chosen)
    assert made > 0


@pytest.mark.parametrize("credentials", ELSEWHERE)
@pytest.mark.parametrize("owner", SETTINGS_LAYERS)
def test_secrets_in_a_file_or_of_the_machine_and_an_endpoint_of_another_layer(
    owner: str, credentials: str
) -> None:
    made = 0
    for other, endpoints, beside in product(SETTINGS_LAYERS, ENDPOINTS, ("google", "both")):
        chosen = {owner: (credentials, endpoints)}
        if other != owner:
            chosen[other] = ("nothing", beside)
        made += read_with_settings(chosen)
    # GmailAccess takes no tokens of single mailboxes.
    assert (made > 0) is not ((owner, credentials) in [("code", "tokens"), ("dotenv", "own logins")])


@pytest.mark.parametrize("owner", SETTINGS_LAYERS)
def test_the_directory(owner: str) -> None:
    made = 0
    for credentials, endpoints, other in product(
        ("key", "google key", "keyless"), ENDPOINTS, SETTINGS_LAYERS
    ):
        chosen = {other: ("nothing", "both"), owner: (credentials, endpoints)}
        with layers(chosen) as named, egress() as sent:
            with silent_errors(), patch.dict(os.environ, {"GMAIL_DIRECTORY": "all,group:a@b.test"}):
                settings = GmailAccess(**named.get("code", {})).settings()  # type: ignore[arg-type]
                discover(settings.model_copy(update={"directory_admin": "ada@gmail.test"}))
            check(sent, named)
        made += len([request for request in sent if request.path.startswith("/admin/directory/")])
    assert made > 0


@pytest.mark.parametrize("layer", SETTINGS_LAYERS)
@pytest.mark.parametrize("endpoints", ENDPOINTS)
@pytest.mark.parametrize("credentials", ["refresh", "access"])
def test_credentials_alone_are_used(layer: str, endpoints: str, credentials: str) -> None:
    assert read_with_settings({layer: (credentials, endpoints)}) == (2 if credentials == "refresh" else 1)


@pytest.mark.parametrize("client_from", ["command line", "file", "other file", "layers"])
@pytest.mark.parametrize(
    "environment", ["google", *(pytest.param(which, marks=pytest.mark.slow) for which in ENDPOINTS[1:])]
)
def test_login(client_from: str, environment: str) -> None:
    clients = ("nothing", "client", "refresh")
    made = 0
    for c1, c2, c3, e2, e3 in product(clients, clients, clients[::2], ENDPOINTS, ENDPOINTS[:2]):
        chosen = {"environment": (c1, environment), "dotenv": (c2, e2), "login": (c3, e3)}
        with layers(chosen) as named, egress() as sent, silent_errors():
            # Command-line values belong to the environment: both come from the user who runs the command.
            named["typed"] = dict(named["environment"])
            client, where = _typed(client_from)
            Login(client, oauth_root=where.oauth_root, api_root=where.api_root).check_client()
        check(sent, named)
        made += len(sent)
    moved = environment in ("both", "oauth")
    assert (made > 0) is {"file": not moved, "other file": moved}.get(client_from, True)


def _typed(client_from: str) -> tuple[OAuthClient, Endpoints]:
    """The client and its endpoints, as the command `login` finds them."""
    typed = {"client_id": "id-typed", "client_secret": "hush-typed-client"}
    if client_from == "command line":
        return login_target(**typed)
    if client_from == "layers":
        return login_target()
    token_uri = f"{OAUTH if client_from == 'file' else server('environment')}/token"
    Path("client.json").write_text(json.dumps({"installed": {**typed, "token_uri": token_uri}}))
    client, where = login_target(client=OAuthClient.from_file("client.json"))
    assert where.oauth_root == token_uri.removesuffix("/token")
    return client, where


def test_logout() -> None:
    for e1, e2, e3, credentials in product(ENDPOINTS, ENDPOINTS, ENDPOINTS, ("nothing", "refresh")):
        chosen = {"environment": (credentials, e1), "dotenv": (credentials, e2), "login": ("refresh", e3)}
        with layers(chosen) as named, egress() as sent:
            main(["logout", "--quiet"])
        check(sent, named)
        assert [request.path for request in sent] == ["/revoke"]


CONNECTION_LAYERS = ("options", "connection", "environment")


def read_with_connection(chosen: Mapping[str, tuple[str, str]], name: str | None, prefix: str) -> int:
    """Read as Spark's worker does; returns the number of requests."""
    with layers(chosen, prefix) as named, egress() as sent:
        with silent_errors():
            options = {**named.get("options", {}), **({} if name is None else {"connection": name})}
            Connection.of(options).mailbox("ada@gmail.test").api.profile()
        check(sent, named)
    return len(sent)


@pytest.mark.parametrize("name", [None, "corp", pytest.param("elsewhere", marks=pytest.mark.slow)])
@pytest.mark.parametrize("prefix", ["GMAIL_", "GMAIL_CONNECTION_CORP_"])
def test_connections_of_spark(name: str | None, prefix: str) -> None:
    made = 0
    for options, endpoints in product((*CREDENTIALS, "keyless"), ENDPOINTS):
        kinds = ("nothing", "refresh", "access", "google key", "keyless")
        for credentials, other in product(kinds, ("google", "both")):
            chosen = {
                "options": (options, endpoints),
                "connection": (credentials, other),
                "environment": (credentials, other),
            }
            made += read_with_connection(chosen, name, prefix)
    assert made > 0


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(dict.fromkeys(CONNECTION_LAYERS, choices)),
    st.sampled_from([None, "corp"]),
    st.sampled_from(["GMAIL_", "GMAIL_CONNECTION_CORP_"]),
)
def test_any_three_layers_of_spark(chosen: dict[str, tuple[str, str]], name: str | None, prefix: str) -> None:
    read_with_connection(chosen, name, prefix)


def test_a_proxy_is_used_only_for_other_machines() -> None:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://proxy.example:3128")
    for root in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "https://127.0.0.1:9"):
        with layers({}), patch.dict(os.environ, proxies), egress() as sent:
            access = GmailAccess(
                client_id="id", client_secret="hush", refresh_token="hush", api_root=root, oauth_root=root
            )
            access.client().mailbox("ada@gmail.test").api.profile()
        assert [urlsplit(request.root).hostname for request in sent] == [urlsplit(root).hostname] * 2
        assert [request.proxies for request in sent] == [{}, {}]
    with layers({}), patch.dict(os.environ, proxies), egress() as sent:
        GmailAccess(access_token="hush").client().mailbox("ada@gmail.test").api.profile()
    assert sent[0].proxies["https"] == "http://proxy.example:3128"
