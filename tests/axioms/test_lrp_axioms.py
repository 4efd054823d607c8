"""What relevance propagation must hold to, each with a planted bug that the property must catch."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import networks
from seewhy.execution import Execution
from seewhy.methods import LRP
from seewhy.methods.relevance import passing
from seewhy.methods.relevance.composites import COMPOSITES
from seewhy.methods.relevance.propagation import Relevance, follow
from seewhy.models.model import Model
from seewhy.question import ask

seeds = st.integers(0, 10_000)


class Deep(nn.Module):
    """No constant anywhere: batch norm that scales, residual and dense sums, pooling, a gate, SiLU."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv3, self.bn3 = nn.Conv2d(12, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5, bias=False)
        for bn in (self.bn1, self.bn2, self.bn3):
            nn.init.uniform_(bn.weight, -1.5, 1.5)
            nn.init.constant_(bn.bias, shift)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = nn.functional.silu(self.bn2(self.conv2(x)))
        y += x
        z = self.relu(self.bn3(self.conv3(torch.cat([x, y], 1))))
        z = z * torch.sigmoid(self.gate(z.mean((2, 3), keepdim=True)))
        return self.head(z.mean((2, 3)))

    def stem(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(nn.functional.relu6(self.bn1(self.conv1(x))), 2)


def deep(seed: int, shift: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return Deep(shift).double().eval()


def relevance(method: LRP, net: nn.Module, x: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, Relevance]:
    model = Model(net)
    with model.untouched():
        question = ask(model, x, 1, Execution(), "logit")
        trace = follow(question, 0, len(x), method.rules(model, x), method.softmax, layers)
    return question.clean.double(), trace.relevance()


# -- conservation --------------------------------------------------------------------------------------------

CUTS = ("conv1", "bn1", "conv3", "bn3", "relu", "head")
"""Layers through which everything passes."""


def conservation(method: LRP, seed: int) -> None:
    x = networks.batch((3, 12, 12), seed=seed).double()
    score, found = relevance(method, deep(seed), x, CUTS)
    for name, r in {"pixels": found.pixels, **found.layers}.items():
        total = r.flatten(1).sum(1)
        torch.testing.assert_close(
            total, score, rtol=1e-5, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("composite", COMPOSITES)
@given(seed=seeds)
@settings(max_examples=8)
def test_every_layer_keeps_the_score(composite: str, seed: int) -> None:
    conservation(LRP(composite=composite, epsilon=1e-12), seed)


@pytest.mark.parametrize("first", ["flat", "w_square", "z_box"])
def test_first_layers_keep_the_score(first: str) -> None:
    conservation(LRP(composite="epsilon", first=first, epsilon=1e-12), 3)


@pytest.mark.parametrize("composite", ["gamma", "epsilon_plus_flat", "epsilon_alpha2_beta1"])
def test_shared_biases_keep_the_score_too(composite: str) -> None:
    x = networks.batch((3, 12, 12)).double()
    shared = LRP(composite=composite, epsilon=1e-12, biases="share")
    score, found = relevance(shared, deep(3, 0.5), x, CUTS)
    for r in (found.pixels, *found.layers.values()):
        torch.testing.assert_close(r.flatten(1).sum(1), score, rtol=1e-5, atol=1e-7)
    _, kept = relevance(LRP(composite=composite), deep(3, 0.5), x, CUTS)
    assert not torch.allclose(kept.pixels.flatten(1).sum(1), score, rtol=1e-2)


def test_conservation_catches_plain_gradients_of_activations() -> None:
    with (
        mock.patch.object(passing._Passed, "backward", staticmethod(lambda ctx, g: (g, None))),
        pytest.raises(AssertionError),
    ):
        conservation(LRP(epsilon=1e-12), 3)


def test_conservation_catches_a_stabiliser_that_is_too_large() -> None:
    with pytest.raises(AssertionError):
        conservation(LRP(epsilon=1e-2), 3)


@given(seed=seeds, shift=st.floats(0.1, 1.0))
@settings(max_examples=8)
def test_biases_keep_their_part_and_nothing_else_leaks(seed: int, shift: float) -> None:
    net, x = deep(seed, shift), networks.batch((3, 12, 12), seed=seed).double()
    _, found = relevance(LRP(composite="epsilon", epsilon=0.0), net, x, ("bn1",))
    with torch.no_grad():
        y = net.bn1(net.conv1(x))  # what the layer and its norm put out together; of this, `shift` is bias
    held = (found.layers["bn1"] * shift / y).flatten(1).sum(1)
    lost = found.layers["bn1"].flatten(1).sum(1) - found.pixels.flatten(1).sum(1)
    torch.testing.assert_close(lost, held, rtol=1e-5, atol=1e-8)


def attention_conserves(softmax: str) -> None:
    torch.manual_seed(4)
    net = networks.ViT().double().eval()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("bias") or name in ("cls", "positions"):
                p.zero_()
        net.head.weight.normal_()
    x = networks.batch((3, 16, 16)).double()
    score, found = relevance(
        LRP(composite="epsilon", epsilon=0.0, softmax=softmax), net, x, ("patch", "blocks.0")
    )
    for r in (found.pixels, found.layers["patch"], found.layers["blocks.0"]):
        torch.testing.assert_close(r.flatten(1).sum(1), score, rtol=1e-5, atol=1e-8)


def test_transformers_keep_the_score_when_attention_is_constant() -> None:
    attention_conserves("constant")


def test_the_softmax_leaks_by_its_gradient() -> None:
    with pytest.raises(AssertionError):
        attention_conserves("taylor")


# -- sign ----------------------------------------------------------------------------------------------------


def positivity(method: LRP, seed: int) -> None:
    """Evidence that only positive contributions carry is positive (where no sum mixes signs)."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8 * 16, 5),
    ).eval()  # fmt: skip
    x = networks.batch((3, 12, 12), seed=seed)
    assert float(method(net, x, lambda out: out[:, 1].square()).values.min()) >= 0


@given(seed=seeds)
@settings(max_examples=8)
def test_positive_rules_give_positive_maps(seed: int) -> None:
    positivity(LRP(composite="epsilon_plus_flat", linear="z_plus"), seed)


def test_positivity_catches_negative_contributions() -> None:
    with pytest.raises(AssertionError):
        positivity(LRP(composite="epsilon"), 3)


# -- linearity, unseen pixels, classes -----------------------------------------------------------------------


def linearity(method: LRP, score, seed: int) -> None:
    net, x = deep(seed, 0.3), networks.batch((3, 12, 12), seed=seed).double()
    both = method(net, x, score).values
    apart = 2 * method(net, x, 0).values - 3 * method(net, x, 1).values
    torch.testing.assert_close(both, apart, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("composite", COMPOSITES)
@given(seed=seeds)
@settings(max_examples=5)
def test_linear_in_the_score(composite: str, seed: int) -> None:
    linearity(LRP(composite=composite), lambda z: 2 * z[:, 0] - 3 * z[:, 1], seed)


def test_linearity_catches_a_squared_score() -> None:
    with pytest.raises(AssertionError):
        linearity(LRP(), lambda z: 2 * z[:, 0].square() - 3 * z[:, 1], 3)


class Blind(nn.Module):
    """Sees the right part only, normalised by itself."""

    def __init__(self, seed: int, leak: float = 0.0) -> None:
        super().__init__()
        self.net, self.leak = deep(seed, 0.3), leak

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([torch.zeros_like(x[..., :3]), x[..., 3:]], -1)
        seen = seen + self.leak * x if self.leak else seen
        return self.net((seen - 0.1) / 0.2)


def dummy(composite: str, leak: float) -> None:
    x = networks.batch((3, 12, 12)).double()
    values = LRP(composite=composite)(Blind(3, leak).eval(), x, 1).values
    assert float(values[:, :, :3].abs().max()) == 0
    assert float(values[:, :, 3:].abs().max()) > 0


@pytest.mark.parametrize("composite", COMPOSITES)
def test_unseen_pixels_get_nothing(composite: str) -> None:
    dummy(composite, 0.0)


def test_sensitivity_catches_a_leak() -> None:
    with pytest.raises(AssertionError):
        dummy("epsilon", 1e-3)


class Renamed(nn.Module):
    def __init__(self, net: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.order]


@given(seed=seeds, order=st.permutations(range(5)), target=st.integers(0, 4))
@settings(max_examples=8)
def test_maps_follow_renamed_classes(seed: int, order: list[int], target: int) -> None:
    net, x = deep(seed), networks.batch((3, 12, 12), seed=seed).double()
    renamed = LRP()(Renamed(net, order).eval(), x, order.index(target)).values
    torch.testing.assert_close(renamed, LRP()(net, x, target).values, atol=1e-6, rtol=1e-5)


def test_a_cosine_starts_with_its_own_value() -> None:
    from torch.nn.functional import cosine_similarity

    net, x = deep(2), networks.batch((3, 12, 12)).double()
    wanted = torch.randn(1, 5, generator=torch.Generator().manual_seed(1)).double()
    values = LRP(composite="epsilon", epsilon=0.0)(net, x, lambda e: cosine_similarity(e, wanted)).values
    with torch.no_grad():
        score = cosine_similarity(net(x), wanted)
    torch.testing.assert_close(values.flatten(1).sum(1), score.float(), rtol=1e-4, atol=1e-6)
