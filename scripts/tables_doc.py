"""Write docs/tables.md from the catalogue and the schemas: `python scripts/tables_doc.py > docs/tables.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa

from gmail_assets.columns import MAILBOX_DESCRIPTION
from gmail_client.schema import PARTS_DEPTH, describe
from gmail_client.tables import CATALOGUE, Table
from gmail_client.views import CONTENT_VIEWS, VIEWS, View

_INTRODUCTION = f"""\
# The tables

<!-- Made by `python scripts/tables_doc.py > docs/tables.md`; a test checks that it is up to date. -->

Ten tables with the columns and names of Gmail's API. In the lake, the first column of every table is `mailbox`: the
address under which the mailbox was first loaded. It stays when the mailbox is
[renamed](organisation.md#renamed-mailboxes); `profile.emailAddress` is the present address. The primary key is
`mailbox` together with the key given below. Gmail's strings remain strings (also `historyId` and `internalDate`),
counts are 64-bit integers, nested objects are structs, and a field that Gmail omits is null.

- **cdc_with_deletes**: synced from Gmail's history, deletes included. `historySequence` orders the changes; it is
  `historyId` as a number, because as a string '999' sorts after '1000'.
- **snapshot**: read completely by each run; one commit replaces the mailbox's rows.
- With `deletes: keep` ([options](options.md)), the last column is `_deletedAt`: the time at which a sync found that the
  row was deleted.
- `payload` keeps the nested structure of a message: {PARTS_DEPTH} typed levels of `parts`; deeper levels are in
  `partsJson`, exactly as Gmail sent them.
- `messages` and `threads` both contain the bodies of messages.
  [Threads without bodies](storage.md#threads-without-bodies) take half the storage at the same quota.
- A body's `data` is base64url, as Gmail sends it. `attachmentId` differs between two reads of the same message: don't
  use it as a join key.
- When Gmail's responses get a field that this version does not know, `unknownFields` keeps it: a JSON object with one
  entry per field, its JSON Pointer (RFC 6901) and its value, such as `{{"/payload/headers/3/language": "en"}}`. It is
  null if there is none. In `threads`, messages are named by their ids:
  `/messages/18c0ffee/payload/headers/3/language`. A detail that changes its type (text in a number column) is kept
  there too, and its column is null; keys, dates, labels and content in another type are an error. Each field is
  logged once per process. Fields of listings and of the history, which have no row, are only logged. With
  `excludeColumns` or `hash`, nothing is kept: a new field could contain what is excluded. In SQL:
  `get_json_object(unknownFields, "$['/color/dark']")`.
- The lake also has three internal tables: `_gmail_mailboxes` (configured names and their addresses), `_gmail_unfetched`
  (messages that Gmail refused; every run retries them) and `_gmail_forgotten` (hashes of erased mailboxes).
"""

_MESSAGE_COLUMNS = {"threads": "messages", "drafts": "message"}


_DERIVED = """\
# Derived tables

Flat tables for queries ([examples](querying.md)), computed from `messages` and `labels` in the lake, without quota.
Each sync updates only the rows whose message or label changed. Names are snake_case, times are timestamps in UTC.

- A value that was not read is null: with `format: metadata` there are no bodies and no attachments, with
  `format: minimal` no headers either. A list of recipients is empty if the message has none, and null if its headers
  were not read.
- A value that can't be parsed is null too, for example an invalid Date header.
- Texts contain no control characters except line feeds and tabs, and those only in bodies. Addresses are in lower case.
- If a message has no text part, `body_text` is converted from HTML, without hidden text, links and images. It includes
  quoted replies: the libraries that remove them take over 2 ms per message and support few languages.
- When a message is deleted, soft-deleted or filtered out, its rows are deleted.
- There is no derived table of threads: [one query](querying.md#a-summary-of-each-thread) over `emails` gives their
  first and last mail, senders and unread mails, and each change of a mail would rewrite a second table.
- Cost, measured on two cores with mails of 15 KB on average (`python -m benchmarks.views`): `emails` and
  `message_labels` take 0.24 ms CPU per message. All three tables of 500,000 messages take 0.9 GB of memory at most.
  After label changes of 100 of them, spread over the mailbox, 78 of the 250 files of `emails` are rewritten: those that
  contain these messages.
"""


_CONTENTS = """\
# Attachment contents

The bytes of attachments, in two tables. They are off by default: list `attachment_contents` in the
[spec](options.md#the-pipeline-spec), or name it in `gmail-assets sync`. This is the only derived table that uses
Gmail: each attachment costs 20 quota units once; `gmail-assets plan` shows the sum. Bytes that `messages` holds
already (texts without a file name, `format: raw`) cost nothing.

- An attachment is fetched once. Each distinct content is stored once, in the partition of the mailbox that it was
  fetched for; links of other mailboxes refer to it by `sha256`. (Two runs that store the same new content at the same
  moment both store it.)
- A run stops at its time budget, or can be killed: the next run fetches only what is not stored.
- An attachment that Gmail refuses has the status `failed`, and the next run requests it again.
- `gmail-assets verify` counts attachments without content, and compares the bytes of up to 50 contents with their
  hash.
- `maxBytes` and `types` choose attachments. If they change, the next run deletes what no longer matches.
- With `shared: true`, an attachment is not fetched if another mailbox has stored it: the same part of a mail with the
  same Message-ID, From, Date, Subject and list of attachments (names, types, sizes, Content-IDs), all of it in
  `mail_key`. If mailboxes have different contents for it, it is fetched. A sender chooses all these values, and who
  knows a mail can send another one with the same values and other bytes: use it only if everyone who can read one
  mailbox of the lake may read them all, and if a wrong content from a malicious sender does no harm. Without `shared`,
  each content is what Gmail has for this mailbox.
- What is excluded from `messages` has no contents: excluded messages, and everything if `excludeColumns` has
  `payload.body`. With `hash: addresses`, attached messages are not stored. Other attachments are stored as they are.
- When a message is deleted, its links are deleted, and the contents that no other attachment has.
- `forget` deletes the mailbox's contents, and those that were stored for another mailbox if nothing else links to them.
  What other mailboxes still link to is fetched again by their next sync.

[Example](querying.md#the-bytes-of-attachments).
"""


def render() -> str:
    """The page."""
    names = ", ".join(f"[{name}](#{name})" for name in (*CATALOGUE, *VIEWS, *CONTENT_VIEWS))
    sections = [_section(table) for table in CATALOGUE.values()]
    derived = [_view_section(view) for view in VIEWS.values()]
    contents = [_view_section(view) for view in CONTENT_VIEWS.values()]
    return "\n".join([_INTRODUCTION, names + ".\n", *sections, _DERIVED, *derived, _CONTENTS, *contents])


def _view_section(view: View) -> str:
    lines = [
        f"## {view.name}",
        "",
        view.description,
        "",
        f"Key: {', '.join(f'`{name}`' for name in view.primary_key)}.",
        "",
        "| Column | Type | Description |",
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
        "| Column | Type | Description |",
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
    """The field and the fields of its struct; `parts` inside `parts` is described once."""
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
                f"The same structure, {PARTS_DEPTH} levels in total; the last level has `partsJson` instead.",
            )
            return
        seen_parts = True
    yield path, kind, text
    if nested:
        for child in inner.fields:
            yield from _rows(child, f"{path}[]." if pa.types.is_list(field.type) else f"{path}.", seen_parts)


if __name__ == "__main__":
    sys.stdout.write(render())
