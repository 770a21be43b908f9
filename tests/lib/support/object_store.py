"""An S3 server on loopback (moto), in a separate process: `ObjectStore`.

It handles `If-None-Match` atomically, as S3 does, so two writers can't both commit the same version of a table. It runs
in another process because deltalake holds the GIL while it waits for some responses.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from urllib.parse import unquote
from xml.etree import ElementTree

import requests

from gmail_assets.delta.lake import Lake

__all__ = ["CountingProxy", "ObjectStore", "why_not"]

_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def why_not() -> str:
    """The reason why no S3 server can be started here; empty if one can."""
    missing = [name for name in ("moto", "flask", "flask_cors") if find_spec(name) is None]
    return f"{', '.join(missing)} is not installed (pip install -r requirements-dev.lock)" if missing else ""


class ObjectStore:
    """One S3 server with the bucket `lake`; its objects are lost at the end. Use it as a context manager."""

    bucket = "lake"

    def __enter__(self) -> ObjectStore:
        self._http = requests.Session()
        self._http.trust_env = False
        # Standard input ends with this process, and then the server ends too.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://{self._process.stdout.readline().strip()}"
        self._http.put(f"{self.url}/{self.bucket}", timeout=30).raise_for_status()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the object store, as docs/deployment.md lists them."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "lake",
            "AWS_SECRET_ACCESS_KEY": "hush-lake",
            "AWS_REGION": "eu-central-1",
            "AWS_CONDITIONAL_PUT": "etag",
        }

    def uri(self, folder: str) -> str:
        """URI of a folder in the bucket."""
        return f"s3://{self.bucket}/{folder}"

    def lake(self, folder: str, **more: str) -> Lake:
        """A lake in the bucket; `more` overrides variables of `environment`."""
        options: Mapping[str, str] = {**self.environment, **more}
        return Lake(self.uri(folder), tuple(sorted(options.items())))

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of the first 1,000 objects with this prefix."""
        response = self._http.get(
            f"{self.url}/{self.bucket}", params={"list-type": "2", "prefix": prefix}, timeout=30
        )
        response.raise_for_status()
        found = ElementTree.fromstring(response.text).iter(f"{_XML}Key")
        return [unquote(element.text or "") for element in found]


_PROXY = """
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        sys.stdout.write(f"{self.command} {self.path}\\n")
        sys.stdout.flush()
        length = int(self.headers.get("Content-Length") or 0)
        connection = HTTPConnection(sys.argv[1])
        connection.request(self.command, self.path, self.rfile.read(length) or None, dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        sent = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", sent or "0")
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("%s:%s" % server.server_address[:2], flush=True)
server.serve_forever()
"""


class CountingProxy:
    """A proxy in front of an `ObjectStore` that notes each request. Use it as a context manager.

    Attributes:
        requests: Method and path of each request, in order.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.requests: list[str] = []

    def __enter__(self) -> CountingProxy:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROXY, self._store.url.removeprefix("http://")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://{self._process.stdout.readline().strip()}"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._reader.join()
        self._process.communicate()

    def lake(self, folder: str) -> Lake:
        """A lake in the bucket, reached through the proxy."""
        return self._store.lake(folder, AWS_ENDPOINT_URL=self.url)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.requests.append(line.strip())
