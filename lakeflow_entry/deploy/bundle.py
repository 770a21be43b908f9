"""Writes the deployment artifacts for Databricks from the installed sources: `write_file`, `write_project`,
`write_tree`, `write_wheel`.

The single file contains the packages it needs, compressed, so that nothing has to be installed on the workers. The
source tree has the layout of a source in the framework's repository (databrickslabs/lakeflow-community-connectors). The
wheel contains the same tree and is installed next to the framework's wheel. In both, the packages are below the
framework's namespace, so that they do not conflict with others.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lakeflow_entry.deploy.source_docs import readme
from lakeflow_entry.deploy.source_tree import UNIT_TESTS, own_files, unit_tests

__all__ = ["FILE_NAME", "NAMESPACE", "write_file", "write_project", "write_tree", "write_wheel"]

FILE_NAME = "_generated_gmail_python_source.py"
NAMESPACE = "databricks.labs.community_connector.sources.gmail"

_PACKAGES = ("gmail_client", "lakeflow_entry")
_ROOTS = ("lakeflow_entry.connector", "lakeflow_entry.datasource", "lakeflow_entry.pipelines.ingest")
_LEFT_OUT = {"gmail_client.settings"}
"""Not bundled: it reads the environment for the command line and Dagster, with a package that Databricks lacks."""

_REQUIRES = ("google-auth>=2.40,<3", "pyarrow>=19,<27", "pydantic>=2.10,<3", "requests>=2.32,<3")

_DOCUMENTED = (("pipeline.ingestion_pipeline", "ingest"), ("libs.source_loader", "get_register_function"))
"""Modules and names that the documentation of the published connector imports."""

_LICENSE = "Apache-2.0"


def write_file(folder: Path) -> Path:
    """Write the single file into a folder; returns its path."""
    sources = _sources()
    digest = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:12]
    # The package's name contains a digest of the content, so that one worker process can import two versions.
    package = f"_gmail_lakeflow_{digest}"
    moved = {f"{package}.__init__": ""}
    for name, source in sources.items():
        moved[f"{package}.{name}"] = _moved(source, package)
    packed = base64.b85encode(zlib.compress(json.dumps(moved, sort_keys=True).encode(), 9)).decode()
    lines = [packed[at : at + 100] for at in range(0, len(packed), 100)]
    literal = "(\n" + "".join(f"    {line!r}\n" for line in lines) + ")"
    text = _source("lakeflow_entry.deploy.standalone")
    text = text.replace('PACKAGE = ""\n', f"PACKAGE = {package!r}\n", 1)
    text = text.replace('SOURCES = ""\n', f"SOURCES = {literal}\n", 1)
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_project(folder: Path) -> Path:
    """Write the single file, the modules that the connector's documentation imports, and a pipeline, `ingest.py`.

    An existing `ingest.py` is kept.

    Args:
        folder: The source folder of a pipeline.

    Returns:
        Path of the single file.
    """
    path = write_file(folder)
    for module, name in _DOCUMENTED:
        file = folder.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f'"""Written by `gmail-assets bundle`: {name} of the single file."""\n\n'
            f'from {path.stem} import {name}\n\n__all__ = ["{name}"]\n',
            encoding="utf-8",
        )
    pipeline = folder / "ingest.py"
    if not pipeline.exists():
        shutil.copyfile(Path(__file__).parent / "templates" / "ingest.template", pipeline)
    return path


def write_tree(folder: Path) -> Path:
    """Write the source tree below a folder; deletes what the source's own folder contained, and returns this folder.

    The unit tests of the source that it replaces (`tests/unit/sources/gmail/test_gmail_unit.py`) are replaced too.

    Args:
        folder: Root of the tree, such as a clone of the framework's repository.
    """
    source = folder.joinpath("src", *NAMESPACE.split("."))
    if source.is_dir() and not source.is_symlink():
        shutil.rmtree(source)
    for name, text in _tree().items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_file(source)
    tests = folder / UNIT_TESTS
    tests.parent.mkdir(parents=True, exist_ok=True)
    tests.write_text(unit_tests(NAMESPACE), encoding="utf-8")
    return source


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    name, number = "gmail_lakeflow", _version()
    info = f"{name}-{number}.dist-info"
    root = NAMESPACE.replace(".", "/")
    single = write_file(folder)
    files = {f"{root}/{path}": text for path, text in _tree().items() if not path.endswith("pyproject.toml")}
    files[f"{root}/{FILE_NAME}"] = single.read_text("utf-8")
    single.unlink()
    files[f"{info}/METADATA"] = _metadata(number)
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: gmail-assets\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in sorted(files.items())]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    path = folder / f"{name}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, text in sorted(files.items()):
            # A fixed date, so that the same sources give the same wheel.
            wheel.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return path


def _tree() -> dict[str, str]:
    """The files of the source, by path within its folder."""
    sources = _sources()
    packages = [name.removesuffix(".__init__") for name in sources if name.endswith(".__init__")]
    files = own_files(NAMESPACE, packages, _version(), _REQUIRES)
    for name, source in sources.items():
        files[f"{name.replace('.', '/')}.py"] = _moved(source, NAMESPACE)
    return files


def _sources() -> dict[str, str]:
    """The sources of the modules that the roots import, by name (`package.__init__` for a package)."""
    found: dict[str, str] = {}
    waiting = list(_ROOTS)
    while waiting:
        name = waiting.pop()
        spec = _spec(name)
        key = name if spec.submodule_search_locations is None else f"{name}.__init__"
        if key in found or name in _LEFT_OUT:
            continue
        if name in _PACKAGES:
            # A package's `__init__` re-exports more than the bundle needs; the bundle holds what the roots import.
            found[key] = '"""Packed by `gmail-assets bundle`."""\n'
            continue
        found[key] = _source(name)
        waiting += [name.rpartition(".")[0], *_imported(found[key])]
    return dict(sorted(found.items()))


def _imported(source: str) -> Iterator[str]:
    """The modules of these packages that a source imports, including imports inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and _is_packed(node.module):
            yield node.module
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                if _spec(node.module).submodule_search_locations and importlib.util.find_spec(name):
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_packed(alias.name))


def _is_packed(name: str) -> bool:
    return name.partition(".")[0] in _PACKAGES


def _source(name: str) -> str:
    return Path(str(_spec(name).origin)).read_text("utf-8")


def _spec(name: str) -> ModuleSpec:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return spec


def _moved(source: str, package: str) -> str:
    """The source with its imports of these packages moved below another package."""
    return re.sub(
        rf"^(\s*)from ({'|'.join(_PACKAGES)})([.\w]*) import ",
        rf"\1from {package}.\2\3 import ",
        source,
        flags=re.MULTILINE,
    )


def _version() -> str:
    try:
        return version("gmail-assets")
    except PackageNotFoundError:
        return "0.1.0"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _metadata(number: str) -> str:
    lines = [
        "Metadata-Version: 2.1",
        "Name: gmail-lakeflow",
        f"Version: {number}",
        "Summary: Gmail source for Lakeflow community connectors.",
        f"License: {_LICENSE}",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {requirement}" for requirement in _REQUIRES),
        "Description-Content-Type: text/markdown",
        "",
        readme(),
    ]
    return "\n".join(lines)
