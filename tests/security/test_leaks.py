"""Planted secrets are found nowhere: not in output, logs, Dagster's storage, the lake, arguments, pickles, UI answers.

Each scenario runs the commands with one kind of success or failure. Spark's event log, plans and worker processes are
searched in tests/lakeflow_entry/test_secrets.py and test_spark_workers.py, runs launched by a page in
test_run_config.py.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dagster_server import serving
from support.leaks import leaks, leaks_in_folder
from support.pages import ROOT

from gmail_assets import GmailAccess, GmailResource, LakeLocation, LakeResource
from gmail_assets.cli import main
from gmail_client import Credentials, GmailClient
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import GmailError
from lakeflow_entry.connection import Connection

S3_KEY = "wJalrXUtnFEMI/K7MDENG+planted0key"
S3_TOKEN = "FwoGZXIvYXdzEPlanted/Session+Token=="
ACCESS = "ya29.planted-access-token-4711"

_ARGUMENTS: list[str] = []
"""The arguments of all processes that were started while the list was watched."""
_WATCHED = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WATCHED:
        # The environment, which comes last, is not seen by others.
        _ARGUMENTS.append(repr(arguments[:2]))


sys.addaudithook(_watch)


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=6, seed=3, mean_json_kb=2.0) as emulator:
        yield emulator


@pytest.fixture
def secrets(gmail: Emulator, bare: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a deployment, with every secret that it has, by name."""
    environment = gmail.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GMAIL_QUOTA", "1200000")
    monkeypatch.setenv("DAGSTER_HOME", str(bare / "home"))
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(bare / "secrets" / "login.json"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", S3_TOKEN)
    monkeypatch.setattr("gmail_client.http.transport.pause", lambda clock, seconds, stop: None)
    monkeypatch.setattr("gmail_assets.failures.MAX_RETRIES", 0)
    (bare / "home").mkdir()
    (bare / "secrets").mkdir()
    key = json.loads(gmail.service_account_file(bare / "secrets" / "key.json").read_text())["private_key"]
    return {
        "refresh token": environment["GMAIL_REFRESH_TOKEN"],
        "client secret": environment["GMAIL_CLIENT_SECRET"],
        "service account's key": key.split("\n")[3],
        "S3 key": S3_KEY,
        "S3 token": S3_TOKEN,
        "access token": ACCESS,
    }


_STORE = """
import socket, sys
answer = sys.argv[1].encode()
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)
"""


@pytest.fixture
def store() -> Iterator[str]:
    """An object store that refuses each request and repeats it, as S3 does where the signature is wrong; its address.

    A process of its own: deltalake holds the interpreter's lock while it waits for an answer to some requests.
    """
    body = (
        "<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message>"
        f"<AWSAccessKeyId>AKIAPLANTED</AWSAccessKeyId><CanonicalRequest>GET\nx-amz-security-token:{S3_TOKEN}\n"
        f"secret: {S3_KEY}</CanonicalRequest></Error>"
    )
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    answer = f"{head}Connection: close\r\n\r\n{body}"
    with subprocess.Popen(
        [sys.executable, "-c", _STORE, answer], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


Setting = Callable[[Emulator, Path, pytest.MonkeyPatch, dict[str, str]], None]


def _nothing(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None: ...


def _token(**fault: Any) -> Setting:
    def add(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        output = {
            name: text.format(*secrets.values()) if isinstance(text, str) else text
            for name, text in fault.items()
        }
        gmail.faults.add(Fault("oauth.token", **output))

    return add


def _call(method: str, **fault: Any) -> Setting:
    def add(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        gmail.faults.add(Fault(method, **fault))

    return add


def _variables(**variables: str) -> Setting:
    def change(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        for name, value in variables.items():
            patch.setenv(name, value)

    return change


def _only(**variables: str) -> Setting:
    """No credentials but those named; `{folder}` is the folder of the secrets."""

    def change(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "USER_ID"):
            patch.delenv(f"GMAIL_{name}")
        for name, value in variables.items():
            patch.setenv(name, value.format(folder=folder / "secrets"))

    return change


def _file(name: str, text: str, **variables: str) -> Setting:
    """A file with secrets in it: `%0` is the first one."""

    def write(gmail: Emulator, folder: Path, patch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        _only(**variables)(gmail, folder, patch, secrets)
        values = list(secrets.values())
        (folder / name).write_text(re.sub(r"%(\d)", lambda match: values[int(match[1])], text))
        (folder / name).chmod(0o600)

    return write


OBJECT_STORE = "object store that repeats the request"
SAYS_ALL = "bad {0} {1} Bearer {5}"
"""A server knows what it is sent; a private key is never sent."""
SCENARIOS: dict[str, Setting] = {
    "success": _nothing,
    "token revoked": _token(status=400, reason="invalid_grant", message="Token has been expired or revoked."),
    "token answer that says the secrets": _token(status=400, reason="invalid_grant", message=SAYS_ALL),
    "token reason that is a secret": _token(status=401, reason="{1}", message="{0}"),
    "token endpoint broken": _token(status=503, reason="internal_failure", message=SAYS_ALL),
    "token endpoint cut": _token(kind="reset"),
    "refused": _call("getProfile", status=403, reason="forbidden", message=f"No for Bearer {ACCESS}"),
    "unauthorized": _call("labels.list", status=401, reason="authError", message=f"Invalid {ACCESS}"),
    "one table refused": _call("settings.filters.list", status=403, message=f"{ACCESS} lacks it"),
    "malformed": _call("labels.list", kind="patch", patch={"labels": [{"id": ACCESS, "name": 5}, ACCESS]}),
    "broken": _call("messages.list", kind="truncate"),
    "rate limited": _call("messages.get", kind="rate-limit", times=2),
    "Gmail not reachable": _variables(GMAIL_API_ROOT="http://127.0.0.1:9"),
    "OAuth not reachable": _variables(GMAIL_OAUTH_ROOT="http://127.0.0.1:9"),
    OBJECT_STORE: _variables(
        GMAIL_LAKE="s3://planted/lake", AWS_ALLOW_HTTP="true", AWS_REGION="eu-central-1"
    ),
    "service account": _only(
        GMAIL_SERVICE_ACCOUNT_FILE="{folder}/key.json", GMAIL_USER_ID="ada.ashdown@gmail.test"
    ),
    "service account of nobody": _only(
        GMAIL_SERVICE_ACCOUNT_FILE="{folder}/key.json", GMAIL_USER_ID="no@x.test"
    ),
    "access token": _only(GMAIL_ACCESS_TOKEN=ACCESS),
    "broken key file": _file(
        "secrets/broken.json",
        '{"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN\\n%2", "private_key_id": "%1"}',
        GMAIL_SERVICE_ACCOUNT_FILE="{folder}/broken.json",
    ),
    "broken login file": _file("secrets/login.json", '{"refresh_token": "%0", "client_secret": "%1"'),
    "half a login file": _file("secrets/login.json", '{"refresh_token": "%0", "client_secret": ["%1"]}'),
    "broken .env": _file("work/.env", "GMAIL_REFRESH_TOKEN=%0\nGMAIL_QUOTA=many\nGMAIL_CLIENT_SECRET='%1\n"),
    "swapped client": _variables(GMAIL_CLIENT_ID="GOCSPX-planted"),
    "contradiction": _variables(GMAIL_ACCESS_TOKEN=ACCESS, GMAIL_SERVICE_ACCOUNT_FILE="/nowhere/key.json"),
}
COMMANDS = (
    ["check", "--verbose"],
    ["plan", "--json"],
    ["sync", "--verbose"],
    ["status"],
    ["verify", "--json"],
    ["doctor", "--verbose"],
    ["login", "--no-browser", "--timeout", "0.1"],
    ["logout"],
)
SUCCEEDS = {"success", "token endpoint cut", "one table refused", "rate limited", "service account"}
"""Scenarios in which a sync succeeds: after a retry, or with a table that keeps its rows."""
SMOKE = ("success",)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr("gmail_assets.error_policy._WAIT_SECONDS", 0.0)
    monkeypatch.setattr("gmail_assets.error_policy._LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(
        "gmail_client.http.clock.SystemClock.sleep", lambda clock, seconds: time.sleep(min(seconds, 0.02))
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "scenario", [name if name in SMOKE else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_no_secret_is_anywhere(
    gmail: Emulator,
    bare: Path,
    secrets: dict[str, str],
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    scenario: str,
) -> None:
    if scenario == OBJECT_STORE:
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("store"))
    _ARGUMENTS.clear()
    SCENARIOS[scenario](gmail, bare, monkeypatch, secrets)
    codes = {}
    for words in COMMANDS:
        codes[words[0]] = main(words)
        output = capfd.readouterr()
        assert (
            leaks(
                secrets, {f"{words[0]}: output": output.out.encode(), f"{words[0]}: log": output.err.encode()}
            )
            == []
        )
        assert not re.search(r"ya29\.\w|-----BEGIN", output.out + output.err)
        assert output.out + output.err
    assert (codes["sync"] == 0) == (scenario in SUCCEEDS), codes
    assert leaks(secrets, {"arguments": "\n".join(_ARGUMENTS).encode()}) == []
    (bare / "work" / ".env").unlink(missing_ok=True)
    (bare / "home" / "searched").write_text("So that there is a file, also where no run could start.")
    assert leaks_in_folder(secrets, [bare / "home", bare / "work"]) == []


def test_the_search_finds_planted_secrets(secrets: dict[str, str], tmp_path: Path) -> None:
    for name, secret in secrets.items():
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / "one").write_text(f"event: {secret!r}")
        assert leaks_in_folder(secrets, [tmp_path / "logs"]) == [f"{name} in {tmp_path / 'logs' / 'one'}"]
    _ARGUMENTS.clear()
    subprocess.run([sys.executable, "-c", "", secrets["client secret"]], check=True)
    assert secrets["client secret"] in "\n".join(_ARGUMENTS)


def test_no_secret_is_in_a_repr_a_copy_s_repr_or_a_traceback(secrets: dict[str, str]) -> None:
    refresh, client = secrets["refresh token"], secrets["client secret"]
    credentials = Credentials.from_refresh_token("id", client, refresh)
    options = {"client_id": "id", "client_secret": client, "refresh_token": refresh}
    things = [
        credentials,
        GmailClient(credentials),
        GmailClient(credentials).mailbox(),
        GmailAccess(client_id="id", client_secret=client, refresh_token=refresh),
        GmailResource(GmailAccess(client_id="id", client_secret=client, refresh_token=refresh)),
        LakeLocation(uri="s3://b/l", storage_options={"AWS_SECRET_ACCESS_KEY": S3_KEY}),
        LakeLocation(uri="s3://b/l", storage_options={"AWS_SECRET_ACCESS_KEY": S3_KEY}).lake(),
        LakeResource(LakeLocation(uri="s3://b/l", storage_options={"AWS_SECRET_ACCESS_KEY": S3_KEY})),
        Connection.of(options),
    ]
    texts = {}
    for thing in things:
        texts[type(thing).__name__] = f"{thing!r} {thing!s} {[thing]} {copy.copy(thing)!r}".encode()
        try:
            getattr(thing, "does_not_" + "exist")
        except AttributeError:
            texts[f"{type(thing).__name__}: traceback"] = traceback.format_exc().encode()
    assert leaks(secrets, texts) == []


def test_no_secret_is_in_a_pickled_error_or_named_connection(
    secrets: dict[str, str], gmail: Emulator
) -> None:
    gmail.faults.add(
        Fault("oauth.token", status=400, reason="invalid_grant", message=secrets["refresh token"])
    )
    with pytest.raises(GmailError) as caught:
        GmailClient.from_settings().mailbox().api.profile()
    texts = {
        "error": pickle.dumps(caught.value),
        "traceback": "".join(traceback.format_exception(caught.value)).encode(),
        "connection": pickle.dumps(Connection.of({"connection": "corp"})),
    }
    assert leaks(secrets, texts) == []


_RESOURCES = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on RepositoryLocation {
  repositories { name allTopLevelResourceDetails { name description resourceType
    configFields { name description defaultValueAsJson } configuredValues { key value type } }
    sensors { name description } assetNodes { opNames description } } } } } } } }
"""


@pytest.mark.slow
def test_no_secret_is_in_the_responses_of_the_ui(
    gmail: Emulator, bare: Path, secrets: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(bare / "home", {"PYTHONPATH": str(ROOT)}) as dagster:
        launched = [dagster.launch(job, "me", {}) for job in ("gmail_snapshots", "gmail_sync")]
        gmail.faults.add(Fault("getProfile", status=403, message=f"No for {ACCESS}"))
        dagster.wait_for_runs()
        launched.append(dagster.launch("gmail_sync", "me", {}))
        answers = {run: dagster.events(run).encode() for run in dagster.wait_for_runs()}
        described = json.dumps(dagster.ask(_RESOURCES))
    assert len(answers) == 3, launched
    assert "gmail_lake" in described
    answers["definitions"] = described.encode()
    assert leaks(secrets, answers) == []
    assert leaks_in_folder(secrets, [bare / "home", bare / "work"]) == []
