"""Resumable media uploads: `Uploads` stores the sessions from the first request to the last byte.

Protocol: the first request has the metadata, and its response has a Location. The bytes follow in one or more PUTs with
Content-Range; each but the last gets a 308. The last one is executed as the call that the first one started.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from gmail_client.emulator.http.calls import ServerReply, ServerRequest

__all__ = ["Uploads"]

_MOST_SESSIONS = 64
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class _Session:
    first: ServerRequest
    received: bytearray = field(default_factory=bytearray)


class Uploads:
    """The open sessions, at most 64; the oldest is dropped."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def step(self, request: ServerRequest) -> ServerRequest | ServerReply:
        """The reply of the upload protocol, or the call to execute; other requests are returned unchanged."""
        if "/upload/" not in request.path[:18] or "resumable" not in request.query:
            return request
        query = dict(parse_qsl(request.query))
        upload_id = query.pop("upload_id", None)
        if query.get("uploadType") != "resumable":
            return request
        if upload_id is None:
            return self._start(request, query)
        session = self._sessions.get(upload_id)
        if session is None:
            return ServerReply(404, b"Not Found", content_type="text/plain")
        span = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if span is None:
            session.received[:] = request.body
        elif span[1] is not None:
            if int(span[1]) > len(session.received):
                return ServerReply(400, b"Failed to parse Content-Range header.", content_type="text/plain")
            session.received[int(span[1]) :] = request.body
        if span is not None and (span[3] == "*" or len(session.received) < int(span[3])):
            headers = {"Range": f"bytes=0-{len(session.received) - 1}"} if session.received else {}
            return ServerReply(308, b"", headers=headers)
        del self._sessions[upload_id]
        return self._whole(session, query)

    def _start(self, request: ServerRequest, query: dict[str, str]) -> ServerReply:
        upload_id = secrets.token_urlsafe(24)
        self._sessions[upload_id] = _Session(request)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        host = request.headers.get("host", "127.0.0.1")
        location = f"http://{host}{request.path}?{urlencode({**query, 'upload_id': upload_id})}"
        return ServerReply(200, b"", headers={"Location": location, "X-GUploader-UploadID": upload_id})

    def _whole(self, session: _Session, query: dict[str, str]) -> ServerRequest:
        """The session as one multipart upload."""
        first = session.first
        boundary = secrets.token_hex(16)
        metadata = first.body or json.dumps({}).encode()
        body = b"".join(
            (
                f"--{boundary}\r\nContent-Type: application/json\r\n\r\n".encode(),
                metadata,
                f"\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n".encode(),
                bytes(session.received),
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        headers = {**first.headers, "content-type": f"multipart/related; boundary={boundary}"}
        return ServerRequest(
            first.verb, first.path, urlencode({**query, "uploadType": "multipart"}), headers, body
        )
