"""Derived tables: `emails`, `message_labels` and `attachments`, computed from the lake's own tables, without Gmail.

`derive` updates one mailbox's derived tables. It compares a few columns of `messages` with the same columns of the
derived table and needs no stored state: a killed run, a restored table, a renamed label and a first computation
are the same case.
"""

from gmail_assets.views.derivation import ViewSources, derive

__all__ = ["ViewSources", "derive"]
