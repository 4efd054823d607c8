"""SmoothGrad and VarGrad against float64 statistics of gradients at the points that the model was shown."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods import Gradient, SmoothGrad, VarGrad

X = networks.batch((3, 16, 16), n=2)
CLASS = 2


def statistics(net: nn.Module, points: list[Tensor]) -> dict[str, Tensor]:
    """Return mean, mean square and variance of the gradients at the points, one by one, in float64."""
    net = net.double()
    found = []
    for point in points:
        p = point.double()[None].requires_grad_()
        (g,) = torch.autograd.grad(net(p)[0, CLASS], p)
        found.append(g[0])
    net.float()
    g = torch.stack(found)
    return {"mean": g.mean(0), "squares": (g * g).mean(0), "variance": g.var(0, correction=0)}


@pytest.mark.parametrize("batch_size", [None, 3])
def test_statistics_of_the_points_that_were_shown(batch_size) -> None:
    net, n = networks.cnn(), 7
    for method, kind, reduce in (
        (SmoothGrad(samples=n), "mean", lambda g: g.abs().amax(0)),
        (SmoothGrad(samples=n, channels="sum"), "mean", lambda g: g.sum(0)),
        (SmoothGrad(samples=n, squared=True, channels="sum"), "squares", lambda g: g.sum(0)),
        (VarGrad(samples=n), "variance", lambda g: g.sum(0)),
        (VarGrad(samples=n, channels="max_abs"), "variance", lambda g: g.amax(0)),
    ):
        recorded = networks.Recorded(net).eval()
        ours = method(recorded, X, CLASS, Execution(batch_size=batch_size)).values
        shown = torch.cat(recorded.shown)[len(X) :]  # the first pass is the prediction
        assert len(shown) == n * len(X)
        for i in range(len(X)):
            expected = reduce(statistics(net, list(shown[i :: len(X)]))[kind])
            torch.testing.assert_close(ours[i], expected.float(), atol=1e-6, rtol=1e-4)


def test_noise_has_the_deviation_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seewhy.perturb.differentiation._WORTH", 41)  # a copy is shown what this one records
    recorded = networks.Recorded(networks.cnn()).eval()
    SmoothGrad(samples=40, noise=0.2)(recorded, X, CLASS)
    shown = torch.cat(recorded.shown)[len(X) :]
    for i, x in enumerate(X):
        noise = (shown[i :: len(X)] - x) / (0.2 * (x.max() - x.min()))
        assert abs(float(noise.mean())) < 5 / noise.numel() ** 0.5
        assert abs(float(noise.std()) - 1) < 5 / (2 * noise.numel()) ** 0.5
        assert float((noise[0] - noise[1]).abs().mean()) > 0.5  # each copy has a pattern of its own


class Cubic(nn.Module):
    """f(x) = sum a x^3: the gradient 3 a x^2 has known moments under normal noise."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((x.pow(3).flatten(1).sum(1), x.flatten(1).sum(1)), 1)


def test_moments_of_a_cubic() -> None:
    # g = 3 (x + s z)^2: mean 3 (x^2 + s^2), variance 9 (4 x^2 s^2 + 2 s^4).
    x = networks.batch((1, 4, 4), n=1)
    s2 = (0.1 * (x.max() - x.min())) ** 2
    mean = SmoothGrad(samples=4000, noise=0.1, channels="sum")(Cubic().eval(), x, 0).values
    variance = VarGrad(samples=4000, noise=0.1)(Cubic().eval(), x, 0).values
    true = 9 * (4 * x[:, 0] ** 2 * s2 + 2 * s2**2)
    assert bool(((mean - 3 * (x[:, 0] ** 2 + s2)).abs() < 5 * (true / 4000).sqrt()).all())
    torch.testing.assert_close(variance, true, rtol=0.25, atol=0)


def test_without_noise_there_is_nothing_to_average() -> None:
    net = networks.cnn()
    plain = Gradient()(net, X, CLASS).values
    torch.testing.assert_close(SmoothGrad(samples=3, noise=0.0)(net, X, CLASS).values, plain)
    assert float(VarGrad(samples=3, noise=0.0)(net, X, CLASS).values.max()) < 1e-12 * float(plain.max()) ** 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: SmoothGrad(samples=0),
        lambda: VarGrad(samples=1),
        lambda: SmoothGrad(noise=1.5),
    ],
)
def test_parameters_out_of_range_are_refused(make) -> None:
    with pytest.raises(BadInput):
        make()
