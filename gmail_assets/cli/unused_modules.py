"""Keeps libraries from importing modules in a command that no command uses: `refuse_unused_modules`.

pyarrow imports numpy and, when it converts its first values, pandas, if they are installed, to recognize their objects;
requests imports a detector of character encodings. Together that takes 0.4 seconds of CPU and 50 MB. All of them are
optional: the libraries work as in an environment without these modules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["refuse_unused_modules"]

_UNUSED = frozenset(("chardet", "charset_normalizer", "numpy", "pandas"))


class _Refusal(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _UNUSED and "pyspark" not in sys.modules:  # Spark uses numpy and pandas itself
            raise ModuleNotFoundError(f"no command uses {fullname}", name=fullname)
        return None


def refuse_unused_modules() -> None:
    """Let imports of these modules fail in this process, as if they were not installed, unless Spark is used."""
    sys.meta_path.insert(0, _Refusal())
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")
