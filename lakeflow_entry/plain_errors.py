"""Errors as a pipeline's user sees them: `plain_errors` for methods, `plain_pages` for iterators.

Spark shows an error of Python code with its traceback, in a pipeline's event log too. An error of this product says all
that its reader needs, so it is raised without the frames of our code, and its fix names options of the connection
instead of environment variables and commands. The debug log has the traceback.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

from gmail_client.errors import GmailError, IncompleteReadError
from lakeflow_entry.connection import by_options

__all__ = ["plain", "plain_errors", "plain_pages"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LOGIN = re.compile(r"(?:Get new credentials: )?([Rr])un `gmail-assets login`[^.]*\.")
_SIGN_IN = (
    "ign in to the connection again, or give it a new refresh_token (`gmail-assets login --print-env`)."
)

_log = logging.getLogger(__name__)


def plain(error: GmailError) -> GmailError:
    """The error in the words of a connection, without its traceback; an internal error keeps it."""
    if isinstance(error, IncompleteReadError):
        return error
    _log.debug("Traceback of the next error:", exc_info=error)
    error.what = by_options(error.what)
    error.fix = _LOGIN.sub(lambda found: ("S" if found[1] == "R" else "s") + _SIGN_IN, by_options(error.fix))
    return error.with_traceback(None)


def plain_errors(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """A method that raises plain errors."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(*args, **kwargs)
        except GmailError as error:
            raise plain(error) from None

    return call


def plain_pages(pages: Iterable[_T]) -> Iterator[_T]:
    """The pages, with plain errors."""
    try:
        yield from pages
    except GmailError as error:
        raise plain(error) from None
