"""The proxy of docs/dagster.md: it accepts users, and refuses pages of other sites."""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.dagster_server import serving
from support.pages import ROOT, blocks

HOST = "dagster.example.com"
LOGIN = "Basic " + base64.b64encode(b"ada:lovelace").decode()
MUTATION = "mutation { setNuxSeen }"
# A setting of Dagster that is harmless to change.

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is not installed (apt-get install nginx)"
    ),
]


@dataclass(frozen=True)
class Proxy:
    port: int
    certificate: Path

    def ask(
        self, method: str, path: str, body: str = "", *, host: str = HOST, **headers: str
    ) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(self.certificate))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection = http.client.HTTPConnection(HOST)
        connection.sock = context.wrap_socket(raw, server_hostname=HOST)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, {"Host": host, **named})
            answer = connection.getresponse()
            return answer.status, "" if answer.status == 101 else answer.read().decode()
        finally:
            connection.close()


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{name}.crt", folder / f"{name}.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


@pytest.fixture
def proxy(bare: Path) -> Iterator[Proxy]:
    (text,) = (text for language, text in blocks(ROOT / "docs" / "dagster.md") if language == "nginx")
    folder = bare / "nginx"
    folder.mkdir()
    public, _ = certificate_for(HOST, folder)
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", "lovelace"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "dagster.htpasswd").write_text(f"ada:{hashed}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"GMAIL_LAKE": str(bare / "lake"), "PYTHONPATH": str(ROOT)}
    with serving(bare / "home", environment) as dagster:
        text = text.replace("/etc/nginx/", f"{folder}/").replace("listen 443", f"listen 127.0.0.1:{port}")
        assert "http://127.0.0.1:3000" in text
        text = text.replace("http://127.0.0.1:3000", dagster.url)
        places = " ".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; {places}\n{text}\n}}\n"
        )
        process = subprocess.Popen(["nginx", "-c", configuration, "-e", folder / "error.log"])
        try:
            _wait(port, process, folder / "error.log")
            yield Proxy(port, public)
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_users_get_in_and_other_sites_do_not(proxy: Proxy) -> None:
    query = json.dumps({"query": MUTATION})
    inside = {"Authorization": LOGIN, "Content_Type": "application/json"}
    own = {"Origin": f"https://{HOST}", "Sec_Fetch_Site": "same-origin"}
    in_address = f"/graphql?query={quote(MUTATION)}"
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Protocol": "graphql-ws",
    }

    assert proxy.ask("GET", "/")[0] == 401
    assert proxy.ask("POST", "/graphql", query, Content_Type="application/json", **own)[0] == 401
    status, page = proxy.ask("GET", "/", Authorization=LOGIN, Sec_Fetch_Site="cross-site")
    assert (status, bool(re.search("<html", page))) == (200, True)
    status, answer = proxy.ask("POST", "/graphql", query, **inside, **own)
    assert (status, json.loads(answer)["data"]) == (200, {"setNuxSeen": True})
    assert proxy.ask("GET", "/graphql", **inside, **own, **upgrade)[0] == 101

    foreign = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    assert proxy.ask("POST", "/graphql", query, **inside, **foreign)[0] == 403
    assert proxy.ask("POST", in_address, **inside | {"Content_Type": "text/plain"}, **foreign)[0] == 403
    assert proxy.ask("POST", in_address, Authorization=LOGIN, Origin="null")[0] == 403
    assert proxy.ask("POST", in_address, Authorization=LOGIN, Sec_Fetch_Site="same-site")[0] == 403
    assert proxy.ask("GET", in_address, Authorization=LOGIN, Sec_Fetch_Site="cross-site")[0] == 403
    assert proxy.ask("GET", in_address, Authorization=LOGIN)[0] == 405
    assert proxy.ask("GET", "/graphql", **inside, Origin="https://evil.example", **upgrade)[0] == 403
    assert proxy.ask("POST", "/report_asset_materialization/gmail/labels", **inside, **foreign)[0] == 403
    assert proxy.ask("POST", "/graphql", query, host="evil.example", **inside, **own)[0] == 421
