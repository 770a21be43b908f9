"""The deployment artifacts: the single file in a clean interpreter, the wheel and the tree."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.lakeflow import options_of

from gmail_assets.cli import main
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connection import CONNECTION_OPTIONS
from lakeflow_entry.deploy import bundle
from lakeflow_entry.deploy.bundle import (
    FILE_NAME,
    NAMESPACE,
    write_file,
    write_project,
    write_tree,
    write_wheel,
)
from lakeflow_entry.deploy.source_tree import UNIT_TESTS
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.table_options import ALLOW_LIST

ROOT = Path(__file__).parents[3]
CLEAN = ROOT / ".serverless4" / "bin" / "python"

_READ_ALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import _generated_gmail_python_source as gmail
from pyspark.sql import SparkSession

for name in ("gmail_client", "lakeflow_entry", "deltalake", "pydantic_settings"):
    assert __import__("importlib.util").util.find_spec(name) is None, name
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
         .config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "1g").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
gmail.get_register_function("gmail")(spark)
counts = {}
for table in sys.argv[3:]:
    frame = spark.read.format("lakeflow_connect").option("connection", "gmail_connector").option("tableName", table)
    counts[table] = len(frame.load().toArrow())
streamed = []
frame = (spark.readStream.format("lakeflow_connect").option("connection", "gmail_connector")
         .option("tableName", "messages").option("max_records_per_batch", "20").load())
query = (frame.writeStream.foreachBatch(lambda rows, number: streamed.append(rows.count()))
         .option("checkpointLocation", sys.argv[2]).trigger(availableNow=True).start())
query.awaitTermination()
print("COUNTS " + json.dumps({**counts, "streamed": streamed}))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a source tree with a stub of the framework; tests only read it."""
    root = tmp_path_factory.mktemp("tree")
    write_tree(root)
    stub_framework(root)
    return root


@pytest.fixture
def source(root: Path) -> Path:
    """The folder of the source in that tree."""
    return root.joinpath("src", *NAMESPACE.split("."))


@pytest.mark.slow
@pytest.mark.spark
def test_the_single_file_reads_all_tables_without_an_installation(tmp_path: Path) -> None:
    if not CLEAN.exists():
        pytest.skip("the clean interpreter is missing: scripts/serverless-env makes it")
    write_file(tmp_path / "file")
    script = tmp_path / "read_all.py"
    script.write_text(_READ_ALL)
    with Emulator(messages=50, seed=3, mean_json_kb=3.0) as gmail:
        connections = tmp_path / "connections.json"
        connections.write_text(json.dumps({"gmail_connector": options_of(gmail)}))
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "JAVA_HOME") if key in os.environ}
        done = subprocess.run(
            [CLEAN, "-I", script, tmp_path / "file", tmp_path / "checkpoint", *CATALOGUE],
            cwd=tmp_path,
            env={
                **kept,
                "PYSPARK_PYTHON": str(CLEAN),
                "GMAIL_CONNECTIONS_FILE": str(connections),
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=540,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        counts = json.loads(done.stdout.rpartition("COUNTS ")[2])
        streamed = counts.pop("streamed")
        truth = {table: len(gmail.truth(table)) for table in CATALOGUE}
        assert counts == {**truth, "delegates": 0}
        assert sum(streamed) == truth["messages"]
        assert max(streamed) <= 20


def test_the_single_file_defines_the_documented_names(tmp_path: Path) -> None:
    path = write_file(tmp_path)
    assert path.name == FILE_NAME
    tree = ast.parse(path.read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {"register_lakeflow_source", "get_register_function", "ingest", "GmailDataSource"} <= names
    again = write_file(tmp_path / "again")
    assert again.read_text("utf-8") == path.read_text("utf-8")


_PACKAGES_WITHIN_PACKAGES = {
    "outer/__init__.py": "from outer.unwanted import NOTHING\n",
    "outer/unwanted.py": "NOTHING = None\n",
    "outer/top.py": "from outer.inner import NAME, sibling\n"
    "def answer():\n"
    "    from outer.inner.deep.leaf import VALUE\n"
    "    return [NAME, sibling.NAME, VALUE]\n",
    "outer/inner/__init__.py": "from outer.inner.names import NAME\n",
    "outer/inner/names.py": "NAME = 'names'\n",
    "outer/inner/sibling.py": "NAME = 'sibling'\n",
    "outer/inner/unused.py": "",
    "outer/inner/deep/__init__.py": "",
    "outer/inner/deep/leaf.py": "VALUE = __name__.removeprefix(__name__.partition('.')[0])\n",
}


def test_subpackages_are_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in _PACKAGES_WITHIN_PACKAGES.items():
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "sources")
    monkeypatch.setattr(bundle, "_PACKAGES", ("outer",))
    monkeypatch.setattr(bundle, "_ROOTS", ("outer.top",))
    try:
        write_file(tmp_path / "file")
        tree = write_tree(tmp_path / "tree")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "outer"]:
            del sys.modules[name]
    carried = {str(path.relative_to(tree)) for path in tree.glob("outer/**/*.py")}
    assert carried == _PACKAGES_WITHIN_PACKAGES.keys() - {"outer/unwanted.py", "outer/inner/unused.py"}
    packages = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert packages["package-dir"] == {
        NAMESPACE: ".",
        **{
            f"{NAMESPACE}.{name}": name.replace(".", "/")
            for name in ("outer", "outer.inner", "outer.inner.deep")
        },
    }
    assert packages["packages"] == list(packages["package-dir"])
    code = "import sys, _generated_gmail_python_source as file; print(*file.load('outer.top').answer())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "file", capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["names", "sibling", ".outer.inner.deep.leaf"], done.stderr


_STREAM_OF_OLD = """
import pickle, sys, json
sys.path.insert(0, sys.argv[1])
import _generated_gmail_python_source as gmail
from pyspark import cloudpickle

class Session:
    class dataSource:
        register = staticmethod(lambda source: None)

gmail.register_lakeflow_source(Session)
source = gmail.GmailDataSource({"tablename": "messages", **json.loads(sys.argv[2])})
reader = source.simpleStreamReader(source.schema())
batches, end = reader.read(reader.initialOffset())
rows = sum(batch.num_rows for batch in batches)
with open(sys.argv[3], "wb") as file:
    file.write(cloudpickle.dumps((reader, end, rows)))
"""

_REPLAY = """
import pickle, sys
reader, end, rows = pickle.load(open(sys.argv[1], "rb"))
again = sum(batch.num_rows for batch in reader.readBetweenOffsets({}, end))
sys.exit(0 if again == rows > 0 else f"{again} rows of {rows}")
"""


def test_readers_of_the_single_file_unpickle_without_the_file(tmp_path: Path) -> None:
    write_file(tmp_path / "file")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Emulator(messages=20, seed=3, mean_json_kb=2.0) as gmail:
        options = json.dumps(options_of(gmail))
        for code, arguments in (
            (_STREAM_OF_OLD, [tmp_path / "file", options, tmp_path / "reader"]),
            (_REPLAY, [tmp_path / "reader"]),
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                cwd=elsewhere,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]


_PLAN = """
import sys, json
sys.path.insert(0, sys.argv[1])
import _generated_gmail_python_source as gmail
from pyspark import cloudpickle

class Session:
    class dataSource:
        register = staticmethod(lambda source: None)

gmail.register_lakeflow_source(Session)
pairs = []
for deletes, start in json.loads(sys.argv[3]).items():
    source = gmail.GmailDataSource({"tablename": "messages", "isdeleteflow": deletes, **json.loads(sys.argv[2])})
    reader = source.streamReader(source.schema())
    end = reader.latestOffset(start, reader.getDefaultReadLimit())
    parts = [cloudpickle.dumps(part) for part in reader.partitions(start, end)]
    pairs.append((cloudpickle.dumps(reader), parts))
with open(sys.argv[4], "wb") as file:
    file.write(cloudpickle.dumps(pairs))
"""

_READ_PARTS = """
import pickle, sys
pairs = pickle.load(open(sys.argv[1], "rb"))
parts = [[pickle.loads(part) for part in parts] for _, parts in pairs]  # Spark unpickles these first
readers = [pickle.loads(reader) for reader, _ in pairs]
print([sum(batch.num_rows for part in own for batch in reader.read(part)) for reader, own in zip(readers, parts)])
"""


@pytest.mark.slow
def test_partitions_of_the_single_file_unpickle_before_its_modules_are_loaded(tmp_path: Path) -> None:
    write_file(tmp_path / "file")
    with Emulator(messages=20, seed=3, mean_json_kb=2.0) as gmail:
        mailbox = gmail.mailbox()
        starts = {"false": {}, "true": Offset(int(mailbox.head)).to_json()}
        mailbox.delete(mailbox.message_ids()[0])
        for code, arguments in (
            (
                _PLAN,
                [tmp_path / "file", json.dumps(options_of(gmail)), json.dumps(starts), tmp_path / "parts"],
            ),
            (_READ_PARTS, [tmp_path / "parts"]),
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout) == [19, 1]


def test_the_wheel_has_the_namespace_of_the_framework_but_none_of_its_code(tmp_path: Path) -> None:
    path = write_wheel(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        root = NAMESPACE.replace(".", "/")
        assert f"{root}/__init__.py" in names
        assert "class GmailDataSource(LakeflowSource)" in wheel.read(f"{root}/__init__.py").decode()
        outside = [name for name in names if not name.startswith(root) and ".dist-info/" not in name]
        assert outside == []
        metadata = wheel.read(next(name for name in names if name.endswith("METADATA"))).decode()
        assert "Requires-Dist: pyspark" not in metadata
    assert write_wheel(tmp_path / "again").read_bytes() == path.read_bytes()


def stub_framework(root: Path) -> None:
    """The two modules of the framework that the source imports."""
    package = root / "src/databricks/labs/community_connector"
    (package / "sparkpds.py").write_text("class LakeflowSource:\n    pass\n")
    (package / "interface.py").write_text(
        "from abc import ABC, abstractmethod\n"
        "class LakeflowConnect(ABC):\n"
        "    def __init__(self, options):\n"
        "        self.options = options\n"
        "    @abstractmethod\n"
        "    def list_tables(self): ...\n"
        "    def read_table_deletes(self, table_name, start_offset, table_options):\n"
        "        raise NotImplementedError\n"
    )


def test_the_tree_is_self_contained(root: Path, source: Path) -> None:
    assert source == root / "src/databricks/labs/community_connector/sources/gmail"
    assert {"README.md", "gmail_api_doc.md", "connector_spec.yaml", "gmail.py", FILE_NAME} <= {
        p.name for p in source.iterdir()
    }
    code = (
        f"import {NAMESPACE}.lakeflow_entry.connector as module\n"
        "tables = module.GmailLakeflowConnect({'access_token': 'x'}).list_tables()\n"
        "print(module.__file__, len(tables))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(source / "lakeflow_entry/connector.py"), "10"]


_USE_OF_THE_TREE = f"""
import pickle
from databricks.labs.community_connector.interface import LakeflowConnect
from {NAMESPACE} import GmailDataSource, GmailLakeflowConnect

connector = pickle.loads(pickle.dumps(GmailLakeflowConnect({{"access_token": "secret-token"}})))
assert isinstance(connector, LakeflowConnect)
assert GmailDataSource._lakeflow_connect_cls is GmailLakeflowConnect
assert len(connector.list_tables()) == 10
assert connector.read_table_metadata("threads", {{}})["ingestion_type"] == "cdc_with_deletes"
assert "secret" not in repr(connector)
for call in (
    lambda: GmailLakeflowConnect({{}}),
    lambda: connector.get_table_schema("mails", {{}}),
    lambda: connector.read_table("labels", None, {{"namespace": '["a"]'}}),
    lambda: connector.read_table_deletes("labels", {{}}, {{}}),
):
    try:
        call()
    except ValueError as error:
        print(str(error).splitlines()[0])
"""


def test_the_connector_of_the_tree_is_a_subclass_of_the_framework_that_needs_credentials(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _USE_OF_THE_TREE],
        env={**os.environ, "PYTHONPATH": str(root / "src"), "GMAIL_ACCESS_TOKEN": "of the environment"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "The connection has no credentials",
        "Table not supported",
        "Option 'namespace' is '[\"a\"]', but Gmail's tables have no namespaces.",
        "Table 'labels' has no deletes",
    ]


def test_the_documents_of_the_tree_name_every_table_column_key_and_option(source: Path) -> None:
    readme, api = ((source / name).read_text("utf-8") for name in ("README.md", "gmail_api_doc.md"))
    assert ALLOW_LIST in readme
    for entry in CATALOGUE.values():
        key = ", ".join(f"`{name}`" for name in entry.primary_key)
        assert f"| `{entry.name}` | {entry.description} | `{entry.ingestion_type}` | {key} |" in readme
        assert f"| `{entry.name}` | {key} | `{entry.ingestion_type}` |" in api
        for column in entry.schema.names:
            assert f"| `{column}` | `" in api.partition(f"**{entry.name}** (")[2]
        for option in entry.options:
            assert f"| `{option}` | " in readme
    spec = (source / "connector_spec.yaml").read_text("utf-8")
    for parameter in ("client_id", "client_secret", "service_account_json", "user_id", "quota"):
        assert f"| `{parameter}` | string | " in readme
        assert f"- name: {parameter}\n" in spec
    for text in (readme, api):
        assert "${" not in text
        assert "$$" not in text


def test_the_unit_tests_of_the_tree_replace_the_published_ones(tmp_path: Path) -> None:
    published = tmp_path / UNIT_TESTS
    published.parent.mkdir(parents=True)
    published.write_text("published")
    (published.parent / "test_gmail_lakeflow_connect.py").write_text("the shared suite")
    write_tree(tmp_path)
    assert "def test_the_registry_finds_the_source" in published.read_text("utf-8")
    assert (published.parent / "test_gmail_lakeflow_connect.py").read_text("utf-8") == "the shared suite"
    compile(published.read_text("utf-8"), UNIT_TESTS, "exec")


def test_the_documented_imports_work_next_to_the_single_file(tmp_path: Path) -> None:
    write_project(tmp_path)
    program = (
        "from pipeline.ingestion_pipeline import ingest\n"
        "from libs.source_loader import get_register_function\n"
        "import _generated_gmail_python_source as single\n"
        "assert ingest is single.ingest\n"
        "assert get_register_function('gmail') is single.register_lakeflow_source\n"
        "print('fine')\n"
    )
    (tmp_path / "ingest.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "ingest.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.slow
def test_the_pipeline_of_the_repository_is_written_unless_there_is_one(tmp_path: Path) -> None:
    write_project(tmp_path)
    pipeline = tmp_path / "ingest.py"
    published = (ROOT / "pipeline-spec" / "ingest.py").read_text("utf-8")
    assert pipeline.read_text("utf-8") == published, (
        "copy it to lakeflow_entry/deploy/templates/ingest.template"
    )
    pipeline.write_text("edited")
    write_project(tmp_path)
    assert pipeline.read_text("utf-8") == "edited"


def test_the_dependencies_have_the_bounds_of_the_project(source: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    tree = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert len(tree) > 1
    assert {one for one in tree if not one.startswith("lakeflow-community-connectors")} <= set(project)
    assert all("<" in requirement for requirement in tree)


def test_the_tree_replaces_an_existing_source(tmp_path: Path) -> None:
    source = write_tree(tmp_path)
    files = sorted(path.relative_to(source) for path in source.rglob("*"))
    (source / "screenshots").mkdir()
    (source / "gmail_utils.py").write_text("left over")
    other_source = source.parent / "github" / "github.py"
    other_source.parent.mkdir()
    other_source.write_text("another source")
    assert write_tree(tmp_path) == source
    assert sorted(path.relative_to(source) for path in source.rglob("*")) == files
    assert other_source.exists()


def test_the_connector_spec_allows_every_table_option(source: Path) -> None:
    import yaml

    spec = yaml.safe_load((source / "connector_spec.yaml").read_text("utf-8"))
    allowed = spec["external_options_allowlist"].split(",")
    assert set(allowed) == {name for entry in CATALOGUE.values() for name in entry.options}
    assert set(allowed) < set(ALLOW_LIST.split(","))
    assert spec["connection"]["oauth"]["scopes"].endswith("gmail.readonly")
    parameters = {one["name"]: one for one in spec["connection"]["parameters"]}
    assert {name for name, one in parameters.items() if one["required"]} == {"client_id", "client_secret"}
    assert parameters.keys() <= set(CONNECTION_OPTIONS)
    secrets = {name for name, one in parameters.items() if one.get("secret")}
    assert secrets == {"client_secret", "service_account_json"}
    assert parameters.keys().isdisjoint({"access_token", "refresh_token"})  # the OAuth flow supplies them


def test_the_command_writes_the_requested_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--file", str(tmp_path / "f"), "--wheel", str(tmp_path / "w")]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.exists() for path in paths] == [True, True]
    assert paths[0].name == FILE_NAME


def test_the_example_pipeline_is_a_valid_spec() -> None:
    tree = ast.parse((ROOT / "pipeline-spec" / "ingest.py").read_text("utf-8"))
    spec = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "pipeline_spec"
    )
    parsed = Spec.parse(spec)
    assert parsed.connection_name == "gmail_connector"
    assert [entry.source_table for entry in parsed.tables] == list(CATALOGUE)
