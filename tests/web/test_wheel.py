"""What users install: a source distribution, the wheel made from it, and the page inside."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BUNDLE = "seewhy/studio/bundle/"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, and a wheel made from that, each in a clean environment."""
    out = tmp_path_factory.mktemp("dist")
    told = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-4000:]
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as opened:
        return {n: opened.read(n) for n in opened.namelist()}


def test_sources_hold_the_page_s_sources_and_nothing_made_of_them(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as opened:
        names = {n.split("/", 1)[1] for n in opened.getnames()}
    expected = {
        "hatch_build.py",
        "web/build.py",
        "web/package.json",
        "web/package-lock.json",
        "web/openapi.json",
    }
    assert expected <= names
    assert "web/src/studio/index.html" in names
    made = [n for n in names if "node_modules" in n or "/bundle/" in n or n.endswith("schema.d.ts")]
    assert made == []


def test_wheel_holds_every_shell_of_the_page(wheel: dict[str, bytes]) -> None:
    inside = {n.removeprefix(BUNDLE) for n in wheel if n.startswith(BUNDLE)}
    assert {"studio/index.html", "widget/widget.js", "report/report.js"} <= inside
    assert any(re.fullmatch(r"studio/assets/[\w-]+\.js", n) for n in inside)
    assert any(re.fullmatch(r"studio/assets/[\w-]+\.css", n) for n in inside)
    assert not [n for n in inside if n.endswith(".map")]


def test_everything_that_the_page_names_is_there(wheel: dict[str, bytes]) -> None:
    index = wheel[BUNDLE + "studio/index.html"].decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', index)
    assert named
    for name in named:
        if name.startswith("data:"):  # the icon is in the page itself
            continue
        assert BUNDLE + "studio/" + name.removeprefix("./") in wheel, name


def test_page_loads_nothing_from_elsewhere(wheel: dict[str, bytes]) -> None:
    index = wheel[BUNDLE + "studio/index.html"].decode()
    assert re.findall(r"https?://", index) == []
    assert "<script>" not in index
    for name, text in wheel.items():
        if name.startswith(BUNDLE) and name.endswith(".css"):
            assert re.findall(rb"url\(\s*['\"]?(?:https?:)?//|@import", text) == [], name


def test_page_is_small(wheel: dict[str, bytes]) -> None:
    sizes = {n: len(gzip.compress(t)) for n, t in wheel.items() if n.startswith(BUNDLE + "studio/")}
    assert sum(sizes.values()) <= 110_000, sizes
