"""`gmail-assets logout`: take back what `login` brought."""

from __future__ import annotations

import argparse

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.output import Output, add_output_arguments

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "logout"
HELP = "revoke the stored credentials and remove them"
DESCRIPTION = """\
Revoke the stored refresh token at Google and remove the file. Google takes back the account's whole consent for the
OAuth client: other machines that use the same client and account have to log in again. With `--keep-consent` only
the file goes.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--keep-consent", action="store_true", help="remove the file and leave the token valid at Google"
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Log out."""
    from pydantic import SecretStr

    from gmail_client.auth.endpoints import OAUTH_ROOT
    from gmail_client.auth.login import revoke
    from gmail_client.auth.login_file import read_login, remove_login
    from gmail_client.settings import credentials_file

    out = Output(arguments)
    path = credentials_file()
    login = read_login(path)
    token = login.get("refresh_token")
    revoked = False
    if isinstance(token, str) and token and not arguments.keep_consent:
        revoked = revoke(SecretStr(token), oauth_root=str(login.get("oauth_root") or OAUTH_ROOT))
        out.say("Revoked at Google." if revoked else "Google did not know the token any more.")
    removed = remove_login(path)
    out.say(f"Removed {path}." if removed else f"There is no login: {path} does not exist.")
    out.result({"file": str(path), "removed": removed, "revoked": revoked})
    return ExitCode.DONE
