"""The public names of `gmail_assets` exist; importing one name does not import the dependencies of others."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gmail_assets


@pytest.mark.parametrize("name", gmail_assets.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(gmail_assets, name) is not None
    assert name in dir(gmail_assets)


def test_the_function_sync_is_callable_after_its_folder_was_imported() -> None:
    import gmail_assets.syncing.run

    assert callable(gmail_assets.sync)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gmail_assets.nothing  # noqa: B018


def test_syncing_without_dagster_does_not_import_it() -> None:
    code = "import sys; from gmail_assets import Lake, snapshot, sync; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
