"""SIDU and ViT-CX against slow programs in float64 that follow the formulas mask by mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.nn.functional import interpolate

import networks
from seewhy import Execution, targets
from seewhy.methods import SIDU, ViTCX
from seewhy.methods.masking.sidu import uniqueness
from seewhy.perturb.counters import normal

CLASS, SEED = 2, 11
LAYERS = {"cnn": ("5", 8), "vit": ("blocks.1.norm1", 16), "swin": ("features.2", 32)}


def activations(net: nn.Module, layer: str, family: str, x: Tensor) -> Tensor:
    """Run the network; return `(k, rows, columns)` of one sample."""
    kept = []
    hook = net.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out))
    net(x)
    hook.remove()
    a = kept[0][0]
    if family == "vit":
        return a[1:].T.reshape(-1, 4, 4)
    return a.movedim(-1, 0) if family == "swin" else a


def large(maps: Tensor, size: int) -> Tensor:
    return interpolate(maps[None], size=(size, size), mode="bilinear", align_corners=False)[0]


def families(name: str) -> tuple[nn.Module, Tensor]:
    build, shape = networks.FAMILIES[name]
    net = build()
    if name == "cnn":  # a head that tells something, so that probabilities differ
        with torch.no_grad():
            net[8].weight.mul_(8)
    return net, networks.batch(shape, n=2)


@torch.no_grad()
def sidu(net: nn.Module, layer: str, family: str, x: Tensor, similarity: str) -> np.ndarray:
    net, x = net.double(), x.double()
    binary = (activations(net, layer, family, x) > 0.1).double()
    masks = large(binary, x.shape[-1])
    whole = net(x).softmax(1)[0].numpy()
    seen = np.stack([net(x * m).softmax(1)[0].numpy() for m in masks])
    if similarity == "target":
        change = seen[:, CLASS] - whole[CLASS]
    else:
        change = np.sqrt(((seen - whole) ** 2).sum(1))
    like = np.sqrt(np.exp(-(change**2) / 0.25**2))
    alone = cdist(seen, seen).sum(1)
    alone = (alone - alone.min()) / (alone.max() - alone.min() + 1e-13)
    net.float()
    return sum(a * b * m.numpy() for a, b, m in zip(like, alone, masks, strict=True)) / len(masks)


@pytest.mark.parametrize("similarity", ["target", "vector"])
@pytest.mark.parametrize("family", LAYERS)
def test_sidu_is_its_eight_steps(family, similarity) -> None:
    net, x = families(family)
    layer, _ = LAYERS[family]
    result = SIDU(layer=layer, similarity=similarity)(net, x, CLASS)
    expected = np.stack([sidu(net, layer, family, sample[None], similarity) for sample in x])
    np.testing.assert_allclose(result.values.numpy(), expected, atol=2e-5)


def test_masks_that_channels_share_are_scored_once() -> None:
    net, x = families("cnn")
    with torch.no_grad():  # two channels are the same, two are dead
        for p in (
            net[3].weight,
            net[3].bias,
            net[4].weight,
            net[4].bias,
            net[4].running_mean,
            net[4].running_var,
        ):
            p[1] = p[0]
        net[4].weight[2:4] = 0
        net[4].bias[2:4] = -1
    result = SIDU(layer="5")(net, x[:1], CLASS)
    assert result.provenance["distinct_masks"] == [6]
    assert result.provenance["passes"]["forward"] == 2 + 6
    np.testing.assert_allclose(result.values[0].numpy(), sidu(net, "5", "cnn", x[:1], "target"), atol=2e-5)


def test_uniqueness_by_hand() -> None:
    vectors = torch.tensor([[[0.0, 0], [3, 4], [0, 0]]], dtype=torch.float64)
    # Distances sum to 5, 10, 5.
    assert uniqueness(vectors, torch.ones(1, 3)).tolist() == [[0, 1, 0]]
    # Two masks are equally far from each other, one answer is like no other: nothing stands out.
    assert uniqueness(vectors[:, :2], torch.ones(1, 2)).tolist() == [[0, 0]]
    assert uniqueness(vectors[:, ::2], torch.ones(1, 2)).tolist() == [[0, 0]]
    # Counted three times, the second is the usual one: distances sum to 15 and 5.
    assert uniqueness(vectors[:, :2], torch.tensor([[1, 3]])).tolist() == [[1, 0]]
    # The last one is no mask of this sample.
    padded = uniqueness(vectors, torch.tensor([[1, 3, 0]]))
    assert padded.tolist() == [[1, 0, 0]]


@torch.no_grad()
def vit_cx(net: nn.Module, layer: str, family: str, x: Tensor, noise: float) -> tuple[np.ndarray, int]:
    net, x = net.double(), x.double()
    size = x.shape[-1]

    def scaled(m: np.ndarray) -> np.ndarray:
        return (m - m.min()) / (m.max() - m.min())

    pictures = [
        scaled(m) for m in large(activations(net, layer, family, x), size).numpy() if np.ptp(m) > 1e-6
    ]
    tree = linkage(np.stack([m.ravel() for m in pictures]), "complete", metric="cosine")
    labels = fcluster(tree, 0.1, "distance")
    # In order of their first members, which decides which noise a mask gets.
    order = sorted(set(labels), key=lambda c: list(labels).index(c))
    masks = [scaled(sum(m for m, c in zip(pictures, labels, strict=True) if c == k)) for k in order]
    whole = float(net(x).softmax(1)[0, CLASS])
    total, cover = 0, 0
    for i, m in enumerate(masks):
        e = noise * normal(SEED, torch.tensor([i]), math.prod(x.shape[1:])).reshape(x.shape).double()
        hidden = e * (1 - torch.from_numpy(m))
        shown = float(net(x * torch.from_numpy(m) + hidden).softmax(1)[0, CLASS])
        control = float(net(x + hidden).softmax(1)[0, CLASS])
        total, cover = total + (shown - control + whole) * m, cover + m
    net.float()
    return total / cover / len(masks), len(masks)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("family", LAYERS)
def test_vit_cx_is_its_steps(family, noise) -> None:
    net, x = families(family)
    layer, _ = LAYERS[family]
    result = ViTCX(layer=layer, noise=noise)(net, x, CLASS, Execution(seed=SEED))
    for i, sample in enumerate(x):
        expected, count = vit_cx(net, layer, family, sample[None], noise)
        np.testing.assert_allclose(result.values[i].numpy(), expected, atol=2e-5)
        assert result.provenance["masks"][i] == count
    assert result.provenance["passes"]["forward"] == 2 + 2 * max(result.provenance["masks"])


def test_vit_cx_reads_the_last_blocks_first_norm() -> None:
    net, x = families("vit")
    result = ViTCX()(net, x, CLASS)
    assert result.provenance["layer"] == "blocks.1.norm1"
    assert result.native.shape == (2, 4, 4)


def test_equal_scores_give_a_flat_map() -> None:
    # s_i = s for all masks: the mean over masks is s everywhere, divided by their number.
    net, x = families("vit")
    result = ViTCX()(net, x, targets.Custom(lambda _answer: torch.full((len(_answer),), 3.0)))
    for values, count in zip(result.values, result.provenance["masks"], strict=True):
        torch.testing.assert_close(values, torch.full_like(values, 3.0 / count))


def test_merging_everything_leaves_one_mask() -> None:
    net, x = families("vit")
    assert ViTCX(distance=2.0)(net, x, CLASS).provenance["masks"] == [1, 1]
    assert ViTCX(distance=0.0)(net, x, CLASS).provenance["masks"] == [16, 16]
