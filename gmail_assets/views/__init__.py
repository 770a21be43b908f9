"""Derived tables: `emails`, `message_labels` and `attachments`, computed from the lake's own tables, without Gmail.

`derive` brings one mailbox's derived tables up to date. What has to change is found by comparing a few columns of
`messages` with the same columns of the derived table, so that nothing has to be remembered from run to run: a killed
run, a restored table, a renamed label and a first computation are all the same case.
"""

from gmail_assets.views.derivation import ViewSources, derive

__all__ = ["ViewSources", "derive"]
