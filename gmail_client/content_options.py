"""`ContentOptions`: which attachments' bytes `attachment_contents` stores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gmail_client.errors import OptionError
from gmail_client.printable import short_repr

__all__ = ["CONTENT_OPTIONS", "ContentOptions"]

_LARGEST = 25 * 2**20
"""Bytes: Gmail's limit for sent attachments."""
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/(\*|[a-z0-9!#$&^_.+-]+)")
_FIXES = {
    "maxBytes": "Use a number of bytes, 1 or more, such as 10000000.",
    "types": 'Use MIME types separated by commas, such as "application/pdf, image/*".',
    "shared": "Use true or false.",
}
CONTENT_OPTIONS = tuple(_FIXES)
"""Names of the options in a spec."""


class ContentOptions(BaseModel):
    """Options of `attachment_contents`.

    Attributes:
        max_bytes: Larger attachments are not fetched.
        types: MIME types in lower case, `image/*` for all of a kind; none for all types.
        shared: An attachment is fetched once for all mailboxes that have it, as the same part of the same mail.

    Raises:
        OptionError: An unknown option or an invalid value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    max_bytes: int = Field(default=_LARGEST, alias="maxBytes", ge=1)
    types: tuple[str, ...] = ()
    shared: bool = False

    @field_validator("types", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError("not a list of MIME types")
        types = tuple(dict.fromkeys(part.strip().lower() for part in parts if part.strip()))
        if not all(map(_TYPE.fullmatch, types)):
            raise ValueError("not a list of MIME types")
        return types

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> ContentOptions:
        """Validate the options of a spec; None means not set.

        Raises:
            OptionError: See the class.
        """
        failure: OptionError | None = None
        unknown = sorted(str(name) for name in options if name not in CONTENT_OPTIONS)
        if unknown:
            raise OptionError(
                f"Option {short_repr(unknown[0])} is not an option of 'attachment_contents'.",
                fix=f"Use one of: {', '.join(CONTENT_OPTIONS)}; or remove it.",
            )
        given = {name: value for name, value in options.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0])
            failure = OptionError(
                f"Option {name!r} of 'attachment_contents' is {short_repr(given.get(name))}, which is not valid.",
                fix=_FIXES.get(name, "Correct it."),
            )
        raise failure

    def allow(self, mime_type: str | None, size_bytes: int | None) -> bool:
        """Whether an attachment of this type and size is stored; one of unknown size is."""
        if size_bytes is not None and size_bytes > self.max_bytes:
            return False
        if not self.types:
            return True
        kind = (mime_type or "").partition("/")[0]
        return (mime_type or "") in self.types or f"{kind}/*" in self.types
