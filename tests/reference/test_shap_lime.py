"""Kernel SHAP against Shapley values by enumeration and captum; LIME against its regression written out."""

from __future__ import annotations

import math
import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import KernelShap
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput, MissingExtra, UnknownName
from seewhy.execution import Execution
from seewhy.methods.masking.kernel_shap import KernelSHAP
from seewhy.methods.masking.lime import LIME, fit
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.coalitions import every, paired, shapley_kernel
from seewhy.perturb.segments import grid, segments
from seewhy.question import ask
from seewhy.targets import Class


def game(net: nn.Module, x: Tensor, labels: Tensor, c: int) -> Tensor:
    """The logit of every coalition of the segments of one image, by its number: `(2 ** players,)` float64."""
    players = int(labels.max()) + 1
    number = torch.arange(2**players)
    shown = (number[:, None] >> torch.arange(players)) % 2
    with torch.no_grad():
        return torch.cat([net(x * part[:, labels][:, None])[:, c] for part in shown.split(512)]).double()


def shapley(v: Tensor, players: int) -> Tensor:
    """Each player's mean contribution, by the formula over coalitions."""
    number, values = torch.arange(len(v)), []
    sizes = sum((number >> p) % 2 for p in range(players))
    weights = torch.tensor(
        [1 / (players * math.comb(players - 1, k)) for k in range(players)], dtype=torch.float64
    )
    for p in range(players):
        without = number[(number >> p) % 2 == 0]
        values.append((weights[sizes[without]] * (v[without + 2**p] - v[without])).sum())
    return torch.stack(values)


def of_segments(values: Tensor, labels: Tensor) -> Tensor:
    """One value a segment from a painted map."""
    count = int(labels.max()) + 1
    return torch.stack([values[labels == i][0] for i in range(count)]).double()


def test_the_reference_is_the_mean_over_all_orders() -> None:
    v = torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    orders, mean = list(permutations(range(4))), torch.zeros(4, dtype=torch.float64)
    for order in orders:
        present = 0
        for p in order:
            mean[p] += (v[present + 2**p] - v[present]) / len(orders)
            present += 2**p
    assert float((shapley(v, 4) - mean).abs().max()) < 1e-12


@pytest.mark.parametrize("family", ["cnn", "vit"])
def test_enumerated_games_are_exact(family: str) -> None:
    net, x = networks.FAMILIES[family][0]().eval(), networks.batch((3, 16, 16))
    found = KernelSHAP("grid:3", samples=510)(Model(net), x, 1)
    assert found.provenance["passes"]["forward"] == 512 == KernelSHAP("grid:3").cost((16, 16)).forward
    for i in range(2):
        wanted = shapley(game(net, x[i : i + 1], grid((16, 16), 3), 1), 9)
        assert float((of_segments(found.values[i], grid((16, 16), 3)) - wanted).abs().max()) < 1e-5
        assert found.provenance["inputs"][i]["reliability"]["split_half_spearman"] is None


def test_sampled_games_come_near_and_nearer_than_captum() -> None:
    net, x, labels = networks.cnn().eval(), networks.batch((3, 16, 16), n=1), grid((16, 16), 4)
    wanted = shapley(game(net, x, labels, 1), 16)
    run = KernelSHAP("grid:4", samples=2000)(Model(net), x, 1)
    found = of_segments(run.values[0], labels)
    with torch.no_grad():
        whole = float(net(x)[0, 1] - net(0 * x)[0, 1])
    torch.manual_seed(0)
    peer = KernelShap(net).attribute(x, target=1, feature_mask=labels[None, None], n_samples=2000)
    captum = of_segments(peer[0, 0], labels)
    scale = float(wanted.abs().max())
    assert float((captum - wanted).abs().max()) < 0.1 * scale
    assert float((found - wanted).abs().max()) < 0.04 * scale
    assert float((found - wanted).norm()) < float((captum - wanted).norm())
    assert float(found.sum()) == pytest.approx(whole, abs=1e-5)
    assert run.provenance["inputs"][0]["reliability"]["split_half_spearman"] > 0.8


def test_the_kernel() -> None:
    # For three players: 2 / (3 * 1 * 2) for one and for two of them.
    assert shapley_kernel(3, torch.tensor([0, 1, 2, 3])).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0])
    all_of_four = every(4)
    assert len({tuple(m) for m in all_of_four.members.tolist()}) == 14
    drawn = paired(6, 20001, torch.Generator().manual_seed(0))
    assert len(drawn.members) == 20002
    assert torch.equal(drawn.members[0::2], ~drawn.members[1::2])
    sizes = drawn.members.sum(1).bincount(minlength=7)[1:6] / len(drawn.members)
    wanted = torch.tensor([1 / (k * (6 - k)) for k in range(1, 6)])
    assert float((sizes - wanted / wanted.sum()).abs().max()) < 0.01
    assert float((drawn.members.float().mean(0) - 0.5).abs().max()) < 1e-6


def test_lime_is_its_weighted_ridge_regression() -> None:
    net, x, labels = networks.cnn().eval(), networks.batch((3, 16, 16), n=1), grid((16, 16), 3)
    method = LIME("grid:3", samples=200, width=0.4, ridge=0.5)
    found = method(Model(net), x, Class(1, "logit"))
    v = game(net, x, labels, 1)
    model = Model(net)
    with model.untouched():
        question = ask(model, x, 1, Execution(), "logit")
    generator = question.generator(9)
    shown = (torch.rand(200, 9, generator=generator) < 0.5).double()
    shown[0] = 1
    scores = v[(shown.long() * 2 ** torch.arange(9)).sum(1)]
    cosine = shown.sum(1) / (9**0.5 * shown.sum(1).clamp_min(1e-12).sqrt())
    weights = torch.exp(-(((1 - cosine) / 0.4) ** 2))
    # The intercept is one more, unpenalised column.
    design = torch.cat([shown, torch.ones(200, 1, dtype=torch.float64)], 1).numpy()
    penalty = np.diag([0.5] * 9 + [0.0])
    w = weights.numpy()
    wanted = np.linalg.solve(design.T @ (w[:, None] * design) + penalty, design.T @ (w * scores.numpy()))
    assert float((of_segments(found.values[0], labels) - torch.from_numpy(wanted[:9])).abs().max()) < 1e-5
    left = w @ (scores.numpy() - design @ wanted) ** 2
    variance = w @ (scores.numpy() - np.average(scores.numpy(), weights=w)) ** 2
    assert found.provenance["inputs"][0]["reliability"]["r2"] == pytest.approx(1 - left / variance, abs=1e-4)


def test_lime_equals_scikit_learns_ridge() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    shown = (torch.rand(60, 8, generator=generator) < 0.5).double()
    shown[0] = 1
    scores = torch.randn(60, generator=generator, dtype=torch.float64)
    weights = torch.exp(-(((1 - shown.mean(1).sqrt()) / 0.25) ** 2))
    peer = linear_model.Ridge(alpha=2.0).fit(shown.numpy(), scores.numpy(), weights.numpy())
    found, r2 = fit(shown, scores, 0.25, 2.0)
    assert float((found - torch.from_numpy(peer.coef_)).abs().max()) < 1e-10
    assert r2 == pytest.approx(peer.score(shown.numpy(), scores.numpy(), weights.numpy()))
    assert fit(shown, torch.ones(60, dtype=torch.float64), 0.25, 2.0)[1] is None


def test_grids() -> None:
    labels = grid((7, 10), 3)
    assert labels[:, 0].tolist() == [0, 0, 0, 3, 3, 6, 6]
    assert labels[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert int(grid((9, 2, 100), 5).max()) + 1 == 4 * 2 * 5


def test_superpixels() -> None:
    pytest.importorskip("skimage")
    x = nn.functional.avg_pool2d(networks.batch((3, 40, 40), n=3), 9, stride=1)
    x[0, :, :, :11], x[0, :, :, 11:] = -1, 1
    preprocess = Preprocessing(size=(32, 32))
    model = Model(networks.cnn().eval(), preprocess=preprocess)
    question = ask(model, x, 1, Execution(), "logit")
    found = segments(question, "slic:16")
    for labels, count in zip(found.labels, found.counts, strict=True):
        assert labels.unique().tolist() == list(range(count))
        assert 5 < count < 40
    left, right = found.labels[0, :, :11].unique(), found.labels[0, :, 11:].unique()
    assert not set(left.tolist()) & set(right.tolist()), "a superpixel crosses the edge"
    # Samples with different numbers of segments give what each gives alone.
    assert len(set(found.counts)) > 1
    for method in (KernelSHAP("slic:16", samples=64), LIME("slic:16", samples=40)):
        whole = method(model, x, 1).values
        for i in range(3):
            assert float((whole[i] - method(model, x[i : i + 1], 1).values[0]).abs().max()) < 1e-5
    clip = networks.batch((3, 8, 16, 16), n=1)
    result = KernelSHAP("slic:6", samples=40)(Model(networks.cnn3d().eval()), clip, 1)
    assert result.values.shape == (1, 8, 16, 16)


def test_superpixels_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtra, match="grid:7"):
        LIME("slic:9")(Model(networks.cnn().eval()), networks.batch((3, 16, 16)), 1)


def test_refusals() -> None:
    with pytest.raises(UnknownName, match="grid"):
        LIME("grids:3")
    for text in ("grid", "grid:0", "slic:x"):
        with pytest.raises(BadInput):
            KernelSHAP(text)
    with pytest.raises(BadInput, match="one sample a segment"):
        KernelSHAP("grid:7", samples=20)(Model(networks.cnn().eval()), networks.batch((3, 16, 16)), 1)


def test_one_segment_gets_the_whole_score() -> None:
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=1)
    found = KernelSHAP("grid:1")(Model(net), x, 1).values
    assert float((found - (net(x)[0, 1] - net(0 * x)[0, 1]).detach()).abs().max()) < 1e-5
