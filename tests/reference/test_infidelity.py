"""Infidelity against captum where both can be asked, a plain float64 loop, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.metrics import infidelity
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.infidelity import Infidelity, _Noise, _Squares
from seewhy.models.model import Model
from seewhy.question import Question, ask


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "logit")  # type: ignore[arg-type]


def plain(x: Tensor, heat: Tensor, c: int, changes: Tensor, change: str) -> tuple[list[float], list[float]]:
    """One sample in float64: forecasts and losses, change by change."""
    net, forecasts, losses = network(tuple(x.shape)).double(), [], []
    with torch.no_grad():
        clean = float(net(x.double()[None])[0, c])
        for each in changes.double():
            seen = x.double() * (1 - each) if change == "square" else x.double() - each
            forecasts.append(float((heat.double() * each).sum()))
            losses.append(clean - float(net(seen[None])[0, c]))
    return forecasts, losses


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 9, 13), (3, 4, 8, 8)])
@pytest.mark.parametrize("change", ["square", "noise"])
@pytest.mark.parametrize("scaled", [True, False])
def test_equals_a_plain_loop(shape: tuple[int, ...], change: str, scaled: bool) -> None:
    x = networks.batch(shape, n=2).requires_grad_()
    logits = network(shape)(x)
    (slope,) = torch.autograd.grad(logits[0, 0] + logits[1, 2], x)
    x = x.detach()
    maps = (slope * x if change == "square" else slope).sum(1)  # what foretells something
    metric = Infidelity(change=change, draws=20, largest=5, scaled=scaled)  # type: ignore[arg-type]
    found = metric.measure(pose(x, [0, 2], batch_size=7, seed=4), maps)
    assert found.notes is not None
    size, which = shape[1:], torch.arange(1, 21)
    edits = _Squares(20, size, 5, None, 4) if change == "square" else _Noise(20, size, 0.2, 4)
    for i, c in enumerate([0, 2]):
        forecasts, losses = map(np.array, plain(x[i], maps[i], c, edits.changes(which), change))
        best = (forecasts * losses).sum() / (forecasts**2).sum() if scaled else 1
        wanted = ((best * forecasts - losses) ** 2).mean()
        assert float(found.values[i]) == pytest.approx(wanted, rel=1e-3)
        assert found.notes["share"][i] == pytest.approx(wanted / (losses**2).mean(), rel=1e-3)
        wrong = ((best * forecasts + losses) ** 2).mean()
        assert abs(wrong - wanted) > 1e-2 * wanted, "losses of the wrong sign would be seen"


@pytest.mark.parametrize("scaled", [True, False])
def test_equals_captum(scaled: bool) -> None:
    net = networks.cnn(channels=1).eval()
    x, maps = networks.batch((1, 12, 12), n=2), networks.batch((1, 12, 12), n=2, seed=3)[:, 0]
    question = ask(Model(net), x, [0, 2], Execution(seed=4), "logit")
    found = Infidelity(change="noise", draws=10, scaled=scaled).measure(question, maps).values
    noise = _Noise(10, (12, 12), 0.2, 4).changes(torch.arange(1, 11))[:, None]

    def change(inputs: Tensor) -> tuple[Tensor, Tensor]:
        each = noise.repeat(len(inputs) // 10, 1, 1, 1)
        return each, inputs - each

    wanted = infidelity(
        net, change, x, maps[:, None], target=torch.tensor([0, 2]), n_perturb_samples=10, normalize=scaled
    )
    torch.testing.assert_close(found, wanted.detach(), rtol=2e-3, atol=1e-7)


class Linear(nn.Module):
    """Class 0 is the sum of weights * x."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        logit = (x * self.weights).flatten(1).sum(1)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


def test_extremes_of_a_linear_score() -> None:
    x, weights = torch.randn(2, 1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    question = ask(Model(Linear(weights)), x, 0, Execution(), "logit")
    noise = torch.randn(1, 12, 12, generator=torch.Generator().manual_seed(1))

    def left(heat: Tensor, scaled: bool, change: str = "square") -> float:
        found = Infidelity(change=change, scaled=scaled, draws=100).measure(question, heat)  # type: ignore[arg-type]
        assert found.notes is not None
        return float(found.notes["share"][0])

    for change, exact in (("square", (x * weights).sum(1)), ("noise", weights.sum(1))):
        assert left(exact, scaled=False, change=change) < 1e-6
        assert left(-7 * exact, scaled=True, change=change) < 1e-6
        assert left(-exact, scaled=False, change=change) == pytest.approx(4, abs=1e-3)
        assert left(torch.zeros_like(exact), scaled=True, change=change) == pytest.approx(1, abs=1e-6)
        assert left(noise, scaled=True, change=change) > 0.5


def test_squares_lie_inside_and_have_every_side_and_place() -> None:
    squares = _Squares(3000, (6, 9), 4, None, seed=0)
    drawn = squares.changes(torch.arange(3001))
    assert float(drawn[0].sum()) == 0
    areas = drawn[1:].sum((1, 2))
    assert all(abs(float((areas == s * s).float().mean()) - 0.25) < 0.04 for s in (1, 2, 3, 4))
    assert set(areas.tolist()) == {1, 4, 9, 16}
    heights, widths = drawn[1:].amax(2).sum(1), drawn[1:].amax(1).sum(1)
    assert torch.equal(heights, widths)
    single = drawn[1:][areas == 1].sum(0)
    assert int((single > 0).sum()) == 54
    assert _Squares(5, (3, 20), 10, None, seed=0).largest == 3


def test_batches_equal_singles() -> None:
    x, maps = networks.batch((3, 16, 16), n=3), networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
    for change in ("square", "noise"):
        metric = Infidelity(change=change, draws=10)  # type: ignore[arg-type]
        whole = metric.measure(pose(x, [0, 1, 2]), maps).values
        singles = [metric.measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(3)]
        torch.testing.assert_close(whole, torch.cat(singles), rtol=1e-3, atol=1e-8)


def test_constant_maps_have_a_value_and_maps_that_are_not_finite_none() -> None:
    x, maps = networks.batch((3, 16, 16), n=2), networks.batch((3, 16, 16), n=2, seed=3)[:, 0].clone()
    maps[0], maps[1, 3, 3] = 0.5, float("nan")
    found = Infidelity(draws=5).measure(pose(x, [0, 0]), maps)
    assert found.notes is not None
    assert found.values.isnan().tolist() == [False, True]
    assert found.notes["undefined"] == [None, "not finite"]
    assert found.notes["share"][1] is None


def test_refusals() -> None:
    for wrong in ({"draws": 0}, {"largest": 0}, {"deviation": 0.0}):
        with pytest.raises(BadInput, match="Give"):
            Infidelity(**wrong)
