"""ADCC against its formula in float64, its extremes, and maps made again of other inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution, Passes
from seewhy.metrics.baselines import edge_map, random_map
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.adcc import ADCC
from seewhy.metrics.remembered import again, unmoved
from seewhy.models.model import Model
from seewhy.provenance import display_pixels
from seewhy.question import Question, ask

X = networks.batch((3, 16, 16), n=3)
CLASSES = [0, 2, 1]


def pose(x: Tensor, classes: list[int], second: Tensor | None = None) -> Question:
    """A question whose method makes `second` of any other input, or its own input's channel mean."""
    question = ask(Model(networks.cnn().eval()), x, classes, Execution(), "probability")
    return replace(
        question,
        again=lambda model, x=None: x.mean(1) if second is None else second,  # type: ignore[union-attr]
    )


def unit(heat: Tensor) -> np.ndarray:
    values = heat.double().numpy()
    return (values - values.min()) / (values.max() - values.min())


def plain(x: Tensor, heat: Tensor, c: int, second: Tensor) -> tuple[float, float, float]:
    """One sample in float64: coherency, complexity, drop."""
    s = unit(heat)
    net = networks.cnn().eval().double()
    with torch.no_grad():
        p = net(torch.stack([x.double(), x.double() * torch.from_numpy(s)])).softmax(1)[:, c].tolist()
    r = np.corrcoef(s.ravel(), second.double().numpy().ravel())[0, 1]
    return (r + 1) / 2, s.mean(), max(0, p[0] - p[1]) / p[0]


def test_equals_the_formula() -> None:
    maps, second = (
        networks.batch((3, 16, 16), n=3, seed=3)[:, 0],
        networks.batch((3, 16, 16), n=3, seed=4)[:, 0],
    )
    second = second + maps
    found = ADCC().measure(pose(X, CLASSES, second), maps)
    assert found.notes is not None
    for i, c in enumerate(CLASSES):
        coherency, complexity, drop = plain(X[i], maps[i], c, second[i])
        wanted = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
        assert float(found.values[i]) == pytest.approx(wanted, abs=1e-5)
        assert found.notes["coherency"][i] == pytest.approx(coherency, abs=1e-5)
        assert found.notes["complexity"][i] == pytest.approx(complexity, abs=1e-5)
        assert found.notes["average drop"][i] == pytest.approx(drop, abs=1e-5)
        assert abs(wanted - (coherency + 1 - complexity + 1 - drop) / 3) > 1e-3, "a plain mean would be seen"
    means = [np.mean(found.notes[k]) for k in ("coherency", "complexity", "average drop")]
    of_means = 3 / (1 / means[0] + 1 / (1 - means[1]) + 1 / (1 - means[2]))
    assert found.notes["of the means"] == pytest.approx(of_means, abs=1e-5)


@pytest.mark.parametrize("keep", [50.0, 15.0])
def test_a_share_of_the_pixels(keep: float) -> None:
    """The mask is cut, not the map that is made again."""
    maps, second = (networks.batch((3, 16, 16), n=3, seed=s)[:, 0] for s in (3, 4))
    found = ADCC(keep=keep).measure(pose(X, CLASSES, second + maps), maps)
    for i, c in enumerate(CLASSES):
        s = torch.from_numpy(unit(maps[i]))
        edge = s.flatten().sort(descending=True).values[int(256 * keep / 100 + 0.5) - 1]
        coherency, complexity, drop = plain(X[i], s * (s >= edge), c, (second + maps)[i])
        wanted = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
        assert float(found.values[i]) == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(BadInput, match="Give per cent"):
        ADCC(keep=0.0)


@pytest.mark.parametrize("method", ["input_x_gradient", "occlusion"])
def test_the_map_is_made_again_of_the_masked_input(method: str) -> None:
    net = networks.cnn().eval()
    own = {"window": 4} if method == "occlusion" else {}
    maps = seewhy.explain(net, X, method, target=CLASSES, **own)
    table = evaluate(net, X, maps, "adcc")
    found = [r.value for r in table if r.method == method]
    masks = torch.stack([torch.from_numpy(unit(m)) for m in maps.values]).float()
    second = seewhy.explain(net, X * masks[:, None], method, target=CLASSES, **own).values
    first = seewhy.explain(net, X, method, target=CLASSES, **own).values
    for i, c in enumerate(CLASSES):
        for other, same in ((second, True), (first, False)):
            coherency, complexity, drop = plain(X[i], maps.values[i], c, other[i])
            wanted = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
            assert bool(abs(found[i] - wanted) < 1e-4) is same, "the map of the unmasked input would be seen"
    assert all(0 <= r.value <= 1 for r in table)


class Left(nn.Module):
    """The left half speaks for class 0, nothing against it."""

    def forward(self, x: Tensor) -> Tensor:
        left = x[..., : x.shape[-1] // 2].mean((1, 2, 3))
        return torch.stack([10 * left, torch.zeros_like(left)], 1)


def test_extremes() -> None:
    x = torch.ones(1, 3, 8, 8)
    perfect = torch.zeros(1, 8, 8)
    perfect[..., :4] = 1

    def score(heat: Tensor, second: Tensor) -> float:
        question = ask(Model(Left()), x, 0, Execution(), "probability")
        question = replace(question, again=lambda model, x=None: second)
        return float(ADCC().measure(question, heat).values)

    assert score(perfect, perfect) == pytest.approx(3 / (1 + 2 + 1), abs=1e-4)
    assert score(perfect, 1 - perfect) == 0, "no coherency at all"
    assert score(perfect, torch.ones(1, 8, 8)) == 0, "a second map that is constant"
    assert score(1 - perfect, 1 - perfect) < score(perfect, perfect) - 0.1
    noise = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert score(noise, noise.roll(1, 1)) < score(perfect, perfect)


def test_maps_without_a_range_have_no_value() -> None:
    maps = networks.batch((3, 16, 16), n=3, seed=3)[:, 0].clone()
    maps[1], maps[2, 3, 3] = 0.5, float("nan")
    found = ADCC().measure(pose(X, CLASSES), maps)
    assert found.values.isnan().tolist() == [False, True, True]
    assert found.notes is not None
    assert found.notes["undefined"] == [None, "constant", "not finite"]
    assert found.notes["complexity"][1:] == [None, None]


def test_batches_equal_singles() -> None:
    maps = networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
    whole = ADCC().measure(pose(X, CLASSES), maps).values
    singles = [
        ADCC().measure(pose(X[i : i + 1], CLASSES[i : i + 1]), maps[i : i + 1]).values for i in range(3)
    ]
    torch.testing.assert_close(whole, torch.cat(singles), atol=1e-5, rtol=0)


def test_baselines_and_methods_are_made_again_of_other_inputs() -> None:
    model = Model(networks.cnn().eval())
    batch, other = model.prepare(X), networks.batch((3, 16, 16), n=3, seed=5)
    for name, make in (("edges", edge_map), ("random", random_map)):
        maps = make(display_pixels(model, batch), 1)
        made = unmoved(name, maps, batch, 1)
        assert made(model) is maps
        assert torch.equal(made(model, other), make(display_pixels(model, model.prepare(other)), 1))
    result = seewhy.explain(model, X, "gradient", target=CLASSES)
    passes = Passes()
    made = again(result, batch, Execution(), passes)
    wanted = seewhy.explain(model, other, "gradient", target=CLASSES).values
    torch.testing.assert_close(made(model, other), wanted)
    torch.testing.assert_close(made(model), result.values)
    assert passes.forward == 2 * 3 * result.provenance["passes"]["forward"]


def test_refusals() -> None:
    question = ask(Model(networks.cnn().eval()), X, CLASSES, Execution(), "probability")
    with pytest.raises(DoesNotFit, match="how the maps were made"):
        ADCC().measure(question, torch.rand(3, 16, 16))
