"""The tree explains the architecture: imports run one way, modules stay short, names say something."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "seewhy"

ORDER = [
    {"errors", "registry", "types"},
    {"agreement", "bundle", "execution", "extras", "files", "resize", "specs"},
    {"batching", "inputs"},
    {"models"},
    {"targets"},
    {"question"},
    {"perturb"},
    {"show"},
    {"attribution", "captions", "provenance"},
    {"methods"},
    {"concepts", "conformance", "metrics"},
    {"report", "training"},
    {"runs"},
    {"verbs"},
    {"studio"},
    {"cli", "__main__"},
]
"""Rooms, from the ground up: each may import from its own storey and those below."""

FLOOR = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def imports_of(source: str) -> Iterator[str]:
    """Yield the rooms of seewhy that a module imports anywhere, `TYPE_CHECKING` blocks aside."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "seewhy":
            names = [f"seewhy.{a.name}" for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (n.split(".")[1] for n in names if n.startswith("seewhy."))


def climbs(room: str, source: str) -> list[str]:
    """Return the imports of a module of `room` that go upwards."""
    return [other for other in imports_of(source) if FLOOR[other] > FLOOR[room]]


MODULES = [p for p in sorted(SRC.rglob("*.py")) if p != SRC / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert room in FLOOR, f"{room} has no storey in ORDER"
    assert climbs(room, path.read_text()) == []


def test_a_climbing_import_would_be_seen() -> None:
    assert climbs("models", "from seewhy.methods.base import Method") == ["methods"]
    assert climbs("targets", "def f():\n    import seewhy.cli.explain") == ["cli"]


def test_modules_are_short() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in MODULES}
    assert max(lengths.values()) <= 500, max(lengths, key=lambda p: lengths[p])
    assert statistics.median(lengths.values()) < 180


def test_names_say_something() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [p for p in MODULES if p.stem in vague or vague & set(p.relative_to(SRC).parts)] == []


def test_importing_seewhy_imports_no_torch() -> None:
    code = "import sys, seewhy; dir(seewhy); print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_module_draws_from_global_generators(path: Path) -> None:
    names = {
        n.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for n in node.names
    }
    assert "random" not in names
