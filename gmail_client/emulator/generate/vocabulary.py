"""Text in the words of a language: `Vocabulary` writes paragraphs that compress about as well as real mail.

A language's own sentences alone repeat too often. So most sentences are made of its words, of invented words with the
same letters, and of numbers. Word frequencies follow Zipf's law, as they do in real text.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect
from collections import Counter
from itertools import accumulate, pairwise
from random import Random

from gmail_client.emulator.generate.languages import COMMON_WORDS, Language

__all__ = ["Vocabulary"]

_INVENTED = 500
_INVENTED_PER_WEIGHT = 50
_TABLE = 1 << 13
_OWN_SENTENCES = 0.25
_NUMBERS = 0.5
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = ("zh", "ja", "th")
_COMMAS = {"ar": "،", "zh": "，", "ja": "、"}


class Vocabulary:
    """The words of one language, drawn by their frequency.

    Args:
        language: Its sentences determine the letters and the common words.
    """

    def __init__(self, language: Language) -> None:
        self._sentences = language.sentences
        self._space = "" if language.code in _UNSPACED else " "
        self._comma = _COMMAS.get(language.code, ",") + self._space
        self._end = language.sentences[0][-1] if not language.sentences[0][-1].isalpha() else ""
        rng = Random(f"vocabulary {language.code}")  # noqa: S311
        texts = (*language.sentences, *language.subjects)
        if self._space:
            found = [word.lower() for text in texts for word in _WORD.findall(text)]
        else:
            found = [text[at : at + size] for text in texts for at in range(len(text)) for size in (1, 2, 3)]
            found = [part for part in found if _WORD.fullmatch(part)]
        # The lower case of a letter may be missing in a charset that has the letter.
        common = [word for word, _ in Counter(found).most_common() if _fits(word, language)]
        ranked = dict.fromkeys([*common, *COMMON_WORDS.get(language.code, "").split()])
        ranked.update(
            dict.fromkeys(
                _invented(list(ranked), rng, int(_INVENTED + _INVENTED_PER_WEIGHT * language.weight))
            )
        )
        self._table = _by_frequency(list(ranked))
        initials = {word[0] for word in ranked}
        self._capitals = {letter: letter.upper() for letter in initials if _fits(letter.upper(), language)}

    def paragraph(self, rng: Random) -> str:
        """Two to six sentences on one line."""
        sentences = []
        for _ in range(2 + int(rng.random() * 5)):
            if rng.random() < _OWN_SENTENCES:
                sentences.append(self._sentences[int(rng.random() * len(self._sentences))])
            else:
                sentences.append(self._sentence(rng))
        return self._space.join(sentences)

    def _sentence(self, rng: Random) -> str:
        table, mask = self._table, _TABLE - 1
        words = [
            table[number & mask] for number in array("H", rng.randbytes(2 * (5 + int(rng.random() * 11))))
        ]
        if rng.random() < _NUMBERS:
            words[int(rng.random() * len(words))] = _number(rng)
        first = words[0]
        words[0] = self._capitals.get(first[0], first[0]) + first[1:]
        half = 2 + int(rng.random() * (len(words) - 2))
        return self._space.join(words[:half]) + self._comma + self._space.join(words[half:]) + self._end


def _number(rng: Random) -> str:
    value = rng.random()
    match int(value * 1000) % 4:
        case 0:
            return f"{int(value * 24)}:{int(value * 6000) % 60:02d}"
        case 1:
            return f"{value * 2000:.2f}"
        case 2:
            return f"{1 + int(value * 28)}.{1 + int(value * 12000) % 12}."
        case _:
            return str(int(value**3 * 1_000_000))


def _invented(words: list[str], rng: Random, count: int) -> list[str]:
    """Words from a second-order Markov chain over the letters of real words."""
    follow: dict[str, list[str]] = {}
    for word in words:
        letters = ["", "", *word, ""]
        for (first, second), third in zip(pairwise(letters), letters[2:], strict=False):
            follow.setdefault(first + second, []).append(third)
    invented = []
    for _ in range(count):
        word, last = "", ""
        while len(word) < 14:
            choices = follow[last]
            letter = choices[int(rng.random() * len(choices))]
            if not letter:
                break
            word += letter
            last = word[-2:]
        if len(word) > 2:
            invented.append(word)
    return invented


def _by_frequency(ranked: list[str]) -> list[str]:
    """A table in which each word occurs as often as its rank requires by Zipf's law."""
    sums = list(accumulate(1 / (rank + 3) for rank in range(len(ranked))))
    return [ranked[bisect(sums, (place + 0.5) / _TABLE * sums[-1])] for place in range(_TABLE)]


def _fits(text: str, language: Language) -> bool:
    """Whether every charset of the language has the characters of the text."""
    try:
        for charset in language.charsets:
            text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
