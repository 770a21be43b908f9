"""Spark's workers use the login, and no process has a secret in its environment, arguments or files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gmail_client.emulator import Emulator

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ROOT = Path(__file__).parents[2]

_RUN = """
import os, pathlib, sys
from gmail_assets.operations.run_in_process import Runner

run = Runner().run_mailbox("me", ["labels", "messages"])
assert not run.failures, run.failures
assert all(table["rows_written"] for table in run.tables.values()), run.tables
print("OWN", dict(os.environ))
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if b"SPARK_TEST_RUN" in (environment := (process / "environ").read_bytes()):
            print("PROCESS", process.name, (process / "cmdline").read_bytes(), environment)
    except OSError:
        continue
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_login_credentials_are_not_in_the_environment_of_workers(bare: Path) -> None:
    folder = bare / "work"
    with Emulator(messages=20, seed=3, mean_json_kb=2.0) as gmail:
        values = gmail.environment()
        stored = {name.removeprefix("GMAIL_").lower(): value for name, value in values.items()}
        (bare / "login.json").write_text(json.dumps(stored))
        (bare / "login.json").chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-c", _RUN],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "GMAIL_ENGINE": "spark",
                "GMAIL_SPARK_MASTER": "local[1]",
                "GMAIL_QUOTA": "1200000",
                "GMAIL_CREDENTIALS_FILE": str(bare / "login.json"),
                "SPARK_TEST_RUN": "1",
                "SPARK_LOCAL_IP": "127.0.0.1",
                "SPARK_LOCAL_DIRS": str(bare / "spark"),
            },
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("PROCESS") >= 2, "the JVM and a worker have to be among what is searched"
    secrets = [values["GMAIL_REFRESH_TOKEN"], values["GMAIL_CLIENT_SECRET"]]
    found = [secret for secret in secrets if secret in done.stdout + done.stderr]
    assert found == []
    for path in [*(bare / "spark").rglob("*"), *(folder / "lake").rglob("*")]:
        if path.is_file():
            assert not [secret for secret in secrets if secret.encode() in path.read_bytes()], path
