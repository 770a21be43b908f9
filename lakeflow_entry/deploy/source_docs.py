"""The two documents of the source in the framework's repository: `readme` and `api_document`.

Their headings follow the templates of databrickslabs/lakeflow-community-connectors. Tables, columns, options and prices
come from the catalogue, so that the documents agree with the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import pyarrow as pa

from gmail_client.auth.endpoints import READONLY_SCOPE
from gmail_client.quota import PRICES, preset
from gmail_client.schema import describe
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, SNAPSHOT_TABLES
from lakeflow_entry.table_options import ALLOW_LIST

__all__ = ["OPTIONS", "api_document", "options_table", "readme"]

OPTIONS = {
    "q": ("a Gmail search such as `newer_than:30d`", "Only messages that match."),
    "labelIds": ("label ids, comma-separated", "Only messages that have all of these labels."),
    "startDate": (
        "a date such as `2025-01-31`, or epoch seconds",
        "Only messages received on or after this date.",
    ),
    "maxResults": ("1 to 500", "Ids per page of a listing (default 500)."),
    "includeSpamTrash": ("`true`, `false`", "Include spam and trash (default `false`)."),
    "format": (
        "`full`, `metadata`, `minimal`, `raw`",
        "Which parts of a message are read (default `full`); `raw` is not for threads.",
    ),
    "excludeColumns": (
        "columns, comma-separated",
        "Columns that stay null, such as `snippet, payload.body`.",
    ),
    "excludeLabels": ("label ids, comma-separated", "No messages that have one of these labels."),
    "excludeFrom": ("addresses or `@domains`", "No messages from these senders."),
    "hash": ("`addresses`", "Replace addresses by keyed hashes."),
    "keepUnknownFields": (
        "`true`, `false`",
        "Keep fields that the schema does not know, as JSON in the column `unknownFields` (`false` in the framework).",
    ),
    "max_records_per_batch": ("1 or more", "Maximum rows of a micro-batch (default 1,000)."),
    "skip_refused": (
        "`true`, `false`",
        "Skip a message that Gmail refuses, instead of failing (default `false`).",
    ),
}
"""Values and meaning of each table option."""

_READS = {
    "messages": ("users.messages", "messages.list", "messages.get", "/users/{userId}/messages"),
    "threads": ("users.threads", "threads.list", "threads.get", "/users/{userId}/threads"),
    "labels": ("users.labels", "labels.list", "labels.get", "/users/{userId}/labels"),
    "drafts": ("users.drafts", "drafts.list", "drafts.get", "/users/{userId}/drafts"),
    "profile": ("users", "getProfile", None, "/users/{userId}/profile"),
    "settings": (
        "users.settings",
        "settings.getAutoForwarding",
        None,
        "/users/{userId}/settings/{autoForwarding,imap,pop,language,vacation}",
    ),
    "filters": ("users.settings.filters", "settings.filters.list", None, "/users/{userId}/settings/filters"),
    "forwarding_addresses": (
        "users.settings.forwardingAddresses",
        "settings.forwardingAddresses.list",
        None,
        "/users/{userId}/settings/forwardingAddresses",
    ),
    "send_as": ("users.settings.sendAs", "settings.sendAs.list", None, "/users/{userId}/settings/sendAs"),
    "delegates": (
        "users.settings.delegates",
        "settings.delegates.list",
        None,
        "/users/{userId}/settings/delegates",
    ),
}
"""By table: the REST resource, the method that lists, the method that reads one object, and the path."""

_REFERENCE = "https://developers.google.com/workspace/gmail/api/reference/rest"


def readme() -> str:
    """The README of the source, in Markdown."""
    objects = _table(
        ("Table", "Content", "Ingestion", "Primary key", "Cursor"),
        (
            (
                f"`{entry.name}`",
                entry.description,
                f"`{entry.ingestion_type}`",
                _quoted(entry.primary_key),
                f"`{entry.cursor}`" if entry.cursor else "",
            )
            for entry in CATALOGUE.values()
        ),
    )
    return _filled(
        "README.md",
        allow_list=ALLOW_LIST,
        scope=READONLY_SCOPE,
        objects=objects,
        options=options_table(),
        tables=_quoted(CATALOGUE),
        changes=_quoted(CHANGE_TABLES),
        reference=_REFERENCE,
    )


def api_document() -> str:
    """The document on Gmail's API, in Markdown."""
    objects = _table(
        ("Table", "Listed by", "Content by", "Path below `https://gmail.googleapis.com/gmail/v1`"),
        (
            (f"`{name}`", f"`{listed}`", f"`{got}`" if got else "the same call", f"`{path}`")
            for name, (_, listed, got, path) in _READS.items()
        ),
    )
    schemas = "\n\n".join(
        f"**{name}** ([reference]({_REFERENCE}/v1/{_READS[name][0]}))\n\n"
        + _table(
            ("Column", "Type", "Content"),
            ((f"`{field.name}`", f"`{_type(field.type)}`", describe(field)) for field in entry.schema),
        )
        for name, entry in CATALOGUE.items()
    )
    keys = _table(
        ("Table", "Primary key", "Ingestion type"),
        (
            (f"`{entry.name}`", _quoted(entry.primary_key), f"`{entry.ingestion_type}`")
            for entry in CATALOGUE.values()
        ),
    )
    used = [method for _, listed, got, _ in _READS.values() for method in (listed, got) if method]
    prices = _table(
        ("Method", "Units", "Units, project from before May 2026"),
        (
            (f"`{method}`", str(PRICES[method].current), str(PRICES[method].legacy))
            for method in (*used, "history.list")
        ),
    )
    plans = (preset("current"), preset("legacy"))
    return _filled(
        "gmail_api_doc.md",
        scope=READONLY_SCOPE,
        objects=objects,
        schemas=schemas,
        keys=keys,
        prices=prices,
        current=f"{plans[0].user_per_minute:,}",
        legacy=f"{plans[1].user_per_minute:,}",
        changes=_quoted(CHANGE_TABLES),
        snapshots=_quoted(SNAPSHOT_TABLES),
        reference=_REFERENCE,
    )


def options_table() -> str:
    """All table options with their values, tables and effect, in Markdown."""
    return _table(
        ("Option", "Values", "Tables", "Effect"),
        ((f"`{name}`", values, _tables_with(name), effect) for name, (values, effect) in OPTIONS.items()),
    )


def _filled(name: str, **values: str) -> str:
    """A template of the folder `templates` with its placeholders (`${name}`) replaced."""
    text = (Path(__file__).parent / "templates" / name).read_text("utf-8")
    return Template(text).substitute(values)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _tables_with(option: str) -> str:
    names = [entry.name for entry in CATALOGUE.values() if option in entry.options]
    return "all" if len(names) == len(CATALOGUE) else ", ".join(names)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{_type(kind.value_type)}>"
    return {"int64": "long", "bool": "boolean", "string": "string"}.get(str(kind), "struct")
