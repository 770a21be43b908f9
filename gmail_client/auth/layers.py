"""Layers of settings, and the rules which endpoint and lake belong to which credentials.

A layer is one source of settings: code, the environment, `.env`, the file that `login` wrote. The first layer
that names a value wins. Some values don't mix across layers:

- Credentials: the first layer with credentials of any kind is used. So GMAIL_ACCESS_TOKEN in the environment takes
  precedence over the refresh token that `login` stored.
- Endpoints: a secret is only sent to the endpoints in its own layer, Google's if it has none. Otherwise the `.env` of a
  folder that another person created could send the stored login to their server. An endpoint without credentials in the
  same layer is an error if it differs from the endpoint of the credentials.
- The lake: `.env` can set any location for the mail of its own credentials, but only its own folder for the mail of
  other credentials. In this folder, symbolic links that lead out of it are not followed, and folders of other users are
  not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gmail_client.auth.credentials import WAYS
from gmail_client.auth.endpoints import GOOGLE, Endpoints, checked_root
from gmail_client.errors import ConfigurationError
from gmail_client.printable import short_repr
from gmail_client.private_files import planted

__all__ = ["CLIENT", "ROOTS", "Layer", "merged", "owner_of_client", "plain"]

_NAMED_ONLY = ("service_account_file", "service_account_email", "logins")
"""Credentials whose secrets are not in the layer itself, but in a file or in the identity of the machine."""
CLIENT = ("client_id", "client_secret")
ROOTS = ("api_root", "oauth_root")


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings.

    Attributes:
        name: Its name in messages: `the environment`.
        values: Its values by field, without empty ones.
        trusted: Whether its paths may be used together with its endpoints. Otherwise a file in a folder of another
            person could name the user's own key file, and have a token sent to another server.
    """

    name: str
    values: Mapping[str, Any]
    trusted: bool = True

    @classmethod
    def of(cls, name: str, values: Mapping[str, Any], *, trusted: bool = True) -> Layer:
        """A layer without its empty values."""
        kept = {field: value for field, value in values.items() if plain(value) not in (None, "")}
        return cls(name, kept, trusted)

    @property
    def has_credentials(self) -> bool:
        """Whether it has credentials."""
        return any(way in self.values for way in WAYS)

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints of its credentials.

        Raises:
            ConfigurationError: A root that secrets must not be sent to.
        """
        return Endpoints(**{root: self.root(root) for root in ROOTS})

    def root(self, name: str) -> str:
        """One of its two roots, Google's if it names none."""
        value = self.values.get(name)
        return getattr(GOOGLE, name) if value is None else checked_root(f"GMAIL_{name.upper()}", str(value))


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """All settings; values of earlier layers take precedence.

    Raises:
        ConfigurationError: An endpoint that the credentials don't belong to (names both), or a lake that an untrusted
            layer names for the mail of other credentials.
    """
    owner = next((layer for layer in layers if layer.has_credentials), None)
    _refuse_lake_elsewhere(owner, layers)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if owner is None or name not in (*WAYS, *ROOTS):
                values.setdefault(name, value)
    if owner is None:
        return values
    values.update({name: value for name, value in owner.values.items() if name in WAYS})
    values.update({name: owner.root(name) for name in ROOTS})
    _refuse_other_endpoints(owner, layers)
    return values


def owner_of_client(layers: Sequence[Layer]) -> Layer | None:
    """The layer whose OAuth client is used to log in: the first with a client secret; None if there is none.

    Raises:
        ConfigurationError: Another layer names an endpoint that this client doesn't belong to; names both.
    """
    owner = next((layer for layer in layers if "client_secret" in layer.values), None)
    if owner is not None:
        for layer in layers:
            if layer is not owner and not layer.has_credentials:
                _refuse_other_endpoint(owner, layer, [root for root in ROOTS if root in layer.values])
    return owner


def _refuse_other_endpoints(owner: Layer, layers: Sequence[Layer]) -> None:
    lends_secret = next((layer for layer in layers if "client_secret" in layer.values), None)
    for layer in layers:
        if layer is owner:
            continue
        if layer is lends_secret and ("refresh_token" in owner.values or "refresh_tokens" in owner.values):
            _refuse_other_endpoint(owner, layer, ROOTS)
        elif not layer.has_credentials:
            # If it has credentials, its endpoint belongs to them, and neither is used.
            _refuse_other_endpoint(owner, layer, [root for root in ROOTS if root in layer.values])
    named = next((way for way in _NAMED_ONLY if way in owner.values), None)
    if not owner.trusted and named is not None and owner.endpoints != GOOGLE:
        raise ConfigurationError(
            f"{owner.name} names GMAIL_{named.upper()} together with an endpoint ({owner.endpoints}): "
            "it would get credentials that are not from the same place.",
            fix="Set both in the environment.",
        )


def _refuse_lake_elsewhere(owner: Layer | None, layers: Sequence[Layer]) -> None:
    """Otherwise the author of a `.env` could have the user's mail written to another bucket."""
    place = next((layer for layer in layers if "lake" in layer.values), None)
    if place is None or place.trusted:
        return
    # Credentials that are only named there may be the user's.
    own_credentials = place is owner and not any(way in place.values for way in _NAMED_ONLY)
    lake = str(place.values["lake"])
    if not own_credentials and not _in_this_folder(lake):
        raise ConfigurationError(
            f"{place.name} sets GMAIL_LAKE to {short_repr(lake)}, outside of its folder, but the credentials are "
            f"not in {place.name}: their mail is not written there.",
            fix="If the location is yours, set GMAIL_LAKE in the environment.",
        )


def _in_this_folder(lake: str) -> bool:
    if "://" in lake:
        return False
    folder = Path(lake).expanduser()
    return folder.resolve().is_relative_to(Path.cwd().resolve()) and planted(folder) is None


def _refuse_other_endpoint(owner: Layer, other: Layer, roots: Sequence[str]) -> None:
    for name in roots:
        if other.root(name) != owner.root(name):
            raise ConfigurationError(
                f"GMAIL_{name.upper()} is {other.root(name)} in {other.name}, but the credentials in "
                f"{owner.name} belong to {owner.root(name)}: they are not sent elsewhere.",
                fix="Unset it, or set GMAIL_API_ROOT and GMAIL_OAUTH_ROOT in the same place as the credentials.",
            )


def plain(value: object) -> object:
    """The plain value of a secret."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
