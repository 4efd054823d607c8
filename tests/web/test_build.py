"""The build of the page: when it is needed, which Node it takes, what it says when it cannot."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("web_build_under_test", ROOT / "web" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def tree(root: Path) -> Path:
    (root / "src" / "lib" / "api").mkdir(parents=True)
    (root / "src" / "main.ts").write_text("let a = 1")
    (root / "package-lock.json").write_text("{}")
    return root


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("version", "does"),
    [
        ("v20.19.0", True), ("v20.18.9", False), ("v21.7.1", False), ("v22.11.0", False),
        ("v22.12.0", True), ("v24.1.0", True), ("v8.0.0", False), ("", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_versions_of_node_that_fit(web: ModuleType, version: str, does: bool) -> None:
    assert web.fits(version) is does


def test_the_build_and_the_manifest_ask_for_the_same_node(web: ModuleType) -> None:
    asked = json.loads((ROOT / "web" / "package.json").read_text())["engines"]["node"]
    assert asked.removeprefix(">=") == "20.19"
    assert web.fits("v20.19.0")


def test_digest_follows_names_and_contents_only(web: ModuleType, tmp_path: Path) -> None:
    root = tree(tmp_path)
    first = web.digest(root)
    (root / "src" / "lib" / "api" / "schema.d.ts").write_text("made by the build")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "a.js").write_text("installed")
    (root / "src" / "main.ts").touch()
    assert web.digest(root) == first
    (root / "src" / "main.ts").write_text("let a = 2")
    changed = web.digest(root)
    (root / "src" / "main.ts").rename(root / "src" / "other.ts")
    assert len({first, changed, web.digest(root)}) == 3


def test_a_bundle_is_current_only_whole_and_from_these_sources(web: ModuleType, tmp_path: Path) -> None:
    root, bundle = tree(tmp_path / "web"), tmp_path / "bundle"
    assert not web.current(bundle, root)
    for name in web.EXPECTED:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("x")
    (bundle / "sources.sha256").write_text(web.digest(root))
    assert web.current(bundle, root)
    (bundle / web.EXPECTED[0]).unlink()
    assert not web.current(bundle, root)
    (bundle / web.EXPECTED[0]).write_text("x")
    (root / "src" / "main.ts").write_text("let a = 3")
    assert not web.current(bundle, root)


@pytest.mark.skipif(sys.platform == "win32", reason="writes shell scripts")
def test_an_old_node_on_the_path_is_left_alone(
    web: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "npm", "exit 0")
    script(tmp_path / "node", "echo v18.20.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert web.npm_on_path() is None
    script(tmp_path / "node", "echo v22.20.0")
    assert web.npm_on_path().command == (str(tmp_path / "npm"),)


def test_no_node_at_all_says_what_to_do(
    web: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(web, "npm_of_wheel", lambda: None)
    with pytest.raises(web.BuildFailed, match=r"needs Node 20\.19 .* none was found\. Install Node, or run"):
        web.npm()


@pytest.mark.skipif(sys.platform == "win32", reason="writes shell scripts")
def test_a_failing_build_leaves_the_old_bundle(
    web: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = script(
        tmp_path / "npm", 'test "$1" = ci && exit 0\nmkdir -p "$SEEWHY_WEB_OUT"; echo broken; exit 1'
    )
    bundle = tmp_path / "package" / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "old").write_text("old")
    (tmp_path / "web" / "node_modules").mkdir(parents=True)
    monkeypatch.setattr(web, "WEB", tree(tmp_path / "web"))
    monkeypatch.setattr(web, "npm", lambda: web.Npm((str(npm),), tmp_path))
    with pytest.raises(web.BuildFailed, match=r"(?s)`npm run build` failed .*broken.*SEEWHY_WEB=skip"):
        web.build(bundle)
    assert [p.name for p in (tmp_path / "package").iterdir()] == ["bundle"]
    assert (bundle / "old").read_text() == "old"
