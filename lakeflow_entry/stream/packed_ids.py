"""The ids of a table's rows as a short text that an offset can carry: `pack`, `unpack`.

Gmail's ids are numbers in hexadecimal. Sorted, as differences, in bytes of seven bits, and compressed they take some
six bytes each.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable

__all__ = ["MOST", "pack", "unpack"]

MOST = 20_000
"""Ids that an offset carries at most: some 150 KB, in each entry of the checkpoint."""


def pack(ids: Iterable[str]) -> str | None:
    """The ids as text; None where they are too many, or not all of Gmail's kind."""
    numbers = set()
    for one in ids:
        try:
            number = int(one, 16)
        except ValueError:
            return None
        if f"{number:x}" != one:
            return None
        numbers.add(number)
    if len(numbers) > MOST:
        return None
    packed = bytearray()
    last = 0
    for number in sorted(numbers):
        step, last = number - last, number
        while step > 127:
            packed.append(step & 127 | 128)
            step >>= 7
        packed.append(step)
    return base64.b64encode(zlib.compress(bytes(packed), 9)).decode()


def unpack(text: str) -> set[str]:
    """The ids in a text that `pack` made.

    Raises:
        ValueError: It made no such text.
    """
    try:
        packed = zlib.decompress(base64.b64decode(text, validate=True))
    except (binascii.Error, zlib.error):
        raise ValueError("not packed ids") from None
    ids = set()
    number = step = shift = 0
    for byte in packed:
        step |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            number += step
            ids.add(f"{number:x}")
            step = shift = 0
    return ids
