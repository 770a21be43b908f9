"""The exception tree: as in the docstring, unchanged by pickling, two lines of text."""

from __future__ import annotations

import inspect
import pickle

import pytest

from gmail_client import errors
from gmail_client.errors import GmailError, RateLimitError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GmailError)]


def test_the_docstring_shows_the_class_tree() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "Error " in line]
    drawn = {}
    parents: dict[int, str] = {}
    for line in lines:
        name = next(word for word in line.split() if word.endswith("Error"))
        depth = line.index(name)
        parents[depth] = name
        above = [known for known in parents if known < depth]
        drawn[name] = parents[max(above)] if above else None
    assert drawn == {
        kind.__name__: kind.__base__.__name__ if kind is not GmailError else None for kind in TREE
    }
    assert errors.__all__ == sorted(kind.__name__ for kind in TREE)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_and_keeps_its_fix(kind: type[GmailError]) -> None:
    error = kind(
        "It broke.", fix="Mend it.", status=403, reason="because", method="messages.get", retry_at=5.0
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.__dict__ == error.__dict__
    assert str(copy) == "It broke.\nFix: Mend it."
    assert copy.args == ("It broke.",)


def test_a_rate_limit_error_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(RateLimitError("Spent.", retry_at=7.5, limit=15_000, per_project=True)))
    assert (copy.retry_at, copy.limit, copy.per_project, copy.retryable) == (7.5, 15_000, True, True)
