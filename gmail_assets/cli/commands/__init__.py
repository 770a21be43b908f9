"""The commands of `gmail-assets`: one module with one Click command each, in the order of `--help`.

A command returns its exit code. Whatever is slow to import, it imports in its function.
"""

from __future__ import annotations

import click

from gmail_assets.cli.commands.bundle import bundle
from gmail_assets.cli.commands.check import check
from gmail_assets.cli.commands.completion import completion
from gmail_assets.cli.commands.conformance import conformance
from gmail_assets.cli.commands.doctor import doctor
from gmail_assets.cli.commands.emulator import emulator
from gmail_assets.cli.commands.forget import forget
from gmail_assets.cli.commands.login import login
from gmail_assets.cli.commands.logout import logout
from gmail_assets.cli.commands.mailboxes import mailboxes
from gmail_assets.cli.commands.plan import plan
from gmail_assets.cli.commands.status import status
from gmail_assets.cli.commands.sync import sync
from gmail_assets.cli.commands.vacuum import vacuum
from gmail_assets.cli.commands.verify import verify

__all__ = ["COMMANDS"]

COMMANDS: tuple[click.Command, ...] = (
    login,
    check,
    mailboxes,
    plan,
    sync,
    status,
    verify,
    doctor,
    conformance,
    vacuum,
    forget,
    logout,
    emulator,
    bundle,
    completion,
)
