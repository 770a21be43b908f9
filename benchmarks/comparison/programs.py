"""The programs that are compared. A run is a process that updates the tables messages and threads.

    python -m benchmarks.comparison.programs PROGRAM FOLDER

The environment names the mailbox, as it does for the product. PROGRAM is one of:

- `product`: the command `gmail-assets sync messages threads`.
- `google_single`, `google_batch`: scripts such as a careful user of google-api-python-client would write. They follow
  the history, get changed messages and threads again, and load everything again after the history expired.
- `peer`: the Gmail connector in a clone of the Lakeflow community connectors (folder in PEER), called as their pipeline
  calls it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["PEAK_FILE", "PROGRAMS"]

Row = dict[str, Any]

CHUNK = 500
BATCH = 50
HIDDEN = {"SPAM", "TRASH"}
PEAK_FILE = "peak_mb.txt"
"""File for a program's peak memory: the system's figure for a child process would include the parent's memory."""


def product(folder: Path) -> None:
    """This project's command line."""
    from gmail_assets.cli import main

    os.environ["GMAIL_LAKE"] = str(folder)
    os.environ["GMAIL_DOTENV"] = ""
    sys.argv = ["gmail-assets", "sync", "messages", "threads", "--quiet"]
    code = main()
    if code:
        raise SystemExit(code)


class Tables:
    """The two Delta tables, with the product's schemas and one row per id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, name: str, rows: list[Row]) -> None:
        """Add rows to a table; a missing table is created."""
        from deltalake import write_deltalake

        from gmail_client.schema import to_batch

        write_deltalake(str(self._folder / name), to_batch(name, rows), mode="append")

    def clear(self, name: str) -> None:
        """Delete all rows."""
        from deltalake import DeltaTable

        if DeltaTable.is_deltatable(str(self._folder / name)):
            DeltaTable(str(self._folder / name)).delete()

    def merge(self, name: str, rows: list[Row], deleted: Iterable[str]) -> None:
        """Replace or add rows by id, and delete the rows of deleted messages or threads."""
        from deltalake import DeltaTable

        from gmail_client.schema import to_batch

        table = DeltaTable(str(self._folder / name))
        if rows:
            update = table.merge(to_batch(name, rows), "s.id = t.id", source_alias="s", target_alias="t")
            update.when_matched_update_all().when_not_matched_insert_all().execute()
        ids = sorted(deleted)
        for at in range(0, len(ids), CHUNK):
            listed = ", ".join(f"'{one}'" for one in ids[at : at + CHUNK])
            table.delete(f"id IN ({listed})")


class GoogleScript:
    """A sync with google-api-python-client, with single gets or with its batch helper.

    Args:
        folder: The lake; a file there stores the history id.
        batch: Whether to send gets in batches of 50.
    """

    def __init__(self, folder: Path, *, batch: bool) -> None:
        self._tables = Tables(folder)
        self._state = folder / "state.json"
        self._service = _google_service()
        self._users = self._service.users()
        self._batch = batch

    def run(self) -> None:
        """Load everything the first time, then follow the history."""
        from googleapiclient.errors import HttpError

        head = self._users.getProfile(userId="me").execute()["historyId"]
        if not self._state.exists():
            self._load()
        else:
            start = json.loads(self._state.read_text())["historyId"]
            try:
                head = self._follow(start)
            except HttpError as error:
                if error.status_code != 404:
                    raise
                self._load()
        self._state.write_text(json.dumps({"historyId": head}))

    def _load(self) -> None:
        for name, resource in (("messages", self._users.messages()), ("threads", self._users.threads())):
            self._tables.clear(name)
            ids = (
                item["id"]
                for page in self._pages(resource, "list", maxResults=500)
                for item in page.get(name, [])
            )
            rows = (row for row in self._get(resource, ids) if row is not None)
            while chunk := list(islice(rows, CHUNK)):
                self._tables.append(name, [row for row in map(_visible, chunk) if row is not None])

    def _follow(self, start: str) -> str:
        messages, threads, head = set[str](), set[str](), start
        for page in self._pages(self._users.history(), "list", startHistoryId=start, maxResults=500):
            head = page["historyId"]
            for record in page.get("history", []):
                for message in record.get("messages", []):
                    messages.add(message["id"])
                    threads.add(message["threadId"])
        for name, resource, ids in (
            ("messages", self._users.messages(), messages),
            ("threads", self._users.threads(), threads),
        ):
            found = [row for row in map(_visible, self._get(resource, sorted(ids))) if row is not None]
            self._tables.merge(name, found, ids - {row["id"] for row in found})
        return head

    def _pages(self, resource: Any, method: str, **query: Any) -> Iterator[Row]:
        request = getattr(resource, method)(userId="me", **query)
        while request is not None:
            page = request.execute(num_retries=5)
            yield page
            request = getattr(resource, f"{method}_next")(request, page)

    def _get(self, resource: Any, ids: Iterable[str]) -> Iterator[Row | None]:
        """Full resources; None for each one that was deleted."""
        from googleapiclient.errors import HttpError

        remaining = iter(ids)
        if not self._batch:
            for one in remaining:
                try:
                    yield resource.get(userId="me", id=one, format="full").execute(num_retries=5)
                except HttpError as error:
                    if error.status_code != 404:
                        raise
                    yield None
            return
        while some := list(islice(remaining, BATCH)):
            results: list[Row | None] = []

            def keep(request_id: str, response: Row, error: Any, results: list[Row | None] = results) -> None:
                if error is not None and error.status_code != 404:
                    raise error
                results.append(None if error is not None else response)

            batch = self._service.new_batch_http_request(callback=keep)
            for one in some:
                batch.add(resource.get(userId="me", id=one, format="full"))
            batch.execute()
            yield from results


def _visible(resource: Row | None) -> Row | None:
    """A message or thread without spam and trash; None if nothing remains."""
    if resource is None:
        return None
    if "messages" not in resource:
        return None if HIDDEN & set(resource.get("labelIds", ())) else resource
    members = [message for message in resource["messages"] if not HIDDEN & set(message.get("labelIds", ()))]
    return {**resource, "messages": members} if members else None


def _google_service() -> Any:
    import requests
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build_from_document

    root = os.environ["GMAIL_API_ROOT"]
    session = requests.Session()
    session.trust_env = False
    document = session.get(f"{root}/discovery/v1/apis/gmail/v1/rest", timeout=60).json()
    credentials = Credentials(
        None,
        refresh_token=os.environ["GMAIL_REFRESH_TOKEN"],
        client_id=os.environ["GMAIL_CLIENT_ID"],
        client_secret=os.environ["GMAIL_CLIENT_SECRET"],
        token_uri=f"{os.environ['GMAIL_OAUTH_ROOT']}/token",
    )
    document["rootUrl"] = f"{root}/"
    return build_from_document(document, credentials=credentials)


class PeerScript:
    """The connector of a clone; its rows are written with upserts by id.

    Args:
        folder: The lake; a file there stores the connector's offsets.
    """

    def __init__(self, folder: Path) -> None:
        self._tables = Tables(folder)
        self._state = folder / "state.json"
        self._connector = _peer_connector(Path(os.environ["PEER"]))

    def run(self) -> None:
        """Read rows, then deletions, of both tables until their offsets no longer move."""
        offsets = json.loads(self._state.read_text()) if self._state.exists() else {}
        for name in ("messages", "threads"):
            start = offsets.get(name)
            offsets[name] = self._rows(name, start)
            if start is not None:
                records, _ = self._connector.read_table_deletes(name, start, {})
                self._tables.merge(name, [], [row["id"] for row in records])
        self._state.write_text(json.dumps(offsets))

    def _rows(self, name: str, offset: Any) -> Any:
        first = offset is None
        for _ in range(10_000):
            records, after = self._connector.read_table(name, offset, {})
            rows = iter(records)
            while chunk := list(islice(rows, CHUNK)):
                if first:
                    self._tables.append(name, chunk)
                else:
                    self._tables.merge(name, chunk, ())
            if not after or after == offset:
                return offset
            offset, first = after, False
        raise RuntimeError(f"the offset of {name} still moves after 10,000 reads")


def _peer_connector(clone: Path) -> Any:
    """The connector of the clone, with an access token for the mailbox in the environment."""
    source = next((clone / "src").rglob("sources/gmail/gmail.py"), None)
    if source is None:
        raise SystemExit(
            f"PEER={clone}: src/**/sources/gmail/gmail.py is missing; clone the repository of the connectors"
        )
    sys.path.insert(0, str(clone / "src"))
    module = importlib.import_module(".".join(source.relative_to(clone / "src").with_suffix("").parts))
    _redirect(os.environ["GMAIL_API_ROOT"])
    connector = next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "read_table")
    )
    return connector({"access_token": _access_token(), "user_id": "me"})


def _access_token() -> str:
    import requests

    form = {
        "grant_type": "refresh_token",
        "client_id": os.environ["GMAIL_CLIENT_ID"],
        "client_secret": os.environ["GMAIL_CLIENT_SECRET"],
        "refresh_token": os.environ["GMAIL_REFRESH_TOKEN"],
    }
    return str(
        requests.post(f"{os.environ['GMAIL_OAUTH_ROOT']}/token", data=form, timeout=60).json()["access_token"]
    )


def _redirect(root: str) -> None:
    """Send requests for Gmail to the emulator: the connector has no setting for its host."""
    import requests

    request = requests.Session.request

    def redirected(session: requests.Session, method: str, url: str, *rest: Any, **named: Any) -> Any:
        return request(session, method, url.replace("https://gmail.googleapis.com", root), *rest, **named)

    requests.Session.request = redirected  # type: ignore[assignment]  # replaced on purpose


PROGRAMS: dict[str, Callable[[Path], None]] = {
    "product": product,
    "google_single": lambda folder: GoogleScript(folder, batch=False).run(),
    "google_batch": lambda folder: GoogleScript(folder, batch=True).run(),
    "peer": lambda folder: PeerScript(folder).run(),
}


def _peak_mb() -> float:
    """Peak resident memory of this process since its program started, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: the comparison needs Linux")


if __name__ == "__main__":
    lake = Path(sys.argv[2])
    PROGRAMS[sys.argv[1]](lake)
    (lake / PEAK_FILE).write_text(str(_peak_mb()))
