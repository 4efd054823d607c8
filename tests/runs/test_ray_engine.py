"""The engine `ray`: the same bits as here, an actor that dies, clusters of one's own and of others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from seewhy.errors import BadInput, MissingExtra
from seewhy.runs.here_engine import Here
from seewhy.runs.plan import Plan
from seewhy.runs.ray_engine import Ray, _Actor
from seewhy.runs.run import benchmark
from seewhy.runs.study import open_study
from seewhy.runs.units import Task, Unit

NETWORK = """
import os, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from seewhy import Model, Preprocessing

ACTOR = "default_worker" in sys.argv[0]
BESIDE = Path(__file__).parent


class Mortal(nn.Module):
    '''In an actor: kills its process, once, or waits, where a file asks for it.'''

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )

    def forward(self, x):
        if ACTOR and len(x) > 2 and (BESIDE / "kill").exists():
            (BESIDE / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        while ACTOR and len(x) > 2 and (BESIDE / "wait").exists():
            time.sleep(0.05)
        return self.body(x)


def tiny():
    if ACTOR:
        (BESIDE / f"loaded-{os.getpid()}").touch()
    torch.manual_seed(0)
    return Model(Mortal().eval(), preprocess=Preprocessing(size=(16, 16), fit="squash"), labels=list("abcde"))
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "photos").mkdir()
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{seed}.png")
    (tmp_path / "photos" / "3.png").write_bytes(b"")
    return Plan.make(
        model=f"{tmp_path / 'net.py'}:tiny",
        data=str(tmp_path / "photos"),
        methods="grad_cam,rise?masks=24",
        metrics="deletion?steps=4,adcc",
        chunk=2,
    )


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Where clusters keep their files; sockets allow no long paths."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    yield folder
    assert left_over(folder) == []
    shutil.rmtree(folder)


def environment(home: Path) -> dict[str, str]:
    """Return that of a cluster and of those who use it; the token is for these tests alone."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_TMPDIR": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "of-the-tests-of-seewhy-0123456789",
    }


@pytest.fixture
def cluster(home: Path) -> Iterator[str]:
    """The address of a cluster with room for two workers, in another process."""
    code = (
        "import ray, sys\n"
        "made = ray.init('local', num_cpus=2, include_dashboard=False, object_store_memory=2**28)\n"
        "print(made.address_info['gcs_address'], flush=True)\n"
        "sys.stdin.read()\n"
        "print(ray.is_initialized() and ray.cluster_resources()['CPU'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(home),
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield address
    said, _ = process.communicate()
    assert said.strip() == "2.0"  # it was left running


def command(plan: Plan, out: Path, *more: str) -> list[str]:
    toml = out.with_suffix(".toml")
    toml.write_text(plan.to_toml())
    argv = [sys.executable, "-m", "seewhy", "benchmark", str(toml), "--model", plan.model, "--out", str(out)]
    return [*argv, "--engine", "ray", "--workers", "2", *more]


def results(out: Path) -> str:
    """Return every number in full; unlike tables, texts with NaN may be equal."""
    return repr(parquet.read_table(out / "results.parquet").to_pydict())


@pytest.mark.slow
def test_a_killed_actor_costs_its_unit_and_the_table_is_the_same(
    plan: Plan, cluster: str, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "kill").touch()
    done = subprocess.run(
        command(plan, tmp_path / "ray", "--ray-address", cluster),
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "kill").exists()
    assert len(list(tmp_path.glob("loaded-*"))) == 3  # two actors, and one for the dead: once each
    assert {failure.sample for failure in open_study(tmp_path / "ray").failures} == {"3.png"}
    benchmark(plan, tmp_path / "here", engine=Here(), allow_code=True)
    assert results(tmp_path / "ray") == results(tmp_path / "here")
    changed = Plan.make(**{**plan.to_json(), "seed": 1})  # a planted difference is seen
    benchmark(changed, tmp_path / "seed", engine=Here(), allow_code=True)
    assert results(tmp_path / "seed") != results(tmp_path / "here")


@pytest.mark.slow
def test_ctrl_c_stops_a_cluster_of_ones_own_and_the_run_goes_on(
    plan: Plan, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "wait").touch()
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(plan, out),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Hear Ctrl-C, as a program in the foreground does; in the background of a shell nobody does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not finished(out):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 130, said
    assert "finished units are kept" in said[1]
    assert 0 < finished(out) < 3 * (1 + 2 * 3 + 3 * 2)
    assert left_over(home) == []
    benchmark(plan, out, engine=Here(), allow_code=True)  # another engine goes on
    benchmark(plan, tmp_path / "here", engine=Here(), allow_code=True)
    assert results(out) == results(tmp_path / "here")


def finished(out: Path) -> int:
    """Return how many units are recorded."""
    journal = out / "journal"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def left_over(folder: Path) -> list[str]:
    """Return the command lines of processes of clusters below a folder, after some time to end."""
    found: list[str] = []
    for _ in range(100):
        found = [line for line in _command_lines() if str(folder) in line]
        if not found:
            break
        time.sleep(0.1)
    return found


def _command_lines() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue


def test_an_actor_says_what_it_refuses(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it goes to the folder of its caller
    task = Task(0, range(2), (Unit(0),))
    (said,) = _Actor(plan, str(tmp_path), False).work(task)
    assert "Code is executed only on the command line's request" in str(said)
    ready, record = _Actor(plan, str(tmp_path / "not here"), True).work(task)
    assert (ready, record.unit) == ("ready", Unit(0))  # type: ignore[union-attr]


def test_actors_are_no_more_than_the_cluster_holds(plan: Plan) -> None:
    def room(workers: int | None, have: dict[str, float], **keys: Any) -> int:
        cluster = SimpleNamespace(cluster_resources=lambda: have)
        return Ray(workers)._room(cluster, Plan.make(**{**plan.to_json(), **keys}))

    assert room(None, {"CPU": 6.0}) == 6
    assert room(2, {"CPU": 6.0}) == 2
    assert room(9, {"CPU": 6.0}, threads=2) == 3
    assert room(None, {"CPU": 6.0, "GPU": 2.0}, device="cuda") == 2
    with pytest.raises(BadInput, match="has 2 cores and 0 accelerators; an actor takes 64 and 0"):
        room(None, {"CPU": 2.0}, threads=64)
    with pytest.raises(BadInput, match="has 2 cores and 0 accelerators; an actor takes 1 and 1"):
        room(None, {"CPU": 2.0}, device="cuda")


def test_what_is_wrong_with_a_cluster_is_said(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="does not stream results"):
        Ray(address="ray://head:10001")
    with pytest.raises(BadInput, match="Give 1 or more"):
        Ray(workers=0)
    monkeypatch.setattr("seewhy.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'seewhy\[scale\]'"):
        next(iter(Ray().run(plan, lambda: None, allow_code=False)))
