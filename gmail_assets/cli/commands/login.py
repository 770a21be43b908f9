"""`gmail-assets login`: get a refresh token through the browser, check it and store it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output, write_error

if TYPE_CHECKING:
    from gmail_client.auth.endpoints import Endpoints
    from gmail_client.auth.login import Granted
    from gmail_client.auth.oauth_client import OAuthClient
    from gmail_client.settings import Settings

__all__ = ["login"]

_STANDARD_INPUT = "-"


@click.command
@click.option(
    "--client-file", metavar="FILE", help="JSON file of the OAuth client, downloaded from the Cloud console."
)
@click.option("--client-id", metavar="ID", help="Client id. Default: GMAIL_CLIENT_ID.")
@click.option(
    "--client-secret",
    metavar="SECRET",
    help="Client secret; `-` reads it from standard input. Default: GMAIL_CLIENT_SECRET, else a prompt. "
    "Other users of this machine can see an argument in the process list.",
)
@click.option("--account", metavar="ADDRESS", help="Expected account; a login with another account fails.")
@click.option(
    "--no-browser",
    is_flag=True,
    help="Print the URL, open no browser; the response can be pasted.",
)
@click.option(
    "--port", type=int, default=0, help="Local port that receives the response. Default: any free port."
)
@click.option(
    "--redirect-uri",
    metavar="URI",
    help="Registered redirect URI of a 'Web application' client that is given by id and secret.",
)
@click.option(
    "--timeout",
    type=float,
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Maximum time to wait for the response.",
)
@click.option(
    "--scope",
    type=click.Choice(["readonly", "modify", "full"]),
    default="readonly",
    show_default=True,
    help="Access to ask for. `conformance` needs modify, with a throw-away account; everything else readonly.",
)
@click.option(
    "--print-env", is_flag=True, help="Print lines for .env, including the secrets, and store nothing."
)
@output_options
def login(
    client_file: str | None,
    client_id: str | None,
    client_secret: str | None,
    account: str | None,
    no_browser: bool,
    port: int,
    redirect_uri: str | None,
    timeout: float,
    scope: str,
    print_env: bool,
    out: Output,
) -> int:
    """Log in to Google in the browser and store the credentials.

    Grants read access to mail (scope gmail.readonly) and stores the credentials in a file that only you can read. This
    needs an OAuth client of the type "Desktop app"; docs/google-cloud.md explains how to create one in a few minutes.

    On a machine without a browser, --no-browser prints the URL to open elsewhere. Either forward a port
    (`ssh -L 8085:127.0.0.1:8085 host` and `--port 8085`), or paste the URL of the browser's last page.
    """
    from gmail_client.auth.login import Login, consent
    from gmail_client.auth.login_file import env_lines, store_login
    from gmail_client.errors import ConfigurationError, CredentialsError
    from gmail_client.settings import credentials_file

    if out.json and print_env:
        raise ConfigurationError("--json and --print-env contradict each other.", fix="Use one of them.")
    client, endpoints = _target(client_file, client_id, client_secret, out)
    flow = Login(
        client, oauth_root=endpoints.oauth_root, api_root=endpoints.api_root, hint=account, scope=scope
    )

    def show(url: str, paste: bool) -> None:
        _show(url, paste, no_browser)

    granted = consent(
        flow,
        port=port,
        redirect_uri=redirect_uri,
        show=show,
        read_line=_read_line if no_browser or _in_terminal() else None,
        complain=lambda text: _prompt(f"{text}\n"),
        timeout=timeout,
    )
    if account and granted.address.lower() != account.lower():
        raise CredentialsError(
            f"The browser logged in as {granted.address}, not {account}; nothing was stored.",
            fix=f"Log in again and choose {account} on Google's page.",
        )
    if print_env:
        sys.stdout.write(env_lines(granted))
        out.note(f"Logged in as {granted.address}; nothing was stored.")
        return ExitCode.SUCCESS
    path = credentials_file()
    store_login(path, granted)
    out.print(f"Logged in as {granted.address}. The credentials are in {path}, which only you can read.")
    _warn(out, granted)
    if scope != "readonly":
        out.note(
            "Warning: this login can change and remove mail. Use it with a throw-away account, for `gmail-assets "
            "conformance`; `gmail-assets logout` revokes it."
        )
    out.print(
        "\nNext:\n"
        "  gmail-assets check                  which tables can be read, and whether the lake is writable\n"
        "  gmail-assets plan                   quota units and hours of the first load\n"
        "  gmail-assets sync labels profile    the first rows"
    )
    out.print_json({"address": granted.address, "file": str(path), "scopes": list(granted.scopes)})
    return ExitCode.SUCCESS


def _target(
    client_file: str | None, client_id: str | None, client_secret: str | None, out: Output
) -> tuple[OAuthClient, Endpoints]:
    """The OAuth client (from options, environment or last login) and the endpoints it belongs to."""
    from gmail_client.auth.oauth_client import OAuthClient
    from gmail_client.errors import ConfigurationError
    from gmail_client.settings import login_target

    if client_secret == _STANDARD_INPUT:
        client_secret = _read_line().strip()
    elif client_secret:
        out.note(
            "Warning: --client-secret is visible in the process list and in the shell's history. Use --client-file, or "
            "leave it out: the command then asks for the secret."
        )
    if not client_file:
        return login_target(
            client_id=client_id,
            client_secret=client_secret,
            ask_secret=_ask_secret if _in_terminal() else None,
        )
    if client_id or client_secret:
        raise ConfigurationError(
            "--client-file and --client-id or --client-secret contradict each other.",
            fix="Use the file, or id and secret.",
        )
    return login_target(client=OAuthClient.from_file(client_file))


def _ask_secret() -> str:
    return str(click.prompt("Client secret (not shown)", hide_input=True, err=True))


def _show(url: str, paste: bool, no_browser: bool) -> None:
    opened = False
    if not no_browser:
        import webbrowser

        opened = webbrowser.open(url)
    if opened:
        _prompt(f"The browser opens Google's login page. If it does not, open this URL:\n\n{url}\n")
    else:
        _prompt(f"Open this URL in a browser, log in and allow access:\n\n{url}\n")
    if paste:
        _prompt("Then paste the URL of the browser's last page (or its code) and press Enter:")
    elif no_browser:
        _prompt(
            "If the browser runs on another machine, its last page does not load: paste the URL of that page\n"
            "here and press Enter. (With a forwarded port, there is nothing to paste.)"
        )


def _in_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _read_line() -> str:
    try:
        return sys.stdin.readline()
    except (AttributeError, OSError, ValueError):  # no standard input: same as its end
        return ""


def _prompt(text: str) -> None:
    """Print what the user has to do; also with --quiet, because the login waits for it."""
    write_error(text)
    sys.stderr.flush()


def _warn(out: Output, granted: Granted) -> None:
    from gmail_client.auth.login import TESTING_DAYS
    from gmail_client.errors import GmailError
    from gmail_client.settings import Settings

    out.print(
        f"If the publishing status of the OAuth app is 'Testing', this login expires after {TESTING_DAYS} days.\n"
        "To avoid that, publish the app or make it 'Internal' under Google Auth Platform > Audience."
    )
    try:
        settings = Settings()
        used = settings.credentials()
        if used.refresh_token.get_secret_value() != granted.refresh_token.get_secret_value():
            out.note(
                f"Warning: the environment or .env sets another {used.kind}, which takes precedence over this login. "
                "Unset it to use the login."
            )
            return
        problem = _lake_mismatch(settings, granted.address)
    except GmailError as error:
        problem = str(error)
    if problem:
        out.note(f"Warning: {problem}")


def _lake_mismatch(settings: Settings, address: str) -> str:
    """Why this login does not match the existing lake; empty if it does."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.registry import MailboxRegistry

    registry = MailboxRegistry(Lake(settings.lake))
    known = registry.address_of(settings.user_id)
    if known is None or known == (registry.address_of(address) or address):
        return ""
    return (
        f"the lake {settings.lake!r} contains the mail of {known} as {settings.user_id!r}, but this login is for "
        f"{address}. Log in as {known}, set GMAIL_USER_ID={address}, or set GMAIL_LAKE to another location."
    )
