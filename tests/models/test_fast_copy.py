"""Fast copies of frozen networks, used only where they answer the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.models import fast_copy as copies
from seewhy.models.fast_copy import fast_copy, kept_copy
from seewhy.models.model import Model


def images(n: int = 6) -> Tensor:
    return networks.batch((3, 16, 16), n=n)


def folded(model: Model) -> bool:
    return not any(isinstance(m, nn.BatchNorm2d) for m in model.module.modules())


def test_a_copy_answers_as_the_network_and_its_layers_do() -> None:
    model, x = Model(networks.cnn()), images()
    copy = fast_copy(model, x, ["2", "5"])
    assert folded(copy)
    assert not folded(model)
    own, other = model.answer(x, ["2", "5"]), copy.answer(x, ["2", "5"])
    torch.testing.assert_close(other.output, own.output, rtol=1e-4, atol=1e-5)
    for layer in ("2", "5"):
        torch.testing.assert_close(other.activations[layer], own.activations[layer], rtol=1e-4, atol=1e-5)


def test_a_layer_that_the_copy_changes_is_read_from_the_network() -> None:
    """The output of a convolution is not what it was once it does the normalisation's work."""
    model = Model(networks.cnn())
    assert fast_copy(model, images(), ["3"]) is model


def test_a_network_with_nothing_to_fold_is_asked_itself() -> None:
    model = Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval())
    assert fast_copy(model, images()) is model


class Watchful(nn.Module):
    """Looks at what a convolution gave, beside handing it on to the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.bias, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        found = self.first(x)
        return (self.norm(found) + found).mean((2, 3))


def test_a_copy_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(Watchful().eval().requires_grad_(False))
    assert fast_copy(model, images()) is model
    monkeypatch.setitem(copies._TRUE, torch.float32, float("inf"))  # nobody compares
    assert fast_copy(model, images()) is not model


class Uncopied(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = networks.cnn()

    def __deepcopy__(self, memo: object) -> Uncopied:
        raise TypeError("one of a kind")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_network_that_cannot_be_copied_is_asked_itself() -> None:
    model = Model(Uncopied())
    assert fast_copy(model, images()) is model


def test_one_copy_serves_all_layers_until_a_weight_changes() -> None:
    model, x = Model(networks.cnn()), images()
    first = kept_copy(model, x, ["2"], (model.weights_hash,))[0]
    assert folded(first)
    assert kept_copy(model, x, ["2", "5"], (model.weights_hash,))[0] is first
    assert kept_copy(model, x, ["3"], (model.weights_hash,))[0] is model
    with torch.no_grad():
        model.module[8].weight.mul_(2)
    other = kept_copy(model, x, ["2"], (model.weights_hash,))[0]
    assert other is not first
    torch.testing.assert_close(other.answer(x).output, model.answer(x).output, rtol=1e-4, atol=1e-5)
