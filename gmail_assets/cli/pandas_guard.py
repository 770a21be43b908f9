"""Keeps pyarrow from importing pandas in a command: `refuse_pandas`.

When pyarrow converts its first values, it imports pandas, if it is installed, to recognize pandas objects. That takes
0.3 seconds of CPU and 40 MB, and no command has pandas objects.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["refuse_pandas"]


class _PandasRefusal(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas" and "pyspark" not in sys.modules:  # Spark uses pandas itself
            raise ModuleNotFoundError("a command works without pandas", name=fullname)
        return None


def refuse_pandas() -> None:
    """Let imports of pandas fail in this process, as if it was not installed, unless Spark is used."""
    sys.meta_path.insert(0, _PandasRefusal())
