"""Table options, validated: `TableOptions`.

`TableOptions.parse` reads a mapping as a connection, a pipeline spec or Spark passes it: names in any case, values as
text or not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, date, datetime
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gmail_client.errors import OptionError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.minimize import ContentPolicy
from gmail_client.printable import printable, short_repr
from gmail_client.schema import SCHEMAS
from gmail_client.search import MARGIN, search_within, unbalanced
from gmail_client.tables import Table, table

__all__ = ["DEFAULT_PAGE_SIZE", "MessageFormat", "TableOptions"]

MessageFormat = Literal["full", "metadata", "minimal", "raw"]

DEFAULT_PAGE_SIZE = 500
"""Ids per listed page when `maxResults` is not set; a page costs the same at any size."""

_SEARCHES_HIDDEN = re.compile(r"""(?<![\w-])(?:in|label|is):["']?(?:spam|trash|anywhere)\b""", re.IGNORECASE)
"""A search that includes spam or trash (rather than excluding it)."""

_FIXES = {
    "q": "Use a Gmail search such as `newer_than:7d`; close each quote, parenthesis and brace.",
    "startDate": "Use a date such as `2025-01-31` (midnight UTC), or epoch seconds such as `1738281600`; not before "
    "1980.",
    "labelIds": "Use label ids such as `INBOX`, comma-separated or as a list.",
    "maxResults": "Use a whole number from 1 to 500.",
    "includeSpamTrash": "Use `true` or `false`.",
    "format": "Use `full`, `metadata`, `minimal` or `raw`.",
    "excludeColumns": "Use columns of the table that are not its keys, such as `snippet, payload.body`; a path below "
    "`payload` covers all levels of its parts.",
    "excludeLabels": "Use label ids such as `CATEGORY_PROMOTIONS`, comma-separated or as a list.",
    "excludeFrom": "Use addresses such as `ada@example.com`, or domains such as `@example.com`.",
    "hash": "Use `addresses`.",
    "keepUnknownFields": "Use `true` or `false`.",
    "max_records_per_batch": "Use a whole number, 1 or more.",
    "skip_refused": "Use `true` or `false`.",
}


_EARLIEST = 315_532_800
"""1980-01-01: fewer epoch seconds are a date without hyphens, such as 20250131."""
_LATEST = 10**10
"""More are milliseconds."""


class TableOptions(BaseModel):
    """The options of one table. Immutable and hashable.

    Attributes:
        q: Gmail search; only matching messages are read.
        label_ids: Label ids; a message must have all of them.
        start_date: Epoch seconds; only messages whose internalDate is not before it. Read from a date (midnight UTC) or
            from epoch seconds.
        max_results: Ids per listed page, 1 to 500; None for the cheapest, 500.
        include_spam_trash: Whether the table includes spam and trash; `parse` sets it when `q` or `labelIds` ask for
            them.
        format: Format of the messages.
        exclude_columns: Paths of columns that are not kept, such as `snippet` or `payload.body`.
        exclude_labels: Label ids; messages with one of them are not kept.
        exclude_from: Addresses, or domains beginning with `@`; messages from them are not kept.
        hash: `addresses` replaces addresses by keyed hashes.
        keep_unknown_fields: For Spark: whether the table has the column `unknownFields`. None: `spark.read` and
            streams have it, the class for Lakeflow's framework does not, because it declares documented columns only.
        max_records_per_batch: Maximum rows of a stream's micro-batch; None for the stream's default.
        skip_refused: Whether Spark skips messages that Gmail refuses, instead of failing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    q: str | None = None
    label_ids: tuple[str, ...] = Field(default=(), alias="labelIds")
    start_date: int | None = Field(default=None, alias="startDate")
    max_results: int | None = Field(default=None, alias="maxResults", ge=1, le=500)
    include_spam_trash: bool = Field(default=False, alias="includeSpamTrash")
    format: MessageFormat = "full"
    exclude_columns: tuple[str, ...] = Field(default=(), alias="excludeColumns")
    exclude_labels: tuple[str, ...] = Field(default=(), alias="excludeLabels")
    exclude_from: tuple[str, ...] = Field(default=(), alias="excludeFrom")
    hash: tuple[Literal["addresses"], ...] = ()
    keep_unknown_fields: bool | None = Field(default=None, alias="keepUnknownFields")
    max_records_per_batch: int | None = Field(default=None, ge=1)
    skip_refused: bool = False

    def __init__(self, **values: Any) -> None:
        failure: OptionError | None = None
        try:
            super().__init__(**values)
        except ValidationError as error:
            failure = _invalid(error, values)
        if failure is not None:
            raise failure

    @field_validator("q", mode="before")
    @classmethod
    def _blank_query_is_none(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if problem := unbalanced(_encodable(value)):
            raise ValueError(problem)
        return value if value.strip() else None

    @field_validator("start_date", mode="before")
    @classmethod
    def _epoch_seconds(cls, value: object) -> object:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        seconds = _seconds(value)
        if not _EARLIEST <= seconds < _LATEST:
            raise ValueError("out of range")
        return seconds

    @field_validator("exclude_from", mode="after")
    @classmethod
    def _addresses_or_domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for sender in value:
            if not re.fullmatch(r"[^\s@\"(){}<>:]*@[^\s@\"(){}<>:]+", sender):
                raise ValueError("not an address or domain")
        return tuple(dict.fromkeys(sender.lower() for sender in value))

    @field_validator("label_ids", "exclude_columns", "exclude_labels", "exclude_from", "hash", mode="before")
    @classmethod
    def _split_labels(cls, value: object) -> object:
        if value is None:
            return ()
        if isinstance(value, str):
            value = value.strip()
            if not value.startswith("["):
                return tuple(
                    dict.fromkeys(_encodable(item.strip()) for item in value.split(",") if item.strip())
                )
            value = _json_list(value)
        if not isinstance(value, Sequence | Set) or not all(isinstance(item, str) for item in value):
            raise ValueError("not a list of texts")
        return tuple(dict.fromkeys(map(_encodable, value)))

    @field_validator("max_results", "max_records_per_batch", mode="before")
    @classmethod
    def _no_flags_for_numbers(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("not a number")
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @classmethod
    def parse(cls, table_name: str, options: Mapping[str, Any] | None = None) -> TableOptions:
        """Validate the options of one table.

        Args:
            table_name: One of the ten.
            options: Values by name; names in any case, values may be strings, None means not set.

        Raises:
            UnknownTableError: Not one of the ten tables.
            OptionError: An option that this table does not have, or an invalid value.
        """
        entry = table(table_name)
        names = {name.lower(): name for name in entry.options}
        values: dict[str, Any] = {}
        for given, value in (options or {}).items():
            name = names.get(str(given).lower())
            if name is None:
                raise _not_an_option(entry, given, value)
            if name in values:
                raise OptionError(
                    f"Option {name!r} of table {table_name!r} is set twice.", fix="Set it once."
                )
            if value is not None:
                values[name] = value
        try:
            parsed = cls(**values)
        except OptionError as error:
            raise OptionError(
                f"{error.what.removesuffix('.')} (table {table_name!r}).", fix=error.fix
            ) from None
        return parsed.for_table(table_name)

    def for_table(self, table_name: str) -> TableOptions:
        """These options, checked for one table; `include_spam_trash` is set when `q` or `label_ids` ask for it.

        Raises:
            UnknownTableError: Not one of the ten tables.
            OptionError: An option that this table does not have, or a value that it does not allow.
        """
        entry = table(table_name)
        for given, value in self.model_dump(by_alias=True, exclude_defaults=True).items():
            if given not in entry.options:
                raise _not_an_option(entry, given, value)
        if table_name == "threads" and self.format == "raw":
            raise OptionError(
                "Option 'format' of table 'threads' is 'raw', which Gmail's threads.get does not have.",
                fix="Use full, metadata or minimal; raw is for messages and drafts.",
            )
        self._check_exclusions(table_name)
        hidden = not HIDDEN_LABELS.isdisjoint(self.label_ids) or _SEARCHES_HIDDEN.search(self.q or "")
        return self.model_copy(update={"include_spam_trash": True}) if hidden else self

    def _check_exclusions(self, table_name: str) -> None:
        """Refuse exclusions that can't be applied.

        Raises:
            OptionError: A column that does not exist or is needed; an exclusion that is impossible in this format.
        """
        schema = SCHEMAS["messages" if table_name in ("threads", "drafts") else table_name]
        needed = _NEEDED | set(table(table_name).primary_key)
        for path in self.exclude_columns:
            if path in needed or not _has_path(schema, path.split(".")):
                raise OptionError(
                    f"Option 'excludeColumns' of table {table_name!r} has {short_repr(path)}, which is "
                    f"{'needed' if path in needed else 'not one of its columns'}.",
                    fix=_FIXES["excludeColumns"],
                )
        content = any(path == "snippet" or path.startswith("payload") for path in self.exclude_columns)
        if self.format == "raw" and (content or self.hash or self.exclude_from):
            raise OptionError(
                f"The options of table {table_name!r} exclude or hash parts of messages, but its format is 'raw', "
                "which is the whole message in one column.",
                fix="Use format full, metadata or minimal; or exclude nothing but `raw` and top-level fields.",
            )
        if self.format == "minimal" and self.exclude_from:
            raise OptionError(
                f"Option 'excludeFrom' of table {table_name!r} needs headers, which the format 'minimal' lacks.",
                fix="Use format full or metadata.",
            )

    @property
    def policy(self) -> ContentPolicy | None:
        """The values to remove from content before it leaves this package; None if there are none."""
        own_snippets = bool(self.exclude_labels or self.exclude_from)
        if not (self.exclude_columns or self.hash or own_snippets):
            return None
        return ContentPolicy(self.exclude_columns, self.exclude_from, bool(self.hash), own_snippets)

    @property
    def content_format(self) -> str:
        """The format together with the removed values; rows stored with another one have to be fetched again.

        Raises:
            ConfigurationError: Addresses are hashed, and GMAIL_HASH_KEY is not usable.
        """
        identity = self.policy.identity if self.policy else ""
        return f"{self.format} {identity}" if identity else self.format

    @property
    def page_size(self) -> int:
        """Ids per listed page."""
        return self.max_results or DEFAULT_PAGE_SIZE

    @property
    def filtered(self) -> bool:
        """Whether `q`, `labelIds`, `startDate`, `excludeLabels` or `excludeFrom` filters the table."""
        excluding = self.exclude_labels or self.exclude_from
        return bool(self.q or self.label_ids or self.start_date is not None or excluding)

    @property
    def listing_key(self) -> tuple[object, ...]:
        """The values that a listing with these options depends on."""
        return (self.search, self.label_ids, self.include_spam_trash, self.exclude_labels, self.exclude_from)

    @property
    def search(self) -> str | None:
        """The search to list with: `q`, from a day before `startDate`; None for all messages."""
        return search_within(self.q, None if self.start_date is None else max(self.start_date - MARGIN, 0))

    @property
    def filters_text(self) -> str:
        """The filters as text for messages: `q='x' labelIds='INBOX' startDate=2025-01-31T00:00:00+00:00`."""
        text = f"q={self.q!r} labelIds={','.join(self.label_ids)!r}"
        for name, excluded in (("excludeLabels", self.exclude_labels), ("excludeFrom", self.exclude_from)):
            if excluded:
                text += f" {name}={','.join(excluded)!r}"
        if self.start_date is None:
            return text
        return f"{text} startDate={datetime.fromtimestamp(self.start_date, UTC).isoformat()}"

    @property
    def fingerprint(self) -> str:
        """A short id of the options that decide a table's rows: `all` for the defaults, else 12 hex digits.

        It is part of the cursor's name: after a change of options there is no cursor, and the table is reconciled.
        """
        meaning: dict[str, Any] = {
            "q": self.q,
            "labelIds": sorted(self.label_ids),
            "includeSpamTrash": self.include_spam_trash,
            "format": self.format,
        }
        if self.start_date is not None:
            meaning["startDate"] = self.start_date
        if self.exclude_labels:
            meaning["excludeLabels"] = sorted(self.exclude_labels)
        if self.content_format != self.format:
            meaning["content"] = self.content_format
        if meaning == {"q": None, "labelIds": [], "includeSpamTrash": False, "format": "full"}:
            return "all"
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:12]

    def matches_labels(self, label_ids: Iterable[str]) -> bool:
        """Whether a message with these labels matches the label filters (`q` and `startDate` are not considered)."""
        labels = set(label_ids)
        return self.is_visible(labels) and labels.issuperset(self.label_ids)

    def matches_date(self, internal_date: str | int | None) -> bool:
        """Whether a message with this internalDate (epoch milliseconds) is not before `startDate`."""
        return self.start_date is None or int(internal_date or 0) >= self.start_date * 1000

    def matches(self, message: Mapping[str, Any]) -> bool:
        """Whether a message resource matches the filters other than `q`."""
        return self.matches_labels(message.get("labelIds") or ()) and self.matches_date(
            message.get("internalDate")
        )

    def is_visible(self, label_ids: Iterable[str]) -> bool:
        """Whether a message with these labels is visible: not excluded, not in spam or trash unless included."""
        labels = set(label_ids)
        shown = self.include_spam_trash or HIDDEN_LABELS.isdisjoint(labels)
        return shown and labels.isdisjoint(self.exclude_labels)


_NEEDED = frozenset(
    (
        "id",
        "threadId",
        "labelIds",
        "historyId",
        "historySequence",
        "internalDate",
        "messages",
        "message",
        "payload.parts",
    )
)
"""Columns that a sync needs. `payload.parts` is not one level: its content is addressed by its own path."""


def _has_path(schema: pa.Schema, path: Sequence[str]) -> bool:
    """Whether a schema has a nested field; elements of lists don't count as a level."""
    fields: Any = schema
    for name in path:
        if name not in [field.name for field in fields]:
            return False
        kind = next(field.type for field in fields if field.name == name)
        while pa.types.is_list(kind):
            kind = kind.value_type
        fields = list(kind) if pa.types.is_struct(kind) else []
    return not any(name == "parts" for name in path)


def _not_an_option(entry: Table, given: object, value: object) -> OptionError:
    return OptionError(
        f"Option {short_repr(given)} (value {short_repr(value)}) is not an option of table {entry.name!r}.",
        fix=f"Remove it, or use one of: {', '.join(entry.options)}.",
    )


def _encodable(value: Any) -> Any:
    """`value`, if it can be sent in a URL: lone surrogates have no UTF-8."""
    if isinstance(value, str):
        value.encode()
    return value


def _seconds(value: object) -> int:
    """Epoch seconds of a date, or of epoch seconds.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[0-9]{1,11}", text):
            return int(text)
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError("neither a date nor epoch seconds")
        value = date.fromisoformat(text)
    if isinstance(value, date) and not isinstance(value, datetime):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("neither a date nor epoch seconds")


def _json_list(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _invalid(error: ValidationError, values: Mapping[str, Any]) -> OptionError:
    location = error.errors(include_url=False)[0]["loc"]
    name = printable(str(location[0])) if location else ""
    problem = unbalanced(values["q"]) if name == "q" and isinstance(values.get("q"), str) else None
    return OptionError(
        f"Option {name!r} is {short_repr(values.get(name))}, which is not valid"
        f"{f': {problem}' if problem else ''}.",
        fix=_FIXES.get(name, f"Use one of: {', '.join(_FIXES)}."),
    )
