"""`gmail-assets login`: a refresh token by way of the browser, checked and stored."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.output import Output, add_output_arguments

if TYPE_CHECKING:
    from gmail_client.auth.endpoints import Endpoints
    from gmail_client.auth.login import Granted
    from gmail_client.auth.oauth_client import OAuthClient
    from gmail_client.settings import Settings

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "login"
HELP = "log in to Google in the browser and store the credentials"
DESCRIPTION = """\
Log in to Google in the browser, allow this program to read mail (the scope gmail.readonly), and store what that
brings in a file that only you can read. You need an OAuth client of the type "Desktop app"; docs/google-cloud.md
says how to get one in some minutes.

On a machine without a browser, `--no-browser` prints the address to open elsewhere. Either forward a port
(`ssh -L 8085:127.0.0.1:8085 host` and `--port 8085`), or paste the address that the browser ends at.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--client-file", metavar="FILE", help="the client's JSON, as the Cloud console lets you download it"
    )
    parser.add_argument("--client-id", metavar="ID", help="the client's id (default: GMAIL_CLIENT_ID)")
    parser.add_argument(
        "--client-secret", metavar="SECRET", help="the client's secret (default: GMAIL_CLIENT_SECRET)"
    )
    parser.add_argument("--account", metavar="ADDRESS", help="the account that is meant; another is refused")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, open nothing; the answer may be pasted"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port of this machine for the answer (default: any that is free)"
    )
    parser.add_argument(
        "--redirect-uri",
        metavar="URI",
        help="for a client of the type 'Web application' given by id and secret: one of its redirect addresses",
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help="give up after so long (default: 300)"
    )
    parser.add_argument(
        "--print-env",
        action="store_true",
        help="print the lines for .env, secrets included, and store nothing",
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Log in."""
    from gmail_client.auth.login import Login, consent
    from gmail_client.auth.login_file import env_lines, store_login
    from gmail_client.errors import ConfigurationError, CredentialsError
    from gmail_client.settings import credentials_file

    out = Output(arguments)
    if arguments.json and arguments.print_env:
        raise ConfigurationError("--json and --print-env contradict each other.", fix="Give one of them.")
    client, endpoints = _target(arguments)
    login = Login(
        client, oauth_root=endpoints.oauth_root, api_root=endpoints.api_root, hint=arguments.account
    )

    def show(url: str, paste: bool) -> None:
        _show(url, paste, arguments.no_browser)

    granted = consent(
        login,
        port=arguments.port,
        redirect_uri=arguments.redirect_uri,
        show=show,
        read_line=_read_line if arguments.no_browser or _in_terminal() else None,
        complain=lambda text: _tell(f"{text}\n"),
        timeout=arguments.timeout,
    )
    if arguments.account and granted.address.lower() != arguments.account.lower():
        raise CredentialsError(
            f"The browser logged in as {granted.address}, not {arguments.account}; nothing was stored.",
            fix=f"Log in again and choose {arguments.account} on Google's page.",
        )
    if arguments.print_env:
        sys.stdout.write(env_lines(granted))
        out.remark(f"Logged in as {granted.address}; nothing was stored.")
        return ExitCode.DONE
    path = credentials_file()
    store_login(path, granted)
    out.say(f"Logged in as {granted.address}. The credentials are in {path}, which only you can read.")
    _warn(out, granted)
    out.say(
        "\nNext:\n"
        "  gmail-assets check                  what can be read, and whether the lake can be written\n"
        "  gmail-assets plan                   what a first load costs in quota and hours\n"
        "  gmail-assets sync labels profile    the first rows"
    )
    out.result({"address": granted.address, "file": str(path), "scopes": list(granted.scopes)})
    return ExitCode.DONE


def _target(arguments: argparse.Namespace) -> tuple[OAuthClient, Endpoints]:
    """The client that was named, else the environment's, else the last login's; and the endpoints it belongs to."""
    from gmail_client.auth.oauth_client import OAuthClient
    from gmail_client.errors import ConfigurationError
    from gmail_client.settings import login_target

    if not arguments.client_file:
        return login_target(client_id=arguments.client_id, client_secret=arguments.client_secret)
    if arguments.client_id or arguments.client_secret:
        raise ConfigurationError(
            "--client-file and --client-id or --client-secret contradict each other.",
            fix="Give the file, or id and secret.",
        )
    return login_target(client=OAuthClient.from_file(arguments.client_file))


def _show(url: str, paste: bool, no_browser: bool) -> None:
    opened = False
    if not no_browser:
        import webbrowser

        opened = webbrowser.open(url)
    if opened:
        _tell(f"The browser shows Google's page. If it does not, open this address:\n\n{url}\n")
    else:
        _tell(f"Open this address in a browser, log in and allow access:\n\n{url}\n")
    if paste:
        _tell("Then paste the address that the browser ends at (or its code), and press Enter:")
    elif no_browser:
        _tell(
            "If the browser runs on another machine, its last page will not load: paste that page's address\n"
            "here and press Enter. (With a forwarded port there is nothing to paste.)"
        )


def _in_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _read_line() -> str:
    try:
        return sys.stdin.readline()
    except (AttributeError, OSError, ValueError):  # no input at all counts as its end
        return ""


def _tell(text: str) -> None:
    """What the user has to do, even with --quiet: without it nothing goes on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _warn(out: Output, granted: Granted) -> None:
    from gmail_client.auth.login import TESTING_DAYS
    from gmail_client.errors import GmailError
    from gmail_client.settings import Settings

    out.say(
        f"While the OAuth app's publishing status is 'Testing', this login ends after {TESTING_DAYS} days: publish "
        "the app,\nor make it 'Internal', under Google Auth Platform > Audience."
    )
    try:
        settings = Settings()
        used = settings.credentials()
        if used.refresh_token.get_secret_value() != granted.refresh_token.get_secret_value():
            out.remark(
                f"Warning: the environment or .env names another {used.kind}, which comes before this login. "
                "Unset it to use the login."
            )
            return
        problem = _lake_of_another(settings, granted.address)
    except GmailError as error:
        problem = str(error)
    if problem:
        out.remark(f"Warning: {problem}")


def _lake_of_another(settings: Settings, address: str) -> str:
    """What is wrong with this login for the lake that is there; empty where nothing is."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.registry import MailboxRegistry

    known = MailboxRegistry(Lake(settings.lake)).address_of(settings.user_id)
    if known is None or known == address:
        return ""
    return (
        f"the lake {settings.lake!r} holds the mail of {known} as {settings.user_id!r}, and this login is {address}'s. "
        f"Log in as {known}, set GMAIL_USER_ID={address}, or set GMAIL_LAKE to another place."
    )
