"""Processes of this machine: the same bytes as in this process, also when workers die."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from runs.conftest import NETWORK
from seewhy.errors import BadInput, Cancelled, SeeWhyError
from seewhy.runs import Plan
from seewhy.runs.here_engine import Here
from seewhy.runs.local_engine import Local, default_workers, devices
from seewhy.runs.run import benchmark
from seewhy.runs.study import Study

MORTAL = (
    NETWORK
    + """

import os, signal
from pathlib import Path


class Mortal(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        grave = Path(__file__).with_name("grave")
        black = (x.flatten(2).std(2) < 1e-3).all(1) & (x.mean((1, 2, 3)) < -1)  # hidden photos are grey
        if bool(black.any()) and not grave.exists():
            grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(x)


def mortal():
    model = tiny()
    model.module = Mortal(model.module)
    return model
"""
)


def test_two_processes_give_the_bytes_of_one(plan: Callable[..., Plan], whole: Study, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append(done)
        if done == 20 and len(seen) == done + 1:
            raise KeyboardInterrupt

    with pytest.raises(Cancelled, match="20 finished units are kept"):
        benchmark(plan(), tmp_path / "out", engine=Local(2), allow_code=True, progress=stop)
    assert children() == []
    benchmark(plan(), tmp_path / "out", engine=Local(1), allow_code=True, progress=stop)
    assert seen == [*range(21), *range(20, 55)]
    assert children() == []
    for name in ("results.parquet", "samples.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_process_that_is_killed_costs_nothing(
    plan: Callable[..., Plan], photos: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (24, 20)).save(photos / "2.png")
    (tmp_path / "net.py").write_text(MORTAL)
    chosen = plan(model=f"{tmp_path / 'net.py'}:mortal", methods="gradient", metrics="deletion?steps=40")
    benchmark(chosen, tmp_path / "out", engine=Local(1), allow_code=True)
    assert (tmp_path / "grave").exists()
    study = benchmark(chosen, tmp_path / "alive", engine=Here(), allow_code=True)
    assert study.failures == []
    for name in ("results.parquet", "samples.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (study.folder / name).read_bytes()


def test_a_process_that_cannot_start_is_told(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seewhy").mkdir()
    (tmp_path / "seewhy" / "__init__.py").write_text("raise ImportError('no such seewhy')\n")
    monkeypatch.setattr("seewhy.runs.local_engine._environment", lambda: {"PYTHONPATH": str(tmp_path)})
    with pytest.raises(
        SeeWhyError, match=r"ended before it could begin: ended with status 1: .*no such seewhy"
    ):
        benchmark(plan(), tmp_path / "out", engine=Local(1), allow_code=True)


def test_a_device_that_is_not_there_is_told(plan: Callable[..., Plan], whole: Study, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"on nowhere\. That device cannot be used"):
        benchmark(plan(device="nowhere"), tmp_path / "out", engine=Local(1), allow_code=True)
    study = benchmark(plan(), tmp_path / "out", engine=Here(), allow_code=True)  # nothing was begun there
    assert (study.folder / "results.parquet").read_bytes() == (whole.folder / "results.parquet").read_bytes()


def test_who_works_where(plan: Callable[..., Plan]) -> None:
    assert devices("cpu", 3) == ["cpu"] * 3
    assert default_workers(plan(device="cuda:1")) == 1
    assert default_workers(plan(threads=10_000)) == 1
    assert default_workers(plan()) == len(os.sched_getaffinity(0))
    with pytest.raises(BadInput, match="Give 1 or more"):
        Local(0)


def children() -> list[int]:
    """Return the processes that this one started and that still run."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed]
