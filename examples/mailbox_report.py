"""Four charts of a mailbox, from the derived tables of a lake: `python examples/mailbox_report.py lake report.png`.

It needs `pip install duckdb matplotlib`.
"""

from __future__ import annotations

import sys

import duckdb
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from deltalake import DeltaTable

VOLUME = """
SELECT date_trunc('month', received_at)::DATE AS month, count(*) FILTER (NOT (is_sent OR is_draft)) AS received,
       count(*) FILTER (is_sent) AS sent
FROM emails GROUP BY month ORDER BY month"""
SENDERS = """
SELECT from_domain AS sender, count(*) AS mails FROM emails
WHERE NOT (is_sent OR is_draft) AND from_domain IS NOT NULL
GROUP BY ALL ORDER BY mails DESC, sender LIMIT 10"""
RESPONSES = """
SELECT date_diff('minute', e.received_at, r.received_at) / 60 AS hours FROM emails e
JOIN emails r ON r.mailbox = e.mailbox AND r.in_reply_to = e.rfc822_message_id
WHERE r.is_sent AND NOT e.is_sent AND r.received_at > e.received_at"""
STORAGE = """
SELECT coalesce(extension, 'other') AS type, sum(size_bytes) / 1e6 AS mb FROM attachments
GROUP BY ALL ORDER BY mb DESC LIMIT 8"""


def main(lake: str, picture: str) -> None:
    """Draw the charts into a file."""
    duckdb.sql("SET TimeZone = 'UTC'")
    for name in ("emails", "attachments"):
        duckdb.register(name, DeltaTable(f"{lake}/{name}").to_pyarrow_dataset())
    figure, ((volume, senders), (responses, storage)) = plt.subplots(
        2, 2, figsize=(12, 7.5), layout="constrained"
    )

    months, received, sent = zip(*duckdb.sql(VOLUME).fetchall(), strict=True)
    volume.bar(months, received, width=25, label="received", color="#3b6ea8")
    volume.bar(months, sent, width=25, bottom=received, label="sent", color="#e0873a")
    volume.set_title("Mails per month")
    volume.legend(frameon=False)

    rows = duckdb.sql(SENDERS).fetchall()[::-1]
    senders.barh([name for name, _ in rows], [count for _, count in rows], color="#3b6ea8")
    senders.set_title("Top sending domains")

    hours = [row[0] for row in duckdb.sql(RESPONSES).fetchall()]
    responses.hist(hours, bins=[0, 1, 2, 4, 8, 16, 24, 48, 96], color="#5a9e6f")
    responses.set_xscale("symlog", base=2)
    responses.set_xticks([1, 2, 4, 8, 24, 48, 96], ["1 h", "2 h", "4 h", "8 h", "1 d", "2 d", "4 d"])
    responses.set_title("Time until an answer")

    types = duckdb.sql(STORAGE).fetchall()
    storage.bar([kind for kind, _ in types], [megabytes for _, megabytes in types], color="#8a6bb1")
    storage.set_title("Attachments by type, MB")

    for axes in (volume, senders, responses, storage):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:3])
