"""Long lists of parameters: a few of them run in `make test`, all of them in CI."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

__all__ = ["slow_except"]


def slow_except(values: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """The values as parameters, each marked slow unless it is one of `fast`; a tuple has one value per parameter.

    Raises:
        ValueError: A value of `fast` is not in `values`.
    """
    every = list(values)
    unknown = [value for value in fast if value not in every]
    if unknown:
        raise ValueError(f"not among the values: {unknown!r}")
    return [value if value in fast else _slow(value) for value in every]


def _slow(value: Any) -> Any:
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=pytest.mark.slow)
