"""RISE against plain loops: all 512 masks of a 3 x 3 grid, and the direct sum over random masks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import Tensor, nn

import networks
from seewhy.execution import Execution
from seewhy.methods.base import Estimate
from seewhy.methods.masking.mask_sums import Estimator, Sums
from seewhy.methods.masking.rise import RISE, estimates
from seewhy.models.model import Model
from seewhy.perturb.edits import Jobs
from seewhy.perturb.masks import Grids, RandomGrids
from seewhy.perturb.scorer import Chunk
from seewhy.question import Question, ask

SIZE = (12, 15)
SHIFT = (1, 3)


class AllGrids(Grids):
    """Every grid of 3 x 3 bits once, all at one shift."""

    def __init__(self) -> None:
        super().__init__(SIZE, (3, 3))
        self.bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).reshape(-1, 3, 3)

    @property
    def count(self) -> int:
        return len(self.bits)

    def draw(self, which: Tensor) -> tuple[Tensor, Tensor]:
        return self.bits[which], torch.tensor(SHIFT).expand(len(which), 2)


def published_mask(grid: Tensor) -> Tensor:
    large = resize(grid.double().numpy(), (16, 20), order=1, mode="reflect", anti_aliasing=False)
    return torch.from_numpy(large[SHIFT[0] : SHIFT[0] + SIZE[0], SHIFT[1] : SHIFT[1] + SIZE[1]])


def plain_loop(net: nn.Module, x: Tensor, c: int, estimator: Estimator) -> Tensor:
    """The definition in float64, one mask at a time."""
    net = net.double().eval()
    masks, scores = [], []
    with torch.no_grad():
        for bits in itertools.product([0.0, 1.0], repeat=9):
            masks.append(published_mask(torch.tensor(bits).reshape(3, 3)))
            scores.append(net(x[None].double() * masks[-1]).softmax(1)[0, c])
    s, m = torch.stack(scores), torch.stack(masks)
    match estimator:
        case "published":
            return torch.einsum("i,ihw->hw", s, m) / (512 * 0.5)
        case "centred":
            return torch.einsum("i,ihw->hw", s - s.mean(), m) / (512 * 0.5)
        case "normalised":
            return torch.einsum("i,ihw->hw", s, m) / m.sum(0)


def pose(x: Tensor, classes: list[int]) -> Question:
    return ask(
        Model(networks.cnn().eval()), x, classes, Execution(batch_size=50, precision="fp32"), "probability"
    )


def last(question: Question, estimator: Estimator) -> Estimate:
    return list(estimates(question, AllGrids(), None, 0.5, estimator))[-1]


@pytest.mark.parametrize("estimator", ["centred", "published", "normalised"])
def test_all_512_masks_of_a_grid_give_the_exact_answer(estimator: Estimator) -> None:
    x = networks.batch((3, *SIZE), n=2)
    found = last(pose(x, [0, 2]), estimator)
    assert found.done == found.total == 512
    for i, c in enumerate([0, 2]):
        wanted = plain_loop(networks.cnn(), x[i], c, estimator)
        assert float((found.native[i] - wanted).abs().max()) < 1e-6
        other: Estimator = "published" if estimator == "centred" else "centred"
        assert float((found.native[i] - plain_loop(networks.cnn(), x[i], c, other)).abs().max()) > 1e-4


@pytest.mark.parametrize("shape", [(3, 24, 30), (3, 6, 12, 15)])
@pytest.mark.parametrize("estimator", ["centred", "published", "normalised"])
def test_sums_by_shift_equal_the_direct_sum(shape: tuple[int, ...], estimator: Estimator) -> None:
    net = (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()
    x = networks.batch(shape, n=2)
    method = RISE(masks=150, estimator=estimator, keep=0.4)
    found = method(Model(net), x, 1, Execution(seed=9, precision="fp32")).values
    cells = (4, 7, 7)[-len(shape) + 1 :]
    masks = RandomGrids(shape[1:], cells, 150, 0.4, seed=9).masks(torch.arange(150))
    with torch.no_grad():
        for i in range(2):
            scores = torch.cat([net(x[i : i + 1] * m).softmax(1)[:, 1] for m in masks]).double()
            if estimator == "centred":
                scores -= scores.mean()
            wanted = torch.tensordot(scores, masks.double(), 1)
            wanted /= masks.double().sum(0) if estimator == "normalised" else 150 * 0.4
            assert float((found[i] - wanted).abs().max()) < 1e-6


def test_swapped_shifts_would_be_seen() -> None:
    """The planted bug: weighted grids collected under the shift of the other axis."""

    class Swapped(Sums):
        def add(self, chunk: Chunk) -> None:
            draw = self.grids.draw
            self.grids.draw = lambda which: (draw(which)[0], draw(which)[1].flip(1))  # type: ignore[method-assign]
            super().add(chunk)
            self.grids.draw = draw  # type: ignore[method-assign]

    grids = AllGrids()
    jobs = Jobs.between(0, 512, 1, torch.device("cpu"))
    scores = torch.linspace(0, 1, 512)
    maps = []
    for cls in (Sums, Swapped):
        sums = cls(grids, 0.5, "published", 1, torch.device("cpu"))
        sums.add(Chunk(jobs, scores, 512, 512))
        maps.append(sums.maps()[0])
    direct = torch.tensordot(scores, grids.masks(torch.arange(512)), 1) / 256
    assert float((maps[0] - direct).abs().max()) < 1e-5
    assert float((maps[1] - direct).abs().max()) > 1e-2


def test_batch_size_and_batch_do_not_matter() -> None:
    x = networks.batch((3, 20, 20), n=4)
    method, model = RISE(masks=200), Model(networks.cnn().eval())
    whole = method(model, x, [0, 1, 2, 3]).values
    assert torch.equal(whole, method(model, x, [0, 1, 2, 3]).values)
    for i in range(4):
        assert float((whole[i] - method(model, x[i : i + 1], i).values[0]).abs().max()) <= 1e-5
    for batch_size in (1, 7, 1000):
        other = method(model, x, [0, 1, 2, 3], Execution(batch_size=batch_size)).values
        assert float((whole - other).abs().max()) <= 1e-5


def test_more_masks_agree_better_and_the_result_says_so() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 20, 20), n=2)
    few, many = (
        [i["reliability"]["split_half_spearman"] for i in RISE(masks=n)(model, x, 1).provenance["inputs"]]
        for n in (40, 4000)
    )
    assert len(few) == len(many) == 2
    assert max(few) < min(many)
    assert min(many) > 0.8


def test_estimates_come_as_the_work_goes() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=1)
    stream = list(RISE(masks=1000).stream(model, x, 1, Execution(batch_size=20)))
    assert [a.provenance["steps"]["done"] for a in stream] == [125, 250, 500, 1000]
    final = stream[-1].values.flatten().numpy()
    closeness = [np.corrcoef(a.values.flatten().numpy(), final)[0, 1] for a in stream]
    assert closeness[0] < closeness[1] < closeness[2]
    assert stream[-1].provenance["passes"]["forward"] == RISE(masks=1000).cost((16, 16)).forward


@pytest.mark.parametrize("batch_size", [1, 7, 100, 5000])
def test_an_estimate_rests_on_whole_masks_whatever_the_batch(batch_size: int) -> None:
    """The estimate after 125 masks is that of a run of 125, though batches straddle the look."""
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=3)
    first = next(RISE(masks=300).stream(model, x, 1, Execution(batch_size=batch_size)))
    assert first.provenance["steps"] == {"done": 125, "total": 300}
    alone = RISE(masks=125)(model, x, 1).values
    assert float((first.values - alone).abs().max() / alone.abs().max()) < 1e-5
    assert float((first.values - RISE(masks=126)(model, x, 1).values).abs().max() / alone.abs().max()) > 1e-4
