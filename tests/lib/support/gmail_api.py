"""Plain callers of the emulator's API: one with `requests`, one with Google's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import googleapiclient
import requests
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document

from gmail_client.emulator import Emulator


class Caller:
    """Calls the API with one token; `me("messages", q="x")` is a GET below /gmail/v1/users/me/."""

    def __init__(self, gmail: Emulator, token: str | None = None) -> None:
        self.gmail = gmail
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = token if token is not None else gmail.access_token(delegated=True)

    def send(self, verb: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = path if path.startswith("http") else f"{self.gmail.url}{path}"
        return self.session.request(verb, url, headers=headers, timeout=30, **options)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.send("GET", f"/gmail/v1/users/me/{path}", params=params)

    def me(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, path: str, body: dict[str, Any] | None = None, verb: str = "POST", **params: Any) -> Any:
        return self.send(verb, f"/gmail/v1/users/me/{path}", json=body, params=params)

    def pages(self, path: str, key: str, **params: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token = None
        while True:
            page = self.me(path, **params, **({"pageToken": token} if token else {}))
            items += page.get(key, [])
            token = page.get("nextPageToken")
            if token is None:
                return items

    def batch(self, paths: list[str], **headers: str) -> tuple[requests.Response, dict[str, tuple[int, Any]]]:
        """GET many paths in one batch; returns the responses by Content-ID as (status, JSON or text)."""
        parts = [
            f"--limit\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\nGET {path}\r\n\r\n"
            for number, path in enumerate(paths)
        ]
        answer = self.send(
            "POST",
            "/batch/gmail/v1",
            data="".join(parts) + "--limit--",
            headers={"Content-Type": "multipart/mixed; boundary=limit", **headers},
        )
        found = {}
        if answer.headers.get("Content-Type", "").startswith("multipart/mixed"):
            boundary = answer.headers["Content-Type"].partition("boundary=")[2]
            for piece in answer.text.split(f"--{boundary}")[1:-1]:
                outer, inner, body = piece.split("\r\n\r\n", 2)
                content_id = outer.partition("Content-ID: <response-")[2].partition(">")[0]
                status = int(inner.split()[1])
                text = body.removesuffix("\r\n")
                is_json = "application/json" in inner
                found[content_id] = (status, json.loads(text) if is_json else text)
        return answer, found

    def close(self) -> None:
        self.session.close()


def discovery_document() -> dict[str, Any]:
    folder = Path(str(googleapiclient.__file__)).parent / "discovery_cache" / "documents"
    document: dict[str, Any] = json.loads((folder / "gmail.v1.json").read_text())
    return document


def google_client(gmail: Emulator, token: str | None = None) -> Any:
    document = {**discovery_document(), "rootUrl": f"{gmail.url}/", "mtlsRootUrl": f"{gmail.url}/"}
    credentials = Credentials(token or gmail.access_token(delegated=True))  # type: ignore[no-untyped-call]
    return build_from_document(document, credentials=credentials)


def reason(answer: requests.Response) -> str:
    return str(answer.json()["error"]["errors"][0]["reason"])
