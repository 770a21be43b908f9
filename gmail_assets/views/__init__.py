"""Derived tables: `emails`, `message_labels` and `attachments`, computed from the lake's own tables, without Gmail.

`derive` updates one mailbox's derived tables. It compares a few columns of `messages` with the same columns of the
derived table: after a sync, those of the messages that it wrote. In all other cases it compares all messages: a killed
run, a restored table, a renamed label and a first computation are the same case.

`fetch_contents` keeps the contents of attachments, which is the only table here that uses Gmail.
"""

from gmail_assets.views.contents import fetch_contents
from gmail_assets.views.derivation import derive
from gmail_assets.views.pending_contents import ContentSources, pending_contents
from gmail_assets.views.source import ViewSources

__all__ = ["ContentSources", "ViewSources", "derive", "fetch_contents", "pending_contents"]
