"""Gmail's search language: `compile_query(q)` returns a predicate on messages.

Adjacent terms mean AND; OR (or `|`) has a higher precedence; braces mean OR, parentheses group, also after an operator
(`subject:(dinner movie)`); a minus negates the term or group after it. Words match whole words, quotes match phrases.
Every query is valid: unclosed brackets are closed, an unknown operator is searched as words, an operator with an
invalid value matches nothing, and one without a value is ignored. AROUND is not supported; `+word` is a plain word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from gmail_client.emulator.mailbox.search_operators import (
    MessageView,
    Predicate,
    Searchable,
    SearchContext,
    compile_operator,
    compile_words,
    label_key,
    match_all,
)

__all__ = ["Query", "Searchable", "compile_query"]

_MAXIMUM_DEPTH = 50
_SPAM_TRASH = {"anywhere", "spam", "trash"}
_TOKEN = re.compile(
    r"(?P<bracket>[(){}])"
    r"|(?P<or>OR(?![^\s(){}\"])|\|+)"
    r"|(?P<and>AND(?![^\s(){}\"]))"
    r"|(?P<minus>-+)(?=[^\s-])"
    r"|(?P<operator>[A-Za-z0-9_]+):(?:\"(?P<quoted>[^\"]*)\"?|(?P<value>[^\s(){}\"]*))"
    r"|\"(?P<phrase>[^\"]*)\"?"
    r"|(?P<word>[^\s(){}\"|]+)"
)


class Query:
    """A compiled `q`, to call with a message. `reaches_spam_trash`: it names spam, trash or `in:anywhere`."""

    def __init__(self, test: Predicate, *, reaches_spam_trash: bool) -> None:
        self._test = test
        self.reaches_spam_trash = reaches_spam_trash

    def __call__(self, message: Searchable) -> bool:
        """Whether the message matches. The caller excludes spam and trash."""
        return self.matches(MessageView(message))

    def matches(self, view: MessageView) -> bool:
        """Whether a message matches that is also matched against other queries."""
        return self._test(view)


def compile_query(
    q: str, *, now: Callable[[], float], labels: Mapping[str, str], me: Collection[str] = ()
) -> Query:
    """Compile `q`.

    Args:
        q: Any text.
        now: The current time in epoch seconds.
        labels: Ids of the mailbox's labels by name.
        me: The user's own addresses, for `from:me` and `to:me`.
    """
    scope = SearchContext(now, {label_key(name): label_id for name, label_id in labels.items()}, tuple(me))
    parser = _Parser(q, scope)
    test = parser.parse()
    return Query(test, reaches_spam_trash=parser.reaches_spam_trash)


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, q: str, scope: SearchContext) -> None:
        self._tokens = list(_TOKEN.finditer(q))
        self._next = 0
        self._scope = scope
        self.reaches_spam_trash = False

    def parse(self) -> Predicate:
        terms: list[Predicate] = []
        while self._next < len(self._tokens):
            terms.append(self._terms("(", "", 0, negated=False))
            # A closing bracket without an opening one.
            self._next += 1
        return _every(terms)

    def _terms(self, opening: str, operator: str, depth: int, *, negated: bool) -> Predicate:
        """The terms up to a closing bracket, with those joined by OR as one."""
        groups: list[list[Predicate]] = []
        joined = False
        while self._next < len(self._tokens) and self._tokens[self._next]["bracket"] not in (")", "}"):
            token = self._tokens[self._next]
            if token["or"] or token["and"]:
                self._next += 1
                joined = bool(token["or"])
            elif joined and groups:
                groups[-1].append(self._term(operator, depth, negated=negated))
                joined = False
            else:
                groups.append([self._term(operator, depth, negated=negated)])
                joined = False
        alternatives = [_some(group) for group in groups]
        return _some(alternatives) if opening == "{" else _every(alternatives)

    def _term(self, operator: str, depth: int, *, negated: bool) -> Predicate:
        token = self._tokens[self._next]
        self._next += 1
        if token["minus"]:
            if len(token["minus"]) % 2 == 0:
                return self._term(operator, depth, negated=negated)
            inner = self._term(operator, depth, negated=not negated)
            return inner if inner is match_all else lambda view: not inner(view)
        if token["bracket"]:
            return self._group(token["bracket"], operator, depth, negated=negated)
        if token["operator"]:
            return self._operator(token, depth, negated=negated)
        text = token["phrase"] if token["phrase"] is not None else token[0]
        known = compile_operator(operator, text, self._scope) if operator else None
        return known or compile_words(text)

    def _group(self, opening: str, operator: str, depth: int, *, negated: bool) -> Predicate:
        if opening not in "({" or depth >= _MAXIMUM_DEPTH:
            return match_all
        test = self._terms(opening, operator, depth + 1, negated=negated)
        self._next += 1
        return test

    def _operator(self, token: re.Match[str], depth: int, *, negated: bool) -> Predicate:
        name = token["operator"].lower()
        value = token["quoted"] if token["quoted"] is not None else token["value"]
        if not value and self._next < len(self._tokens):
            following = self._tokens[self._next]
            if following["bracket"] in ("(", "{") and following.start() == token.end():
                self._next += 1
                return self._group(following["bracket"], name, depth, negated=negated)
        if not negated and name in ("in", "is", "label") and value.strip().casefold() in _SPAM_TRASH:
            self.reaches_spam_trash = True
        return compile_operator(name, value, self._scope) or compile_words(f"{name} {value}")


def _every(tests: list[Predicate]) -> Predicate:
    counting = [test for test in tests if test is not match_all]
    if len(counting) < 2:
        return counting[0] if counting else match_all
    return lambda view: all(test(view) for test in counting)


def _some(tests: list[Predicate]) -> Predicate:
    counting = [test for test in tests if test is not match_all]
    if len(counting) < 2:
        return counting[0] if counting else match_all
    return lambda view: any(test(view) for test in counting)
