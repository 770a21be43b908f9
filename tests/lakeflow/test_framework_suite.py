"""The public suite of Lakeflow's framework on the source tree that `gmail-assets bundle --tree` writes.

This repository contains none of its code: LAKEFLOW_REPOSITORY is the path of a clone of
databrickslabs/lakeflow-community-connectors. The test copies it, replaces its Gmail source with the tree, and runs its
tests. A second run uses a simulated mailbox with a row in every table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakeflow_entry.deploy.bundle import write_tree

CLONE = os.environ.get("LAKEFLOW_REPOSITORY", "")

pytestmark = pytest.mark.skipif(
    not CLONE, reason="set LAKEFLOW_REPOSITORY to a clone of databrickslabs/lakeflow-community-connectors"
)

_PACKAGE = "src/databricks/labs/community_connector"
_SUITE = "tests/unit/sources/gmail/test_gmail_lakeflow_connect.py"

_MESSAGE: dict[str, Any] = {
    "id": "18c0000000000001",
    "threadId": "18c0000000000001",
    "labelIds": ["INBOX"],
    "snippet": "hi",
    "historyId": "1",
    "internalDate": "1700000000000",
    "sizeEstimate": 3,
    "raw": "aGk=",
    "payload": {"partId": "", "mimeType": "text/plain", "body": {"size": 2, "data": "aGk="}},
    "classificationLabelValues": [{"labelId": "l", "fields": [{"fieldId": "f", "selection": "s"}]}],
}
_IDS = {"id": _MESSAGE["id"], "threadId": _MESSAGE["threadId"]}
_ROWS: dict[str, Any] = {
    "empty_messages": {"messages": [_IDS]},
    "empty_threads": {"threads": [{"id": _MESSAGE["threadId"], "snippet": "hi", "historyId": "1"}]},
    "message_detail": _MESSAGE,
    "thread_detail": {"id": _MESSAGE["threadId"], "historyId": "1", "messages": [_MESSAGE]},
    "empty_drafts": {"drafts": [{"id": "r-1", "message": _IDS}]},
    "draft_detail": {"id": "r-1", "message": _MESSAGE},
    "empty_filters": {
        "filter": [{"id": "f", "criteria": {"from": "a"}, "action": {"addLabelIds": ["TRASH"]}}]
    },
    "empty_forwarding": {
        "forwardingAddresses": [{"forwardingEmail": "a@b.c", "verificationStatus": "accepted"}]
    },
    "empty_send_as": {
        "sendAs": [
            {
                "sendAsEmail": "a@b.c",
                "displayName": "A",
                "replyToAddress": "r@b.c",
                "signature": "s",
                "isPrimary": True,
                "isDefault": True,
                "treatAsAlias": False,
                "smtpMsa": {"host": "h", "port": 25, "securityMode": "ssl"},
                "verificationStatus": "accepted",
            }
        ]
    },
    "empty_delegates": {"delegates": [{"delegateEmail": "d@b.c", "verificationStatus": "accepted"}]},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("framework") / "clone"
    shutil.copytree(CLONE, copy, ignore=shutil.ignore_patterns(".git"))
    shutil.rmtree(copy / _PACKAGE / "sources" / "gmail")
    write_tree(copy)
    return copy


def run_suite(clone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", _SUITE, "-q", "-p", "no:cacheprovider"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": f"src{os.pathsep}."},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_the_suite_passes(clone: Path) -> None:
    run_suite(clone)


def test_the_suite_passes_on_a_mailbox_with_rows_in_every_table(clone: Path) -> None:
    corpus = clone / _PACKAGE / "source_simulator" / "specs" / "gmail" / "corpus"
    for name, document in _ROWS.items():
        (corpus / f"{name}.json").write_text(json.dumps(document))
    suite = clone / _SUITE
    allowed = 'allow_empty_first_read = frozenset({"messages", "threads"})'
    text = suite.read_text("utf-8")
    assert allowed in text
    suite.write_text(text.replace(allowed, "allow_empty_first_read = frozenset()"))
    run_suite(clone)
