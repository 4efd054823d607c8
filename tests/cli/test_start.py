"""Starting costs nothing: help and version do not import torch; a closed pipe is no crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seewhy


def fresh(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    source = str(Path(seewhy.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    return subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
        **options,
    )


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("layers", "--help"), ("explian",)])
def test_no_torch_for_words_alone(argv: tuple[str, ...]) -> None:
    done = fresh("-X", "importtime", "-m", "seewhy", *argv)
    imported = {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")
    }
    assert "seewhy.cli.app" in imported  # the list is a list
    assert not imported & {"torch", "numpy", "PIL", "safetensors"}
    assert done.returncode == (2 if argv == ("explian",) else 0)


def test_help_lists_every_command(run: Callable[..., Any]) -> None:
    said = run("--help")
    assert said.code == 0
    for name in ("demo", "explain", "compare", "evaluate", "methods", "metrics", "layers", "doctor"):
        assert f" {name} " in said.out


def test_version(run: Callable[..., Any]) -> None:
    assert run("--version").out.strip() == seewhy.__version__


def test_interrupt_anywhere_is_130(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seewhy.__main__.build", interrupted)
    said = run("methods")
    assert said.code == 130
    assert len(said.err.splitlines()) == 1


def test_closed_pipe_is_quiet() -> None:
    script = "import sys; from seewhy.__main__ import main; sys.exit(main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    source = str(Path(seewhy.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONPATH": source}, timeout=120,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("variable", ["", "MALLOC_ARENA_MAX"])
def test_the_allocator_is_set_unless_the_user_did(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    from seewhy.cli import allocator

    calls = []

    class Library:
        gnu_get_libc_version = None

        def mallopt(self, what: int, value: int) -> int:
            calls.append((what, value))
            return 1

    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: Library())
    for name in [n for n in os.environ if n.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, "1")
    allocator.keep_memory()
    assert calls == ([] if variable else [(-4, 0), (-1, 2**31 - 1)])
