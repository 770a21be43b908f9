"""A process ends with its exit code and whole output, whatever Arrow's threads do meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_READ = """
import io, sys, threading
import pyarrow as pa, pyarrow.dataset as ds, pyarrow.fs as fs, pyarrow.parquet as pq

stored, reading = io.BytesIO(), threading.Event()
pq.write_table(pa.table({"a": [1]}), stored)

class File(io.BytesIO):
    def read(self, *size):
        reading.set()
        threading.Event().wait(0.2)  # the interpreter finalizes meanwhile
        return super().read(*size)

class Files(fs.FileSystemHandler):
    def get_type_name(self): return "test"
    def normalize_path(self, path): return path
    def get_file_info(self, paths): return [fs.FileInfo(path, fs.FileType.File) for path in paths]
    def open_input_file(self, path): return pa.PythonFile(File(stored.getvalue()), mode="r")

Files.__abstractmethods__ = frozenset()
files, parquet = fs.PyFileSystem(Files()), ds.ParquetFileFormat()
dataset = ds.FileSystemDataset([parquet.make_fragment("x", files)], pa.schema([("a", pa.int64())]), parquet, files)
threading.Thread(target=dataset.to_table, daemon=True).start()
reading.wait()
"""
"""Exits while a thread of Arrow waits in a file system of Python objects, as after a read of a Delta table."""


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("code", [0, 5])
def test_a_thread_of_arrow_does_not_abort_the_process(code: int) -> None:
    done = run(
        "from gmail_assets.process_end import ProcessEnd",
        "end = ProcessEnd()",
        _READ,
        f"sys.exit(end.with_code({code}))",
    )
    assert (done.returncode, done.stderr) == (code, "")


def test_output_is_complete_and_later_exit_handlers_and_threads_come_first() -> None:
    done = run(
        "import atexit, sys, threading, time",
        "from gmail_assets.process_end import ProcessEnd",
        "end = ProcessEnd()",
        "atexit.register(print, 'handler', end=' ')",
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread', end=' '))).start()",
        "print('x' * 100_000, end=' ')",
        "sys.exit(end.with_code(3))",
    )
    assert done.returncode == 3
    assert done.stdout.split() == ["x" * 100_000, "thread", "handler"]


def test_without_a_code_an_exception_ends_the_process_as_usual() -> None:
    done = run(
        "from gmail_assets.process_end import ProcessEnd", "end = ProcessEnd()", "raise ValueError('odd')"
    )
    assert done.returncode == 1
    assert "ValueError: odd" in done.stderr


def test_the_commands_end_this_way(tmp_path: Path) -> None:
    for words, code in ((["--version"], 0), (["sync", "--jobs", "0"], 2)):
        done = run(
            "import atexit, os, sys",
            "code = []",
            "os._exit = lambda number, leave=os._exit: (code.append(number), leave(number + 40))",
            "from gmail_assets.cli import main",
            f"sys.argv[1:] = {words!r}",
            "sys.exit(main())",
        )
        assert done.returncode == code + 40, done.stderr
