"""Write pipeline-spec/derived_views_many_mailboxes.sql from derived_views.sql: `python scripts/derived_views.py`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "pipeline-spec"
ONE = FOLDER / "derived_views.sql"
MANY = FOLDER / "derived_views_many_mailboxes.sql"

_REPLACEMENTS = (
    (
        "of a pipeline on Databricks (or Spark 4).\n",
        "of a pipeline over many mailboxes.\n-- Made from derived_views.sql by scripts/derived_views.py.\n",
    ),
    (
        "SELECT map_from_entries(collect_list(struct(id, name))) AS label_map FROM labels\n",
        "SELECT mailbox, map_from_entries(collect_list(struct(id, name))) AS label_map FROM labels GROUP BY mailbox\n",
    ),
    ("CROSS JOIN names\n", "LEFT JOIN names ON names.mailbox = m.mailbox\n"),
    ("SELECT\n  id AS message_id,\n", "SELECT\n  mailbox,\n  id AS message_id,\n"),
    ("SELECT\n    id AS message_id,\n", "SELECT\n    mailbox,\n    id AS message_id,\n"),
    ("SELECT m.message_id, m.label_id", "SELECT m.mailbox, m.message_id, m.label_id"),
    ("(SELECT id AS message_id, explode", "(SELECT mailbox, id AS message_id, explode"),
    ("ON l.id = m.label_id", "ON l.mailbox = m.mailbox AND l.id = m.label_id"),
    ("SELECT message_id, explode", "SELECT mailbox, message_id, explode"),
    ("SELECT\n    message_id,\n", "SELECT\n    mailbox,\n    message_id,\n"),
    ("SELECT\n  message_id,\n", "SELECT\n  mailbox,\n  message_id,\n"),
)


def many_mailboxes(script: str) -> str:
    """The script for tables with the column `mailbox`.

    Args:
        script: The script for one mailbox.

    Raises:
        ValueError: A place that differs is missing or not unique: the replacements have to follow the script.
    """
    for before, after in _REPLACEMENTS:
        if script.count(before) != 1:
            raise ValueError(f"derived_views.sql contains {before!r} {script.count(before)} times, not once")
        script = script.replace(before, after)
    return script


if __name__ == "__main__":
    MANY.write_text(many_mailboxes(ONE.read_text("utf-8")), "utf-8")
