"""Frozen networks in training: copies that answer sooner, and only where they answer the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seewhy.methods.learned.stages import Features, find_stages
from seewhy.models.model import Model
from seewhy.training import frozen
from seewhy.training.attention import AttentionLoss, AttentionTrainee, begin
from seewhy.training.frozen import fast_copy


def normed(seed: int = 0) -> nn.Module:
    """A network of two convolutions with normalisations whose statistics are not those of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, padding=1, stride=2),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 5),
        )
        with torch.no_grad():
            for m in net.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.running_mean.normal_()
                    m.running_var.uniform_(0.5, 2)
                    m.weight.uniform_(0.5, 2)
                    m.bias.normal_()
    return net.eval().requires_grad_(False)


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def folded(model: Model) -> bool:
    return not any(isinstance(m, nn.BatchNorm2d) for m in model.module.modules())


def trainee(net: nn.Module) -> AttentionTrainee:
    model, auxiliary = Model(net), Model(normed(1))
    stages = find_stages(auxiliary, (3, 16, 16), ("2", "5"))
    return begin("ptame", model, Features(auxiliary, stages), None, AttentionLoss(1, 1, 0), 5, 0, bias=False)


def learnt(of: AttentionTrainee, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = of.step(x).loss
    return loss.detach(), list(torch.autograd.grad(loss, list(of.module.parameters())))


def test_a_copy_answers_as_the_network_and_its_layers_do() -> None:
    model, x = Model(normed()), images()
    copy = fast_copy(model, x, ["2", "5"])
    assert folded(copy)
    assert not folded(model)
    own, other = model.answer(x, ["2", "5"]), copy.answer(x, ["2", "5"])
    torch.testing.assert_close(other.output, own.output, rtol=1e-4, atol=1e-5)
    for layer in ("2", "5"):
        torch.testing.assert_close(other.activations[layer], own.activations[layer], rtol=1e-4, atol=1e-5)


def test_training_learns_the_same_from_copies() -> None:
    x, plain, hasty = images(), trainee(normed()), trainee(normed())
    hasty.hasten(x)
    assert folded(hasty.asked)
    assert folded(hasty.read.model)
    (loss, slopes), (loss_of_copies, slopes_of_copies) = learnt(plain, x), learnt(hasty, x)
    torch.testing.assert_close(loss_of_copies, loss, rtol=1e-4, atol=1e-5)
    for a, b in zip(slopes_of_copies, slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-5)


def test_a_layer_that_the_copy_changes_is_read_from_the_network() -> None:
    """The output of a convolution is not what it was once it does the normalisation's work."""
    model = Model(normed())
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
    monkeypatch.setattr(frozen, "_TRUE", float("inf"))  # nobody compares
    assert fast_copy(model, images()) is not model


class Uncopied(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = normed()

    def __deepcopy__(self, memo: object) -> Uncopied:
        raise TypeError("one of a kind")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_network_that_cannot_be_copied_is_asked_itself() -> None:
    model = Model(Uncopied())
    assert fast_copy(model, images()) is model
