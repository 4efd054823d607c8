"""Expected gradients and Blur-IG against closed forms and plain loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods import BlurIG, ExpectedGradients, GuidedIG, IntegratedGradients

X = networks.batch((3, 16, 16), n=2)
CLASS = 2


def linear() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 4)).eval()


def curved() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(6 * 196, 4)).eval()


def slope(net: nn.Module, x: Tensor) -> Tensor:
    p = x.double()[None].requires_grad_()
    (g,) = torch.autograd.grad(net.double()(p)[0, CLASS], p)
    net.float()
    return g[0]


def blurred(x: Tensor, sigma: float) -> Tensor:
    planes = [gaussian_filter(p.double().numpy(), sigma, mode="constant", truncate=8) for p in x]
    return torch.stack([torch.from_numpy(p) for p in planes]) if sigma else x.double()


# -- expected gradients --------------------------------------------------------------------------------------


def test_one_reference_of_a_linear_model_is_integrated_gradients() -> None:
    ours = ExpectedGradients(samples=3, baselines="mean", references=1)(linear(), X, CLASS).values
    torch.testing.assert_close(ours, IntegratedGradients(steps=1)(linear(), X, CLASS).values)


def test_many_draws_reach_the_mean_over_references() -> None:
    net = curved()
    ours = ExpectedGradients(samples=2000, baselines="mean,blur:20", references=2)(net, X, CLASS).values
    parts = [IntegratedGradients(baseline=b)(net, X, CLASS).values for b in ("mean", "blur:20")]
    mean, apart = (parts[0] + parts[1]) / 2, (parts[0] - parts[1]).abs() / 2
    # The draw of the reference is the noise: its deviation is half the difference over the root of the count.
    assert bool(((ours - mean).abs() < 6 * apart / 2000**0.5 + 1e-3 * mean.abs().max()).all())


def test_points_lie_on_lines_to_references_and_the_map_is_their_mean() -> None:
    net, n = curved(), 6
    recorded = networks.Recorded(net).eval()
    result = ExpectedGradients(samples=n, references=3)(recorded, X, CLASS, Execution(seed=4)).values
    shown = torch.cat(recorded.shown)
    references, points = shown[2:8].reshape(3, 2, *X.shape[1:]), shown[8:].reshape(n, 2, *X.shape[1:])
    assert float((references[0] - references[1]).abs().mean()) > 0.5  # every noise is another
    for i, x in enumerate(X):
        total = torch.zeros(x.shape, dtype=torch.float64)
        for k, p in enumerate(points[:, i]):
            found = []
            for b in references[:, i]:
                a = float(((p - b) * (x - b)).sum() / (x - b).square().sum())
                if torch.allclose(b + a * (x - b), p, atol=1e-4):
                    found.append(b)
                    assert k / n - 1e-5 <= a <= (k + 1) / n + 1e-5
            assert len(found) == 1
            total += (x - found[0]).double() * slope(net, p)
        torch.testing.assert_close(result[i], (total / n).sum(0).float(), atol=1e-5, rtol=1e-4)


# -- blur ----------------------------------------------------------------------------------------------------


def test_blur_ig_of_a_linear_model_is_exact() -> None:
    net = linear()
    ours = BlurIG(steps=3, max_sigma=4.0)(net, X, CLASS)
    weight = net[1].weight[CLASS].reshape(3, 16, 16).detach()
    for i, x in enumerate(X):
        expected = (weight * (x - blurred(x, 4.0))).sum(0).float()
        torch.testing.assert_close(ours.values[i], expected, atol=1e-5, rtol=1e-4)


def test_blur_ig_is_a_plain_loop() -> None:
    net, n = curved(), 5
    ours = BlurIG(steps=n, max_sigma=3.0)(net, X, CLASS).values
    for i, x in enumerate(X):
        stages = [blurred(x, 3.0 * (1 - k / n)) for k in range(n + 1)]
        slopes = [slope(net, s) for s in stages]
        total = sum((slopes[k] + slopes[k + 1]) / 2 * (stages[k + 1] - stages[k]) for k in range(n))
        torch.testing.assert_close(ours[i], total.sum(0).float(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["cnn", "vit", "clip"])
def test_blur_ig_is_complete(family) -> None:
    build, shape = networks.FAMILIES[family]
    result = BlurIG(steps=300, max_sigma=6.0)(build(), networks.batch(shape, n=2), CLASS)
    assert max(i["reliability"]["completeness_error"] for i in result.provenance["inputs"]) <= 0.01


# -- guided --------------------------------------------------------------------------------------------------


def guided(net: nn.Module, x: Tensor, steps: int, fraction: float, far: float) -> np.ndarray:
    """Return the map from 0 to one `x`, value by value in float64."""
    end = x.double().numpy().ravel()
    at, total, whole = np.zeros_like(end), np.zeros_like(end), np.abs(end).sum()
    for t in range(1, steps + 1):
        g = slope(net, torch.from_numpy(at.reshape(x.shape))).numpy().ravel()
        low, high = max(t / steps - far, 0), min(t / steps + far, 1)
        old = at.copy()
        part = at / end  # how far each value has come
        part = np.maximum(part, low)
        steep = np.where(part >= high - 1e-12, np.inf, np.abs(g))
        while True:
            to_go = (np.abs(end) * (1 - part)).sum() - whole * (1 - t / steps)
            if to_go < 1e-9 * whole or np.isinf(steep).all():
                break
            limit = np.quantile(steep, fraction, method="lower")
            movers = np.flatnonzero((steep <= limit) & np.isfinite(steep))
            room = (np.abs(end[movers]) * (high - part[movers])).sum()
            share = min(1.0, to_go / room)
            part[movers] += share * (high - part[movers])
            if share < 1:
                break
            steep[movers] = np.inf
        at = part * end
        total += g * (at - old)
    return total.reshape(x.shape).sum(0)


@pytest.mark.parametrize("far", [0.05, 0.3, 1.0])
def test_guided_ig_is_the_path_value_by_value(far) -> None:
    net = curved()
    ours = GuidedIG(steps=12, max_dist=far)(net, X, CLASS).values
    for i, x in enumerate(X):
        expected = torch.from_numpy(guided(net, x, 12, 0.25, far)).float()
        torch.testing.assert_close(ours[i], expected, atol=2e-5, rtol=1e-3)


def test_guided_ig_on_the_straight_line_is_integrated_gradients() -> None:
    net = networks.cnn()
    straight = GuidedIG(steps=20, max_dist=0.0)(net, X, CLASS).values
    left = IntegratedGradients(steps=20, rule="left")(net, X, CLASS).values
    torch.testing.assert_close(straight, left, atol=1e-6, rtol=1e-4)


def test_guided_ig_is_complete() -> None:
    result = GuidedIG(steps=400, max_dist=0.2)(curved(), X, CLASS)
    assert max(i["reliability"]["completeness_error"] for i in result.provenance["inputs"]) <= 0.02


@pytest.mark.parametrize(
    "make",
    [
        lambda: GuidedIG(steps=0),
        lambda: GuidedIG(fraction=0.0),
        lambda: GuidedIG(max_dist=2.0),
        lambda: BlurIG(steps=0),
        lambda: BlurIG(max_sigma=0.0),
        lambda: ExpectedGradients(samples=0),
        lambda: ExpectedGradients(baselines="mean,blur", references=1),
        lambda: ExpectedGradients(baselines="nosuch"),
    ],
)
def test_parameters_out_of_range_are_refused(make) -> None:
    with pytest.raises(BadInput):
        make()
