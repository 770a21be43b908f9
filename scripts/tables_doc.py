"""Write docs/tables.md from the catalogue and the schemas: `python scripts/tables_doc.py > docs/tables.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa

from gmail_assets.columns import MAILBOX_DESCRIPTION
from gmail_client.schema import PARTS_DEPTH, describe
from gmail_client.tables import CATALOGUE, Table
from gmail_client.views import VIEWS, View

_INTRODUCTION = f"""\
# The tables

<!-- Made by `python scripts/tables_doc.py > docs/tables.md`; a test sees that it is fresh. -->

Ten tables, each with the columns that Gmail's API has, by Gmail's own names. In the lake every table begins with
`mailbox`; a row's key is `mailbox` and the key named here. Strings stay strings (`historyId` and `internalDate` too),
counts are 64-bit integers, nested objects are structs, and what Gmail leaves out is null.

- **cdc_with_deletes**: kept equal to the mailbox from its history. `historySequence` orders changes; it is `historyId`
  as a number, because as text '999' sorts after '1000'.
- **snapshot**: read whole each time; one commit replaces the mailbox's rows.
- With `deletes: keep` ([options](options.md)) the last column is `_deletedAt`: when the row was found to have left the
  mailbox.
- `payload` keeps the nesting of a mail: {PARTS_DEPTH} typed levels of `parts`; what lies deeper is in `partsJson`,
  exactly as Gmail sent it.
- A body's `data` is base64url, as Gmail sends it. `attachmentId` differs between two reads of the same message: never
  join by it.
- Three small tables beside the ten are the lake's own memory: `_gmail_mailboxes` (which address a configured name stood
  for), `_gmail_unfetched` (messages that Gmail would not give, and that every run tries again) and `_gmail_forgotten`
  (hashes of erased mailboxes).
"""

_MESSAGE_COLUMNS = {"threads": "messages", "drafts": "message"}


_DERIVED = """\
# Derived tables

Flat tables for queries ([examples](querying.md)), computed from `messages` and `labels` in the lake: they use no quota.
Each run of the sync changes the rows whose message or label changed. Names are snake_case, times are timestamps in UTC.

- What was not read is null: with `format: metadata` there are no bodies and no attachments, with `format: minimal` no
  headers either. A list of recipients is empty where the mail has none, and null where its headers were not read.
- What can't be read is null too: a Date header that is no date, an address without a name.
- Texts have no control characters but line feeds and tabs, and those only in bodies. Addresses are in lower case.
- `body_text` is made from HTML where a mail has no text part, without hidden text, links and images. Quoted text is
  part of it: the libraries that split replies take over 2 ms per message and miss most languages.
- Rows of a message that is deleted, soft-deleted or filtered out leave.
- Threads have no summary of their own: `GROUP BY thread_id` over `emails` is one line.
"""


def render() -> str:
    """The page."""
    names = ", ".join(f"[{name}](#{name})" for name in (*CATALOGUE, *VIEWS))
    sections = [_section(table) for table in CATALOGUE.values()]
    derived = [_view_section(view) for view in VIEWS.values()]
    return "\n".join([_INTRODUCTION, names + ".\n", *sections, _DERIVED, *derived])


def _view_section(view: View) -> str:
    lines = [
        f"## {view.name}",
        "",
        view.description,
        "",
        f"Key: {', '.join(f'`{name}`' for name in view.primary_key)}.",
        "",
        "| Column | Type | What it is |",
        "|---|---|---|",
        f"| `mailbox` | string | {MAILBOX_DESCRIPTION} |",
    ]
    lines += [
        f"| `{path}` | {kind} | {text} |" for field in view.schema for path, kind, text in _rows(field, "")
    ]
    return "\n".join([*lines, ""])


def _section(table: Table) -> str:
    lines = [
        f"## {table.name}",
        "",
        table.description,
        "",
        f"Key: {', '.join(f'`{name}`' for name in table.primary_key)}. "
        f"Ingestion: `{table.ingestion_type}`. "
        + (f"Cursor: `{table.cursor}`. " if table.cursor else "")
        + f"Options: {', '.join(f'`{name}`' for name in table.options)}.",
        "",
        "| Column | Type | What it is |",
        "|---|---|---|",
        f"| `mailbox` | string | {MAILBOX_DESCRIPTION} |",
    ]
    for field in table.schema:
        if _MESSAGE_COLUMNS.get(table.name) == field.name:
            kind = "list of structs" if pa.types.is_list(field.type) else "struct"
            same = "The fields are the columns of [messages](#messages), without `historySequence`."
            lines.append(f"| `{field.name}` | {kind} | {describe(field)} {same} |")
            continue
        lines += [f"| `{path}` | {kind} | {text} |" for path, kind, text in _rows(field, "")]
    return "\n".join([*lines, ""])


def _rows(field: pa.Field, prefix: str, seen_parts: bool = False) -> Iterator[tuple[str, str, str]]:
    """The field and, below it, those of its struct; `parts` inside `parts` is told once."""
    path = f"{prefix}{field.name}"
    inner = field.type.value_type if pa.types.is_list(field.type) else field.type
    nested = pa.types.is_struct(inner)
    kind = "struct" if nested else str(inner).replace("bool", "boolean")
    kind = f"list of {kind}s" if pa.types.is_list(field.type) else kind
    text = describe(field)
    if field.name == "parts":
        if seen_parts:
            yield (
                path,
                kind,
                f"The same again, {PARTS_DEPTH} levels in all; the last has `partsJson` in its place.",
            )
            return
        seen_parts = True
    yield path, kind, text
    if nested:
        for child in inner.fields:
            yield from _rows(child, f"{path}[]." if pa.types.is_list(field.type) else f"{path}.", seen_parts)


if __name__ == "__main__":
    sys.stdout.write(render())
