"""Generated text: it fits the charsets of its language, repeats for a seed, and compresses like real mail."""

from __future__ import annotations

import base64
import zlib
from random import Random
from typing import Any

import pytest

from gmail_client.emulator.generate.generator import seeded_mailbox
from gmail_client.emulator.generate.languages import LANGUAGES, Language
from gmail_client.emulator.generate.text_stock import TextStock
from gmail_client.emulator.generate.vocabulary import Vocabulary
from gmail_client.emulator.mail.text import html_text

BY_CODE = {language.code: language for language in LANGUAGES}


@pytest.mark.parametrize("language", BY_CODE.values(), ids=BY_CODE)
def test_paragraphs_fit_every_charset_of_their_language(language: Language) -> None:
    vocabulary = Vocabulary(language)
    rng = Random(1)
    for _ in range(60):
        paragraph = vocabulary.paragraph(rng)
        assert len(paragraph) > 10
        assert "\n" not in paragraph
        for charset in language.charsets:
            assert paragraph.encode(charset).decode(charset) == paragraph


def test_the_same_seed_gives_the_same_paragraph() -> None:
    first, second = Vocabulary(BY_CODE["en"]), Vocabulary(BY_CODE["en"])
    assert [first.paragraph(Random(3)) for _ in range(3)] == [second.paragraph(Random(3)) for _ in range(3)]
    assert first.paragraph(Random(3)) != first.paragraph(Random(4))


@pytest.mark.parametrize("code", ["en", "th", "zh", "ar"])
def test_the_forms_of_a_paragraph_have_the_same_text(code: str) -> None:
    stock = TextStock(BY_CODE[code])
    for number in (0, 7, 20, len(stock.plain) - 1):
        words = stock.plain[number].text.split()
        assert stock.quoted[number].text.replace(">", "").split() == words
        assert all(line.startswith(">") for line in stock.quoted[number].text.splitlines())
        assert code != "en" or all(len(line) <= 74 for line in stock.plain[number].text.splitlines())
        for form in (stock.html, stock.rows):
            assert [word for word in html_text(form[number].text).split() if word != "example.com"] == words


def texts(part: dict[str, Any]) -> bytes:
    own = b""
    if part["mimeType"] in ("text/plain", "text/html") and "data" in part["body"]:
        own = base64.urlsafe_b64decode(part["body"]["data"])
    return own + b"".join(map(texts, part.get("parts", ())))


def test_bodies_compress_three_to_four_and_a_half_times() -> None:
    mailbox = list(seeded_mailbox(4, 0, 3000))
    sample = Random(5).sample(mailbox, 600)
    bodies = b"".join(texts(message.content.payload(lambda part_id: "")) for message in sample)
    assert len(bodies) > 2_000_000
    assert 3.0 < len(bodies) / len(zlib.compress(bodies, 6)) < 4.5
