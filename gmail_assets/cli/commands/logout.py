"""`gmail-assets logout`: revoke and remove the stored login."""

from __future__ import annotations

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output

__all__ = ["logout"]


@click.command
@click.option("--keep-consent", is_flag=True, help="Remove the file, but keep the token valid at Google.")
@output_options
def logout(keep_consent: bool, out: Output) -> int:
    """Revoke and remove the stored credentials.

    Google then revokes the account's whole consent for the OAuth client: other machines with the same client and
    account have to log in again. With --keep-consent, only the login file is removed.
    """
    from pydantic import SecretStr

    from gmail_client.auth.endpoints import OAUTH_ROOT
    from gmail_client.auth.login import revoke
    from gmail_client.auth.login_file import read_login, remove_login
    from gmail_client.settings import credentials_file

    path = credentials_file()
    login = read_login(path)
    token = login.get("refresh_token")
    revoked = False
    if isinstance(token, str) and token and not keep_consent:
        revoked = revoke(SecretStr(token), oauth_root=str(login.get("oauth_root") or OAUTH_ROOT))
        out.print("Revoked the token at Google." if revoked else "The token was already invalid at Google.")
    removed = remove_login(path)
    out.print(f"Removed {path}." if removed else f"There is no login to remove: {path} does not exist.")
    out.print_json({"file": str(path), "removed": removed, "revoked": revoked})
    return ExitCode.SUCCESS
