"""Average drop, increase in confidence and ADCC against a plain float64 loop and known extremes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.soft_mask import kept_pixels
from seewhy.models.model import Model
from seewhy.question import Question, ask
from seewhy.targets import Output

BOTH = [AverageDrop, IncreaseInConfidence]


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "probability")  # type: ignore[arg-type]


def plain(x: Tensor, heat: Tensor, c: int, keep: float, binary: bool = False) -> tuple[float, float]:
    """One sample in float64, pixel by pixel: the probabilities of the input and of the masked input."""
    net = network(tuple(x.shape)).double()
    values = heat.double().flatten().tolist()
    low, high = min(values), max(values)
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    mask = [0.0] * len(values)
    for i in order[: max(1, math.floor(len(values) * keep / 100 + 0.5))]:
        mask[i] = 1.0 if binary else (values[i] - low) / (high - low)
    seen = x.double() * torch.tensor(mask, dtype=torch.float64).reshape(heat.shape)
    with torch.no_grad():
        whole, masked = net(torch.stack([x.double(), seen])).softmax(1)[:, c].tolist()
    return whole, masked


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 13, 17), (3, 4, 8, 9)])
@pytest.mark.parametrize("keep", [100, 50, 15, 0.01])
@pytest.mark.parametrize("ties", [False, True])
def test_both_equal_a_plain_loop(shape: tuple[int, ...], keep: float, ties: bool) -> None:
    x, maps = networks.batch(shape, n=4), networks.batch(shape, n=4, seed=3)[:, 0]
    maps = maps.mul(2).round() if ties else maps
    classes = [0, 2, 1, 4]
    drops = AverageDrop(keep=keep).measure(pose(x, classes, batch_size=3), maps)
    rises = IncreaseInConfidence(keep=keep).measure(pose(x, classes, batch_size=3), maps)
    assert rises.notes is not None
    for i, c in enumerate(classes):
        whole, masked = plain(x[i], maps[i], c, keep)
        assert float(drops.values[i]) == pytest.approx(100 * max(0, whole - masked) / whole, abs=2e-3)
        assert float(rises.values[i]) == (100 if masked > whole else 0)
        gain = 100 * max(0, masked - whole) / (1 - whole)
        assert rises.notes["average gain"][i] == pytest.approx(gain, abs=2e-3)


def test_a_mask_of_ones_and_zeros_would_be_seen() -> None:
    """The planted bug: what is kept loses its value."""
    x, maps = networks.batch((3, 16, 16), n=4), networks.batch((3, 16, 16), n=4, seed=3)[:, 0]
    found = AverageDrop(keep=50).measure(pose(x, [0, 2, 1, 4]), maps).values.tolist()
    pairs = [plain(x[i], maps[i], c, 50, binary=True) for i, c in enumerate([0, 2, 1, 4])]
    wrong = [100 * max(0, whole - masked) / whole for whole, masked in pairs]
    assert max(abs(a - b) for a, b in zip(found, wrong, strict=True)) > 0.5


class Half(nn.Module):
    """The left half speaks for class 0, the right half for class 1."""

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.flatten(1, -2).chunk(2, -1)
        return torch.stack([left.mean((1, 2)), right.mean((1, 2))], 1)


def test_extremes() -> None:
    x = torch.ones(1, 3, 8, 8)
    perfect = torch.zeros(1, 8, 8)
    perfect[..., :4] = 1
    question = ask(Model(Half()), x, 0, Execution(), "probability")
    drops = [float(AverageDrop().measure(question, m).values) for m in (perfect, 1 - perfect)]
    rises = [float(IncreaseInConfidence().measure(question, m).values) for m in (perfect, 1 - perfect)]
    low = 1 / (1 + math.e)
    assert drops == pytest.approx([0, 100 * (0.5 - low) / 0.5], abs=1e-4)
    assert rises == [100, 0]
    gains = IncreaseInConfidence().measure(question, perfect).notes
    assert gains is not None
    assert gains["average gain"] == pytest.approx([100 * (0.5 - low) / 0.5], abs=1e-4)
    nearly_all = torch.ones(1, 8, 8)
    nearly_all[0, 0, 0] = 0
    assert float(AverageDrop().measure(question, nearly_all).values) < 5
    noise = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert drops[0] <= float(AverageDrop().measure(question, noise).values) < drops[1]


def test_fewer_pixels_are_a_harder_test_where_all_speak_for_the_class() -> None:
    x = torch.ones(1, 3, 8, 8)
    x[..., 4:] = 0
    maps = torch.arange(64.0).reshape(1, 8, 8)
    question = ask(Model(Half()), x, 0, Execution(), "probability")
    drops = [float(AverageDrop(keep=k).measure(question, maps).values) for k in (100, 50, 15)]
    assert all(a < b for a, b in pairwise(drops))


@pytest.mark.parametrize("metric", BOTH)
def test_batches_equal_singles_and_scale_does_not_matter(metric: type[AverageDrop]) -> None:
    x, maps = networks.batch((3, 16, 16), n=4), networks.batch((3, 16, 16), n=4, seed=3)[:, 0]
    whole = metric(keep=40).measure(pose(x, [0, 1, 2, 3]), maps).values
    singles = [
        metric(keep=40).measure(pose(x[i : i + 1], [i]), 5 * maps[i : i + 1] - 2).values for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.cat(singles), atol=2e-3, rtol=0)


@pytest.mark.parametrize("metric", BOTH)
def test_maps_without_a_range_have_no_value(metric: type[AverageDrop]) -> None:
    x, maps = networks.batch((3, 16, 16), n=3), networks.batch((3, 16, 16), n=3, seed=3)[:, 0].clone()
    maps[1], maps[2, 3, 3] = 0.5, float("nan")
    found = metric().measure(pose(x, [0, 0, 0]), maps)
    assert found.values.isnan().tolist() == [False, True, True]
    assert found.notes is not None
    assert found.notes["undefined"] == [None, "constant", "not finite"]


def test_scores_that_are_no_probabilities() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    x = torch.stack([torch.full((3, 8, 8), -1.0), torch.full((3, 8, 8), 3.0)])
    maps = networks.batch((3, 8, 8), n=2, seed=3)[:, 0]
    question = ask(Model(Fixed(), kind="regression"), x, Output(0), Execution(), "probability")
    found = AverageDrop().measure(question, maps)
    assert found.values.isnan().tolist() == [True, False]
    assert found.notes is not None
    assert found.notes["undefined"] == ["score not above 0", None]
    rises = IncreaseInConfidence().measure(question, maps)
    assert rises.notes is not None
    assert rises.values.tolist() == [100, 0]
    assert rises.notes["average gain"] == [None, None]


def test_refusals() -> None:
    for keep in (0, -5, 101, float("nan")):
        with pytest.raises(BadInput, match="at most 100"):
            AverageDrop(keep=keep)
    with pytest.raises(BadInput, match="one map an input"):
        AverageDrop().measure(pose(networks.batch((3, 16, 16), n=2), [0, 0]), torch.rand(2, 8, 8))
    assert kept_pixels(224 * 224, 15) == 7526
    assert kept_pixels(9, 50) == 5
    assert kept_pixels(9, 1) == 1
