"""The console script `gmail-assets`: `main`."""

from gmail_assets.cli.app import main

__all__ = ["main"]
