"""The scorer: every edit once, whatever the batch, the shard and the memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.batching import OutOfMemory, default_batch_size
from seewhy.errors import Cancelled
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.perturb.edits import Edits, Jobs
from seewhy.perturb.masks import MaskEdits, RandomGrids
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question, ask


class Brighter(Edits):
    """Edit `i` adds `i / 10` to the sample."""

    def __init__(self, count: int) -> None:
        self._count = count

    @property
    def count(self) -> int:
        return self._count

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        assert jobs.edits[jobs.place].equal(jobs.which)
        return x[jobs.rows] + jobs.which.reshape(-1, 1, 1, 1) / 10


class Limited(nn.Module):
    """A network that runs out of memory above some batch size."""

    def __init__(self, limit: int, error: type[RuntimeError], text: str) -> None:
        super().__init__()
        self.net, self.limit, self.error, self.text = networks.cnn(), limit, error, text
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        if len(x) > self.limit:
            raise self.error(self.text)
        return self.net(x)


def pose(n: int = 3, net: nn.Module | None = None, **options: object) -> Question:
    x = networks.batch((3, 16, 16), n=n)
    return ask(
        Model((net or networks.cnn()).eval()),
        x,
        [i % 3 for i in range(n)],
        Execution(**options),
        "probability",
    )  # type: ignore[arg-type]


def plain_loop(question: Question, count: int) -> Tensor:
    """One input at a time, in float64."""
    net = networks.cnn().double().eval()
    with torch.no_grad():
        return torch.stack(
            [
                torch.stack([net(x[None].double() + e / 10).softmax(1)[0, i % 3] for e in range(count)])
                for i, x in enumerate(question.x)
            ]
        )


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5, 64])
@pytest.mark.parametrize("n", [1, 3])
def test_table_equals_a_plain_loop(batch_size: int | None, n: int) -> None:
    question = pose(n, batch_size=batch_size)
    before = question.passes.forward
    table = Scorer(question).table(Brighter(11))
    assert table.dtype == torch.float32
    assert float((table - plain_loop(question, 11)).abs().max()) < 1e-6
    assert question.passes.forward - before == 11 * n


def test_the_queue_runs_edit_by_edit_and_fills_every_batch() -> None:
    chunks = list(Scorer(pose(3, batch_size=4)).stream(Brighter(3)))
    assert [len(c.scores) for c in chunks] == [4, 4, 1]
    assert torch.cat([c.jobs.which for c in chunks]).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert torch.cat([c.jobs.rows for c in chunks]).tolist() == [0, 1, 2] * 3
    assert [c.done for c in chunks] == [4, 8, 9]


@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 12), (0, 1, 2, 7, 12)])
def test_shards_give_the_scores_of_the_whole(cuts: tuple[int, ...]) -> None:
    question = pose(3, batch_size=4)
    edits = MaskEdits(RandomGrids((16, 16), (3, 3), 12, 0.5, seed=0), None)
    whole = Scorer(question).table(edits)
    parts = torch.full_like(whole, torch.nan)
    for start, stop in itertools.pairwise(cuts):
        for chunk in Scorer(question).stream(edits, start, stop):
            parts[chunk.jobs.rows, chunk.jobs.which] = chunk.scores
    assert float((whole - parts).abs().max()) < 1e-6


def test_the_same_run_gives_the_same_bits() -> None:
    edits = MaskEdits(RandomGrids((16, 16), (3, 3), 40, 0.5, seed=0), None)
    assert torch.equal(Scorer(pose()).table(edits), Scorer(pose()).table(edits))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError, "device is full"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: 1 bytes"),
    ],
)
def test_running_out_of_memory_halves_the_batch_and_loses_nothing(
    error: type[RuntimeError], text: str
) -> None:
    net = Limited(3, error, text)
    question = pose(3, net, batch_size=16)
    before = question.passes.forward
    scorer = Scorer(question)
    table = scorer.table(Brighter(11))
    assert float((table - plain_loop(question, 11)).abs().max()) < 1e-6
    assert scorer.notes() == {"scoring": {"precision": "fp32"}, "batch_halved_to": 2}
    assert net.seen[-20:-16] == [16, 8, 4, 2]
    assert question.passes.forward - before == 33, "a pass that failed is not counted"


def test_one_input_that_does_not_fit_is_said_plainly() -> None:
    question = pose(2)
    question.model.module = Limited(0, torch.OutOfMemoryError, "full")
    with pytest.raises(OutOfMemory, match="One input does not fit"):
        Scorer(question).table(Brighter(3))


def test_other_errors_pass() -> None:
    question = pose(2)
    question.model.module = Limited(0, RuntimeError, "planted")
    with pytest.raises(RuntimeError, match="planted"):
        Scorer(question).table(Brighter(3))


def test_cancel_stops_before_the_next_batch() -> None:
    chunks: list[int] = []
    question = pose(2, batch_size=4, cancelled=lambda: len(chunks) == 2)
    stream = Scorer(question).stream(Brighter(50))
    chunks.append(next(stream).done)
    chunks.append(next(stream).done)
    with pytest.raises(Cancelled):
        next(stream)
    assert chunks == [4, 8]
    assert question.passes.forward == 2 + 8


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int, str]] = []
    question = pose(2, batch_size=5, progress=lambda done, total, what: seen.append((done, total, what)))
    seen.clear()
    Scorer(question, "edits").table(Brighter(6))
    assert seen == [(0, 12, "edits"), (5, 12, "edits"), (10, 12, "edits"), (12, 12, "edits")]


def test_half_precision_scores_are_float32_and_near() -> None:
    full, half = (Scorer(pose(precision=p)).table(Brighter(5)) for p in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < float((full - half).abs().max()) < 0.02


def test_batch_size_follows_from_the_size() -> None:
    assert default_batch_size(torch.empty(1, 3, 224, 224)) == 8
    assert default_batch_size(torch.empty(1, 3, 4, 224, 224)) == 2
    assert default_batch_size(torch.empty(1, 3, 8, 8)) == 512
    assert default_batch_size(torch.empty(1, 3, 4000, 4000)) == 1


PEAK = """
import sys, torch
from pathlib import Path
from torch import nn
from seewhy.batching import default_batch_size
from seewhy.execution import Execution
from seewhy.methods.masking.rise import RISE
from seewhy.perturb.masks import Grids
torch.set_num_threads(1)
if sys.argv[2] == "hoard":
    kept, masks = [], Grids.masks
    Grids.masks = lambda self, which: kept.append(masks(self, which)) or kept[-1]
net = nn.Sequential(nn.Conv2d(3, 2, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
RISE(masks=int(sys.argv[1]))(net, torch.rand(1, 3, 96, 96), 0, Execution(batch_size=64))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def peak(masks: int, how: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(masks), how], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_number_of_masks() -> None:
    small = peak(500, "stream")
    assert peak(8000, "stream") <= 1.1 * small
    assert peak(8000, "hoard") > 1.1 * small, "the planted bug, every mask kept, must show"
