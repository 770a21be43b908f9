"""Questions about snippets: which text they come from, and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape

from gmail_client.conformance.evidence import Evidence, Resource, items
from gmail_client.conformance.probe import Answer, Probe
from gmail_client.conformance.probes.judging import first_of
from gmail_client.conformance.probes.messages import decoded
from gmail_client.emulator.mail.snippet import SnippetStyle, snippet_of

__all__ = ["PROBES"]

_LONG = 200


class _Node:
    """A part of a payload with the interface that the emulator's functions expect."""

    def __init__(self, part: Resource) -> None:
        self._part = part
        self.mime_type = str(part.get("mimeType") or "")
        self.filename = str(part.get("filename") or "")
        self.children = [_Node(child) for child in items(part, "parts")]
        self.is_multipart = bool(self.children) and self.mime_type.startswith("multipart/")
        self.headers: Sequence[tuple[str, str]] = ()

    def header(self, name: str) -> str:
        return ""

    def decoded(self) -> bytes:
        return decoded((self._part.get("body") or {}).get("data"))

    def decoded_size(self) -> int:
        return len(self.decoded())

    def text(self) -> str:
        return self.decoded().decode("utf-8", "replace")

    def utf8(self) -> bytes:
        return self.decoded()


def _snippet_source(evidence: Evidence) -> Answer:
    answers = []
    for message in evidence.full():
        node = _Node(message.get("payload") or {})
        shown = unescape(str(message.get("snippet") or ""))[:60]
        texts = {
            source: unescape(snippet_of(node, SnippetStyle(source, "character")))[:60]
            for source in ("html", "plain")
        }
        if not shown or texts["html"] == texts["plain"]:
            continue
        matching = [
            source for source, text in texts.items() if text.startswith(shown) or shown.startswith(text)
        ]
        answers.append(matching[0] if len(matching) == 1 else "neither")
    return first_of(answers, "no message has a plain and an HTML text that begin differently")


def _snippet_cut(evidence: Evidence) -> Answer:
    answers = []
    for message in evidence.full():
        node = _Node(message.get("payload") or {})
        shown = str(message.get("snippet") or "")
        for source in ("html", "plain"):
            whole, word = (snippet_of(node, SnippetStyle(source, cut)) for cut in ("character", "word"))
            if whole != word and shown in (whole, word):
                answers.append("character" if shown == whole else "word")
                break
        else:
            if len(unescape(shown)) > _LONG:
                answers.append("longer")
    return first_of(answers, "no message that was read has a long text that is cut inside a word")


PROBES: tuple[Probe, ...] = (
    Probe(
        "messages.snippet_source",
        "Which part of a multipart/alternative message does the snippet come from?",
        "html",
        _snippet_source,
        "None: snippets are stored as Gmail returns them.",
        basis="captured",
        behavior="snippet_source",
    ),
    Probe(
        "messages.snippet_cut",
        "Where does a long snippet end?",
        "word",
        _snippet_cut,
        "None: snippets are stored as Gmail returns them.",
        basis="captured",
        behavior="snippet_cut",
    ),
)
"""The probes of this subject."""
