"""Imports: the three packages are layers, and there are no import cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gmail_assets", "gmail_client", "lakeflow_entry")
ABOVE_THE_CLIENT = {"dagster", "dagster_pyspark", "deltalake", "gmail_assets", "lakeflow_entry", "pyspark"}
MAY_IMPORT_SPARK_SOURCE = {"gmail_assets.cli.commands.bundle", "gmail_assets.spark_engine"}


class Sources:
    """The modules below a folder and their imports, including those in functions and for the type checker.

    A name imported from a package counts as an import of the module in which it is defined.
    """

    def __init__(self, root: Path, packages: tuple[str, ...]) -> None:
        self.trees: dict[str, ast.Module] = {}
        self.folders: set[str] = set()
        for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
                self.folders.add(".".join(parts))
            self.trees[".".join(parts)] = ast.parse(path.read_text("utf-8"))

    def imports(self, module: str) -> set[str]:
        """All imports of a module, inside and outside of the packages; a package's lazy names do not count."""
        tree = self.trees[module]
        found: set[str] = set()
        for node in ast.walk(_without_type_checking(tree) if self._is_lazy(module) else tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: the project's imports are absolute"
                for alias in node.names:
                    found.update(self._homes(str(node.module), alias.name))
        return found

    def edges(self, module: str) -> set[str]:
        """The modules that this one imports, with those of their packages that do not contain this module."""
        needed: set[str] = set()
        for name in self.imports(module) & self.trees.keys():
            parts = name.split(".")
            needed.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return {name for name in needed if not f"{module}.".startswith(f"{name}.")}

    def _homes(self, package: str, name: str) -> Iterator[str]:
        if f"{package}.{name}" in self.trees:
            yield f"{package}.{name}"
        elif package in self.folders and (home := self._names_of(package).get(name)):
            yield from self._homes(home, name)
        yield package

    @cache  # noqa: B019 - lives as long as the tests
    def _names_of(self, package: str) -> Mapping[str, str]:
        """The modules in which the names of a package are defined."""
        return {
            alias.asname or alias.name: node.module
            for node in ast.walk(self.trees[package])
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    def _is_lazy(self, module: str) -> bool:
        return module in self.folders and any(
            isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
            for node in self.trees[module].body
        )


def _without_type_checking(tree: ast.Module) -> ast.Module:
    kept = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        )
    ]
    return ast.Module(kept, [])


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other (Tarjan's strongly connected components), each sorted."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for needed in sorted(graph[module]):
            if needed not in number:
                visit(needed)
                lowest[module] = min(lowest[module], lowest[needed])
            elif needed in path:
                lowest[module] = min(lowest[module], number[needed])
        if lowest[module] == number[module]:
            at = path.index(module)
            group = sorted(path[at:])
            del path[at:]
            if len(group) > 1:
                found.append(group)

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


SOURCES = Sources(ROOT, PACKAGES)


def _roots(module: str) -> set[str]:
    return {name.partition(".")[0] for name in SOURCES.imports(module)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_package_with_a_docstring(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        first = path.parent / "__init__.py"
        assert first.exists(), path.parent
        assert ast.get_docstring(ast.parse(first.read_text("utf-8"))), first


def test_the_client_imports_neither_dagster_nor_spark_nor_delta() -> None:
    clients = [module for module in SOURCES.trees if module.partition(".")[0] == "gmail_client"]
    assert {module: found for module in clients if (found := _roots(module) & ABOVE_THE_CLIENT)} == {}


def test_the_spark_source_never_imports_the_assets() -> None:
    sources = [module for module in SOURCES.trees if module.partition(".")[0] == "lakeflow_entry"]
    assert [module for module in sources if "gmail_assets" in _roots(module)] == []


def test_the_assets_import_the_spark_source_in_two_places_only() -> None:
    assets = [module for module in SOURCES.trees if module.partition(".")[0] == "gmail_assets"]
    assert {module for module in assets if "lakeflow_entry" in _roots(module)} == MAY_IMPORT_SPARK_SOURCE


def test_there_is_no_import_cycle() -> None:
    assert cycles({module: SOURCES.edges(module) for module in SOURCES.trees}) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "from p import b", "b.py": "def f():\n    import p.a"}, [["p.a", "p.b"]]),
        ({"a.py": "if TYPE_CHECKING:\n    from p.b import B", "b.py": "import p.a"}, [["p.a", "p.b"]]),
        ({"a.py": "from p.b import B", "b.py": "B = 1"}, []),
        (
            {
                "s/__init__.py": "if TYPE_CHECKING:\n    from p.s.run import sync\ndef __getattr__(name): ...",
                "s/run.py": "from p.a import A\nfrom p.s.names import N\nsync = A",
                "s/names.py": "N = 1",
                "a.py": "from p.s.names import N",
            },
            [],
        ),
        (
            {
                "s/__init__.py": "if TYPE_CHECKING:\n    from p.s.run import sync\ndef __getattr__(name): ...",
                "s/run.py": "from p.a import A",
                "a.py": "def f():\n    from p.s import sync",
            },
            [["p.a", "p.s.run"]],
        ),
        (
            {"s/__init__.py": "from p.a import A", "s/leaf.py": "", "a.py": "import p.s.leaf"},
            [["p.a", "p.s"]],
        ),
        (
            {"a.py": "import p.b", "b.py": "import p.c", "c.py": "import p.a, p.d", "d.py": ""},
            [["p.a", "p.b", "p.c"]],
        ),
    ],
)
def test_import_cycles_are_detected(files: dict[str, str], expected: list[list[str]], tmp_path: Path) -> None:
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sources = Sources(tmp_path, ("p",))
    assert cycles({module: sources.edges(module) for module in sources.trees}) == expected
