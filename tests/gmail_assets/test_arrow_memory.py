"""The allocator that Arrow uses in the process of a command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_COMMAND = """
import sys
from gmail_assets.cli import app

sys.argv = ["gmail-assets", "--version"]
code = app.main()
import pyarrow

print(code, pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize(("chosen", "used"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_a_command_uses_the_system_s_allocator_unless_another_is_chosen(
    chosen: str | None, used: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if chosen is not None:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = chosen
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == f"0 {used}"
