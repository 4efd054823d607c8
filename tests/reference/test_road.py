"""ROAD against pytorch-grad-cam's, its imputation against a dense solution, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import ROADCombined
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.models.model import Model
from seewhy.perturb.noisy_linear import linear
from seewhy.perturb.operators import operator
from seewhy.question import Question, ask


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "probability")  # type: ignore[arg-type]


def solved(image: np.ndarray, hidden: np.ndarray, corner: float = 1 / 12) -> np.ndarray:
    """Fill one `(c, h, w)` image in float64: one equation a hidden pixel, solved densely."""
    height, width = hidden.shape
    unknown = {place: i for i, place in enumerate(zip(*np.nonzero(hidden), strict=True))}
    system, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), len(image)))
    for (row, column), i in unknown.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                place = (row + down, column + across)
                if (down, across) == (0, 0) or not (0 <= place[0] < height and 0 <= place[1] < width):
                    continue
                weight = 1 / 6 if 0 in (down, across) else corner
                system[i, i] += weight
                if place in unknown:
                    system[i, unknown[place]] -= weight
                else:
                    right[i] += weight * image[:, place[0], place[1]]
    out = image.copy()
    out[:, hidden] = np.linalg.solve(system, right).T
    return out


@pytest.mark.parametrize("size", [(9, 13), (16, 16), (1, 7), (2, 2)])
def test_the_imputation_is_the_dense_solution(size: tuple[int, int]) -> None:
    x = networks.batch((3, *size), n=4).double()
    draws = torch.rand(4, *size, generator=torch.Generator().manual_seed(2))
    hidden = torch.stack([draws[i] < share for i, share in enumerate((0.1, 0.5, 0.8, 0.95))])
    hidden[:, 0, 0] = False
    found = linear(x, hidden)
    for i in range(4):
        wanted = solved(x[i].numpy(), hidden[i].numpy())
        np.testing.assert_allclose(found[i].numpy(), wanted, atol=1e-4)
    if min(size) > 2:
        wrong = solved(x[1].numpy(), hidden[1].numpy(), corner=1 / 6)
        assert np.abs(found[1].numpy() - wrong).max() > 1e-2, "corners that weigh as edges would be seen"


def test_nothing_hidden_and_everything_hidden() -> None:
    x = networks.batch((3, 9, 9), n=2)
    assert torch.equal(linear(x, torch.zeros(2, 9, 9, dtype=torch.bool)), x)
    assert torch.equal(linear(x, torch.ones(2, 9, 9, dtype=torch.bool)), torch.zeros_like(x))


def test_the_noise_has_its_deviation_and_follows_the_seed() -> None:
    x, keep = networks.batch((3, 16, 16), n=2), torch.zeros(2, 1, 16, 16)
    keep[..., ::4] = 1
    rows = torch.arange(2)
    pictures = [
        operator(name).behind(pose(x, [0, 0], seed=s))(x, keep, rows)  # type: ignore[operator, misc]
        for name, s in (("noisy-linear:0", 0), ("noisy-linear:0.2", 0), ("noisy-linear:0.2", 1))
    ]
    noise = pictures[1] - pictures[0]
    assert float(noise.std()) == pytest.approx(0.2, rel=0.1)
    torch.testing.assert_close(noise[0], noise[1], atol=1e-5, rtol=0)
    assert not torch.allclose(pictures[1], pictures[2])


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # of the peer
def test_equals_pytorch_grad_cam_at_equal_imputations(monkeypatch: pytest.MonkeyPatch) -> None:
    """289 pixels: at 10 .. 90 per cent its percentiles and our shares remove the same pixels."""
    x, classes = networks.batch((3, 17, 17), n=2), [0, 2]
    order = [torch.randperm(289, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    maps = torch.stack(order).reshape(2, 17, 17).float() / 289
    found = ROAD(operator="noisy-linear:0").measure(pose(x, classes), maps).values
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    targets = [lambda out, c=c: out.softmax(-1)[c] for c in classes]
    wanted = ROADCombined()(x, maps.numpy(), targets, network((3, 17, 17)))
    assert float((found - torch.from_numpy(wanted)).abs().max()) <= 1e-4
    assert float((found + torch.from_numpy(wanted)).abs().max()) > 1e-3, "the wrong sign would be seen"


@pytest.mark.parametrize(("shape", "steps"), [((3, 13, 11), 4), ((3, 3, 8, 9), 3)])
def test_every_step_equals_a_plain_loop(shape: tuple[int, ...], steps: int) -> None:
    x, maps = networks.batch(shape, n=2), networks.batch(shape, n=2, seed=3)[:, 0].mul(2).round()
    found = ROAD(steps=steps, operator="noisy-linear:0").measure(pose(x, [0, 2], batch_size=5), maps)
    assert found.curve is not None
    assert found.notes is not None
    net = network(shape).double()
    for i, c in enumerate([0, 2]):
        flat = maps[i].flatten().tolist()
        order = sorted(range(len(flat)), key=lambda j: (-flat[j], j))
        means = []
        for first in (order, order[::-1]):
            scores = []
            for step in range(1, steps + 1):
                hidden = np.zeros(len(flat), dtype=bool)
                hidden[first[: int(len(flat) * step / (steps + 1) + 0.5)]] = True
                frames = x[i].double().numpy().reshape(3, -1, *shape[-2:]).swapaxes(0, 1)
                masks = hidden.reshape(-1, *shape[-2:])
                filled = np.stack([solved(f, m) for f, m in zip(frames, masks, strict=True)], 1)
                with torch.no_grad():
                    picture = torch.from_numpy(filled).reshape(1, *shape)
                    scores.append(float(net(picture).softmax(1)[0, c]))
            means.append(np.array(scores))
        assert found.curve[i].tolist() == pytest.approx((means[1] - means[0]) / 2, abs=1e-4)
        assert found.notes["highest first"][i] == pytest.approx(means[0].mean(), abs=1e-4)
        assert found.notes["lowest first"][i] == pytest.approx(means[1].mean(), abs=1e-4)
        assert float(found.values[i]) == pytest.approx((means[1] - means[0]).mean() / 2, abs=1e-4)


class Bright(nn.Module):
    """Class 0 for light in the left half."""

    def forward(self, x: Tensor) -> Tensor:
        left = x[..., : x.shape[-1] // 2].mean((1, 2, 3))
        return torch.stack([8 * left, torch.zeros_like(left)], 1)


def test_extremes() -> None:
    x = torch.zeros(1, 3, 12, 12)
    x[..., 2:10, 1:4] = 1
    light = x[:, 0] + 0.01 * torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(0))
    question = ask(Model(Bright()), x, 0, Execution(), "probability")
    noise = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    best, worst = (float(ROAD().measure(question, m).values) for m in (light, -light))
    random = [float(ROAD().measure(question, m).values) for m in noise]
    assert best == pytest.approx(-worst, abs=1e-3), "the reverse order has the opposite value"
    assert best > 0.05
    assert all(abs(r) < best / 2 for r in random)


def test_batches_equal_singles() -> None:
    x, maps = networks.batch((3, 16, 16), n=3), networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
    whole = ROAD(steps=4).measure(pose(x, [0, 1, 2]), maps).values
    singles = [ROAD(steps=4).measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(singles), atol=1e-5, rtol=0)


def test_maps_without_an_order_have_no_value() -> None:
    x, maps = networks.batch((3, 16, 16), n=3), networks.batch((3, 16, 16), n=3, seed=3)[:, 0].clone()
    maps[1], maps[2, 3, 3] = 0.5, float("nan")
    found = ROAD(steps=2).measure(pose(x, [0] * 3), maps)
    assert found.notes is not None
    assert found.values.isnan().tolist() == [False, True, True]
    assert found.notes["undefined"] == [None, "constant", "not finite"]


def test_refusals() -> None:
    with pytest.raises(BadInput, match="Give at least 1"):
        ROAD(steps=0)
    assert ROAD().cost((224, 224)).forward == 18
