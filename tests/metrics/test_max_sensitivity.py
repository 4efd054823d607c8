"""Max-sensitivity against captum's, a plain float64 loop, and where it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import Tensor, nn

import networks
import seewhy
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.robustness.max_sensitivity import MaxSensitivity
from seewhy.models.model import Model
from seewhy.question import Again, Question, ask

X = networks.batch((3, 16, 16), n=3)
CLASSES = [0, 2, 1]


def pose(again: Again | None, x: Tensor = X, seed: int = 0) -> Question:
    question = ask(Model(networks.cnn().eval()), x, 0, Execution(seed=seed), "probability")
    return replace(question, again=again)


def slopes(net: nn.Module, x: Tensor, classes: list[int]) -> Tensor:
    """Return the channel sum of the gradient of each class's logit."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        score = net(x)[torch.arange(len(x)), torch.tensor(classes)].sum()
        return torch.autograd.grad(score, x)[0].sum(1)


def test_equals_a_plain_loop() -> None:
    net = networks.cnn().eval()
    question = pose(lambda model, x=None: slopes(net, X if x is None else x, CLASSES), seed=3)
    maps = slopes(net, X, CLASSES)
    metric = MaxSensitivity(draws=4, radius=0.3)
    found = metric.measure(question, maps)
    assert found.notes is not None
    for i, c in enumerate(CLASSES):
        wanted = []
        for draw in range(4):
            moved = slopes(
                networks.cnn().eval().double(), metric.noisy(question, draw)[i : i + 1].double(), [c]
            )
            wanted.append(
                np.linalg.norm((moved[0] - maps[i].double()).numpy())
                / np.linalg.norm(maps[i].double().numpy())
            )
        assert float(found.values[i]) == pytest.approx(max(wanted), rel=1e-4)
        assert found.notes["mean"][i] == pytest.approx(np.mean(wanted), rel=1e-4)
        assert max(wanted) > 1.01 * np.mean(wanted), "a mean in the place of the maximum would be seen"


def test_the_noise_is_uniform_within_the_radius_and_follows_seed_and_number() -> None:
    metric, question = MaxSensitivity(radius=0.3), pose(None)
    noise = [metric.noisy(question, d) - X for d in (0, 1)]
    assert float(noise[0].abs().max()) <= 0.3 + 1e-6
    assert float(noise[0].std()) == pytest.approx(0.3 / 3**0.5, rel=0.1)
    torch.testing.assert_close(noise[0][0], noise[0][2], atol=1e-6, rtol=0)
    assert not torch.allclose(noise[0], noise[1])
    assert not torch.allclose(metric.noisy(pose(None, seed=1), 0), metric.noisy(question, 0))
    assert torch.equal(metric.noisy(pose(None, X[1:2]), 1), metric.noisy(question, 1)[1:2])


def test_equals_captum() -> None:
    net = networks.cnn().eval()
    question = pose(lambda model, x=None: slopes(net, X if x is None else x, CLASSES))
    metric = MaxSensitivity(draws=5, radius=0.1)
    found = metric.measure(question, slopes(net, X, CLASSES)).values
    noisy = torch.stack([metric.noisy(question, d) for d in range(5)], 1)

    def peer(i: int) -> Tensor:
        def explain(inputs: tuple[Tensor, ...] | Tensor) -> tuple[Tensor, ...]:
            x = inputs if isinstance(inputs, Tensor) else inputs[0]
            return (slopes(net, x, [CLASSES[i]] * len(x)),)

        def perturb(inputs: Tensor) -> Tensor:
            return noisy[i]

        return sensitivity_max(explain, X[i : i + 1], perturb, n_perturb_samples=5)

    wanted = torch.cat([peer(i) for i in range(3)])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_the_method_is_run_on_noisy_inputs(method: str) -> None:
    net = networks.cnn().eval()
    own = {"window": 4} if method == "occlusion" else {}
    result = seewhy.explain(net, X, method, target=CLASSES, **own)
    metric = MaxSensitivity(draws=2, radius=0.2)
    table = evaluate(net, X, result, metric, seed=5)
    question = pose(None, seed=5)
    gaps = []
    for draw in range(2):
        other = seewhy.explain(net, metric.noisy(question, draw), method, target=CLASSES, **own).values
        gaps.append((other - result.values).flatten(1).norm(dim=1) / result.values.flatten(1).norm(dim=1))
    wanted = torch.stack(gaps).amax(0).tolist()
    assert [r.value for r in table if r.method == method] == pytest.approx(wanted, rel=1e-4)
    found = {name: [r.value for r in table if r.method == name] for name in ("random", "centre", "edges")}
    assert found["random"] == found["centre"] == [0, 0, 0]
    assert min(found["edges"]) > 0


def test_extremes() -> None:
    maps = networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
    fixed = MaxSensitivity(draws=3).measure(pose(lambda model, x=None: maps), maps)
    assert fixed.values.tolist() == [0, 0, 0]
    turned = MaxSensitivity(draws=3).measure(pose(lambda model, x=None: -maps), maps)
    assert turned.values.tolist() == pytest.approx([2, 2, 2])
    gone = MaxSensitivity(draws=3).measure(pose(lambda model, x=None: 0 * maps), 5 * maps)
    assert gone.values.tolist() == pytest.approx([1, 1, 1])


def test_maps_without_a_norm_have_no_value() -> None:
    maps = networks.batch((3, 16, 16), n=3, seed=3)[:, 0].clone()
    broken = maps.clone()
    broken[0, 2, 2] = float("nan")
    maps[1], maps[2, 3, 3] = 0, float("nan")
    found = MaxSensitivity(draws=2).measure(pose(lambda model, x=None: broken), maps)
    assert found.notes is not None
    assert bool(found.values.isnan().all())
    assert found.notes["undefined"] == ["not finite again", "zero", "not finite"]
    assert found.notes["mean"] == [None, None, None]


def test_refusals_and_cancelling() -> None:
    with pytest.raises(DoesNotFit, match="how the maps were made"):
        MaxSensitivity().measure(pose(None), torch.rand(3, 16, 16))
    for wrong in ({"draws": 0}, {"radius": 0.0}):
        with pytest.raises(BadInput, match="Give"):
            MaxSensitivity(**wrong)
    stopped = replace(
        pose(lambda model, x=None: torch.rand(3, 16, 16)), execution=Execution(cancelled=lambda: True)
    )
    with pytest.raises(Cancelled, match="max-sensitivity"):
        MaxSensitivity().measure(stopped, torch.rand(3, 16, 16))
