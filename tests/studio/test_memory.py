"""Fifty people at once, some of whom leave half-way, leave memory as it was."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from seewhy.studio.jobs import Job
from seewhy.studio.worker import AT_ONCE, STREAMED, Worker
from studio_client import Client

WIDE = """
import torch
from torch import nn
from seewhy import Model
from seewhy.models.preprocessing import Preprocessing


def make():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(128, 8000), nn.ReLU(), nn.Linear(8000, 9),
    )
    return Model(net.eval(), preprocess=Preprocessing(size=(224, 224)))
"""
"""A network that is quick, and whose copies weigh 4 MB each."""
CLIENTS = 50
MARGIN = 64
"""MB: the maps of a round, which are kept (0.8 MB each), and what the C library does not give back."""


def resident(process: int) -> float:
    """Return the megabytes that a process holds."""
    found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.fixture
def studio(tmp_path: Path, place: Path) -> Iterator[tuple[Client, int]]:
    """A studio in a process of its own, and that process."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux says how much memory a process holds")
    (tmp_path / "wide.py").write_text(WIDE)
    words = ["studio", str(place / "photos"), "--model", f"{tmp_path / 'wide.py'}:make", "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-m", "seewhy", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    yield Client(process.stdout.readline().strip()), process.pid
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.mark.slow
def test_many_clients_leave_memory_flat(studio: tuple[Client, int]) -> None:
    client, process = studio
    photos = [entry["id"] for entry in client.get("/api/images")]
    few = {"masks": 64, "estimator": "centred"}
    client.explain(photos[0], "rise", parameters=few)
    ends: list[str] = []

    def ask(seed: int) -> None:
        body = {"panel": f"p{seed}", "model": "0", "image": photos[seed % len(photos)], "method": "rise"}
        events = client.stream("/api/explain", {**body, "parameters": few, "seed": seed})
        for event in events:
            if seed % 3 == 0 and event["event"] == "map":
                break  # leaves while there is more to come, or just before the last word
        events.close()
        ends.append(event["event"])

    held = []
    for turn in range(2):
        threads = [threading.Thread(target=ask, args=(1 + turn * CLIENTS + k,)) for k in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.explain(photos[0], "gradient", seed=turn)  # all before it has ended
        held.append(resident(process))
    assert len(ends) == 2 * CLIENTS
    assert set(ends) == {"map", "done"}
    assert held[1] <= held[0] + MARGIN
    assert [j for j in client.get("/api/jobs") if j["state"] in ("waiting", "running")] == []


def turns(count: int, late: Job | None = None) -> tuple[int, list[str]]:
    """Return how many of so many streams were under way at once, and the order of all turns.

    `late` is submitted on the second turn of the first stream.
    """
    worker, gate, under_way, most, order = Worker("test"), threading.Event(), 0, 0, []
    worker.call(gate.wait)

    def stream(job: Job) -> Iterator[None]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for turn in range(3):
            if late is not None and job.panel == "0" and turn == 1:
                worker.submit(late)
            order.append(job.panel)
            yield
        under_way -= 1

    def single(_: Job) -> Iterator[None]:
        order.append("late")
        return iter(())

    jobs = [Job(str(i), "", STREAMED).does(stream) for i in range(count)]
    for job in jobs:
        worker.submit(job)
    if late is not None:
        jobs.append(late.does(single))
    gate.set()
    for job in jobs:
        job.ended.result(10)
    worker.close()
    return most, order


def test_streams_beyond_a_number_wait_to_begin() -> None:
    assert turns(3) == (3, ["0", "1", "2"] * 3)
    most, order = turns(3 * AT_ONCE)
    assert most == AT_ONCE
    assert sorted(order) == sorted(3 * [str(i) for i in range(3 * AT_ONCE)])


def test_what_is_made_at_once_does_not_wait_for_streams() -> None:
    _, order = turns(3 * AT_ONCE, Job("late", "", 1))
    assert order[AT_ONCE : AT_ONCE + 2] == ["0", "late"]


def test_one_that_nobody_wants_ends_without_waiting_for_a_place() -> None:
    worker, gate = Worker("test"), threading.Event()
    worker.call(gate.wait)
    jobs = [Job(str(i), "", STREAMED).does(lambda _: itertools.repeat(None)) for i in range(AT_ONCE)]
    left = Job("left", "", STREAMED).does(lambda _: iter(()))
    left.cancel()
    for job in [*jobs, left]:
        worker.submit(job)
    gate.set()
    left.ended.result(10)
    assert left.state == "failed"
    worker.close()
