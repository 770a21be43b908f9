"""Write the results into docs/querying.md: `python scripts/querying_doc.py`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lib"))

import duckdb
from support.queries import PAGE, evaluate, make_lake, questions, rendered, setup_blocks


def main() -> None:
    """Run each query and replace the block of its result."""
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        make_lake(Path(folder) / "lake")
        os.chdir(folder)
        evaluate(setup_blocks(page)[0], {})
        for question in questions(page):
            found = duckdb.sql(question.sql)
            result = rendered(found.columns, found.fetchall())
            start = page.index(question.heading)
            page = page[:start] + re.sub(
                r"^```text\n.*?^```$",
                lambda match, text=result: f"```text\n{text}```",
                page[start:],
                count=1,
                flags=re.MULTILINE | re.DOTALL,
            )
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
