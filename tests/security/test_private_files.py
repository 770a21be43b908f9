"""Folders for mail, and their new parents, are readable by their owner only, with any umask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gmail_client.emulator import Emulator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
ROOT = Path(__file__).parents[2]


def run(folder: Path, code: str, **environment: str) -> None:
    """Run Python with the umask 0, which removes no permission."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.umask(0)\n{code}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("bare")
def test_the_lake_of_a_sync_and_its_parents(tmp_path: Path) -> None:
    with Emulator(messages=5, seed=4, mean_json_kb=2.0) as gmail:
        sync = (
            "from gmail_assets.cli import main; assert main(['sync', '--quiet', 'labels', 'messages']) == 0"
        )
        lake = tmp_path / "new" / "parent" / "lake"
        run(tmp_path, sync, **gmail.environment(), GMAIL_LAKE=str(lake), GMAIL_QUOTA="1200000")
    assert (lake / "messages" / "_delta_log").exists()
    for made in (tmp_path / "new", tmp_path / "new" / "parent", lake):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "code",
    [
        "MailboxRegistry(lake).check_name('me', 'ada@gmail.test')",
        "lake.table('labels')",
        "access_check.check_lake(lake, Spec.default()); lake.make_folder()",
        "DeltaSink(lake.location('x'), SCHEMAS['labels'], ('id',), None, 'SCD_TYPE_1', False).open()",
    ],
)
def test_other_commands_that_create_a_lake(tmp_path: Path, code: str) -> None:
    imports = (
        "from gmail_assets.delta.lake import Lake\n"
        "from gmail_assets.delta.registry import MailboxRegistry\n"
        "from gmail_assets.operations import access_check\n"
        "from gmail_client import SCHEMAS, Spec\n"
        "from lakeflow_entry.pipelines.delta_sink import DeltaSink\n"
        "lake = Lake('parent/lake')\n"
    )
    run(tmp_path, imports + code)
    assert stat.S_IMODE((tmp_path / "parent").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "parent" / "lake").stat().st_mode) == 0o700


@pytest.mark.usefixtures("bare")
def test_the_login_file_and_its_folders(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pydantic import SecretStr\n"
        "from gmail_client.auth.login import Granted; from gmail_client.auth.login_file import store_login\n"
        "from gmail_client.auth.oauth_client import OAuthClient\n"
        "store_login(Path('a/b/login.json'), Granted(OAuthClient.of('i', 's'), 'a@b', SecretStr('x'), ()))\n"
    )
    run(tmp_path, code)
    shown = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/login.json")]
    assert shown == [0o700, 0o700, 0o600]


@pytest.mark.usefixtures("bare")
def test_make_dagster_s_home_is_private(tmp_path: Path) -> None:
    run(tmp_path, "from gmail_assets.demo import __main__ as demo\ndemo._make_home()\n")
    assert stat.S_IMODE((tmp_path / ".dagster").stat().st_mode) == 0o700
