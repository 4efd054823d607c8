"""Sensitivity-n against scipy's correlation over a plain float64 loop, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.sensitivity_n import SensitivityN
from seewhy.models.model import Model
from seewhy.perturb.subsets import SubsetEdits
from seewhy.question import Question, ask


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "logit")  # type: ignore[arg-type]


def plain(x: Tensor, heat: Tensor, c: int, members: Tensor, side: int) -> tuple[list[float], list[float]]:
    """One sample in float64: sums of the map, and losses of the logit, subset by subset, pixel by pixel."""
    net, sums, losses = network(tuple(x.shape)).double(), [], []
    with torch.no_grad():
        clean = float(net(x.double()[None])[0, c])
        for subset in members:
            picture, total = x.double().clone(), 0.0
            for place in np.ndindex(*heat.shape):
                if bool(subset[tuple(v // side for v in place)]):
                    picture[(slice(None), *place)] = 0
                    total += float(heat[place])
            sums.append(total)
            losses.append(clean - float(net(picture[None])[0, c]))
    return sums, losses


@pytest.mark.parametrize(("shape", "side"), [((3, 8, 8), 1), ((3, 9, 11), 2), ((3, 4, 8, 8), 2)])
def test_equals_a_plain_loop(shape: tuple[int, ...], side: int) -> None:
    x, maps = networks.batch(shape, n=2), networks.batch(shape, n=2, seed=3)[:, 0]
    metric = SensitivityN(sizes=3, subsets=6, patch=side)
    found = metric.measure(pose(x, [0, 2], batch_size=7, seed=4), maps)
    assert found.curve is not None
    assert found.notes is not None
    numbers = found.notes["n"]
    assert metric.cost(shape[1:]).forward == len(numbers) * 6
    grid = tuple(-(-length // side) for length in shape[1:])
    members = SubsetEdits(numbers, 6, grid, side, None, 4).members(torch.arange(6 * len(numbers)))
    for i, c in enumerate([0, 2]):
        sums, losses = plain(x[i], maps[i], c, members, side)
        wanted = [pearsonr(sums[j : j + 6], losses[j : j + 6])[0] for j in range(0, len(sums), 6)]
        assert found.curve[i].tolist() == pytest.approx(wanted, abs=2e-3)
        assert float(found.values[i]) == pytest.approx(np.mean(wanted), abs=2e-3)
        shifted = np.roll(losses, 1)
        wrong = [pearsonr(sums[j : j + 6], shifted[j : j + 6])[0] for j in range(0, len(sums), 6)]
        assert abs(np.mean(wrong) - np.mean(wanted)) > 0.02, "sums of other subsets would be seen"


class Linear(nn.Module):
    """Class 0 is the sum of weights * x."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        logit = (x * self.weights).flatten(1).sum(1)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.mark.parametrize("side", [1, 2])
def test_contributions_to_a_linear_score_are_perfect(side: int) -> None:
    x, weights = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    question = ask(Model(Linear(weights[:1])), x, 0, Execution(), "logit")
    metric = SensitivityN(sizes=5, subsets=40, patch=side)
    exact = (x * weights[:1]).sum(1)
    found = metric.measure(question, exact)
    assert found.curve is not None
    torch.testing.assert_close(found.curve, torch.ones_like(found.curve), atol=1e-4, rtol=0)
    torch.testing.assert_close(metric.measure(question, -3 * exact).values, -torch.ones(2), atol=1e-4, rtol=0)
    noise = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1))
    # Two random vectors of d numbers correlate by 1 / sqrt(d), give or take.
    assert float(metric.measure(question, noise).values.abs().max()) < 3 * side / 8


def test_subsets_have_their_sizes_and_are_drawn_evenly() -> None:
    edits = SubsetEdits([1, 5, 12], 400, (4, 4), 1, None, seed=3)
    members = edits.members(torch.arange(1200)).flatten(1)
    assert members.sum(1).tolist() == [1] * 400 + [5] * 400 + [12] * 400
    share = members[400:800].float().mean(0)
    assert float((share - 5 / 16).abs().max()) < 0.1
    assert torch.equal(edits.members(torch.tensor([700])).flatten(1), members[700:701])
    other = SubsetEdits([1, 5, 12], 400, (4, 4), 1, None, seed=4).members(torch.arange(1200)).flatten(1)
    assert not torch.equal(members, other)


def test_the_sizes_of_subsets() -> None:
    assert SensitivityN(sizes=3).features((10, 10)) == [1, 9, 80]
    assert SensitivityN(sizes=50).features((2, 2)) == [1, 2, 3]
    assert SensitivityN(sizes=1).features((10, 10)) == [1]
    assert SensitivityN(sizes=3, patch=10).features((10, 10)) == [1]
    assert SensitivityN().cost((224, 224)).forward == 800


def test_batches_equal_singles() -> None:
    x, maps = networks.batch((3, 8, 8), n=3), networks.batch((3, 8, 8), n=3, seed=3)[:, 0]
    metric = SensitivityN(sizes=3, subsets=10)
    whole = metric.measure(pose(x, [0, 1, 2]), maps).values
    singles = [metric.measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(singles), atol=2e-3, rtol=0)


def test_where_nothing_correlates() -> None:
    x = networks.batch((3, 8, 8), n=3)
    maps = networks.batch((3, 8, 8), n=3, seed=3)[:, 0].clone()
    maps[1], maps[2, 3, 3] = 0.5, float("inf")
    blind = ask(Model(Linear(torch.zeros(1, 3, 8, 8))), x, 0, Execution(), "logit")
    found = SensitivityN(sizes=3, subsets=5).measure(blind, maps)
    assert found.notes is not None
    assert found.values.isnan().tolist() == [False, True, True]
    assert float(found.values[0]) == 0
    assert found.notes["without correlation"][0] == 3
    assert found.notes["undefined"] == [None, "constant", "not finite"]


def test_refusals() -> None:
    for wrong in ({"sizes": 0}, {"subsets": 2}, {"patch": 0}):
        with pytest.raises(BadInput, match="Give at least"):
            SensitivityN(**wrong)
