"""The ids of a table's rows as a short text that an offset can hold: `pack`, `unpack`.

Gmail's ids are numbers in hexadecimal: sorted, as differences, in bytes of seven bits, and compressed they take
some eight characters each. Other ids are stored as compressed text.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable

from gmail_client.errors import ConfigurationError

__all__ = ["MOST_CHARACTERS", "pack", "unpack", "unpacked"]

MOST_CHARACTERS = 180_000
"""Largest packed text, in characters: the ids of some 20,000 rows. Each offset in the checkpoint holds one."""

_AS_TEXT = "text:"


def pack(ids: Iterable[str]) -> str | None:
    """The ids as text; None when they take more than `MOST_CHARACTERS`."""
    wanted = set(ids)
    if all(_is_number(one) for one in wanted):
        packed = _encode(_differences(wanted))
    else:
        packed = _AS_TEXT + _encode(json.dumps(sorted(wanted)).encode())
    return packed if len(packed) <= MOST_CHARACTERS else None


def unpack(text: str) -> set[str]:
    """The ids in a text that `pack` made.

    Raises:
        ValueError: It is not such a text.
    """
    as_text = text.startswith(_AS_TEXT)
    try:
        packed = zlib.decompress(base64.b64decode(text.removeprefix(_AS_TEXT), validate=True))
    except (binascii.Error, zlib.error):
        raise ValueError("not packed ids") from None
    return set(json.loads(packed)) if as_text else _from_differences(packed)


def unpacked(packed: str | None) -> set[str]:
    """The ids in an offset; none for None.

    Raises:
        ConfigurationError: They can't be read.
    """
    if packed is None:
        return set()
    try:
        return unpack(packed)
    except ValueError:
        raise ConfigurationError(
            "The stream's offset is damaged: the ids in it can't be read.",
            fix="Start the stream with a new checkpoint.",
        ) from None


def _is_number(one: str) -> bool:
    try:
        return f"{int(one, 16):x}" == one and not one.startswith("-")
    except ValueError:
        return False


def _encode(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _differences(ids: Iterable[str]) -> bytes:
    packed = bytearray()
    last = 0
    for number in sorted(int(one, 16) for one in ids):
        step, last = number - last, number
        while step > 127:
            packed.append(step & 127 | 128)
            step >>= 7
        packed.append(step)
    return bytes(packed)


def _from_differences(packed: bytes) -> set[str]:
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
