"""Training asks its frozen networks through copies, and learns the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import networks
from seewhy.methods.learned.stages import Features, find_stages
from seewhy.models.model import Model
from seewhy.training.attention import AttentionLoss, AttentionTrainee, begin


def folded(model: Model) -> bool:
    return not any(isinstance(m, nn.BatchNorm2d) for m in model.module.modules())


def trainee() -> AttentionTrainee:
    model, auxiliary = Model(networks.cnn()), Model(networks.cnn())
    stages = find_stages(auxiliary, (3, 16, 16), ("2", "5"))
    return begin("ptame", model, Features(auxiliary, stages), None, AttentionLoss(1, 1, 0), 5, 0, bias=False)


def learnt(of: AttentionTrainee, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    loss = of.step(x).loss
    return loss.detach(), list(torch.autograd.grad(loss, list(of.module.parameters())))


def test_training_learns_the_same_from_copies() -> None:
    x, plain, hasty = networks.batch((3, 16, 16), n=6), trainee(), trainee()
    hasty.hasten(x)
    assert folded(hasty.asked)
    assert folded(hasty.read.model)
    (loss, slopes), (loss_of_copies, slopes_of_copies) = learnt(plain, x), learnt(hasty, x)
    torch.testing.assert_close(loss_of_copies, loss, rtol=1e-4, atol=1e-5)
    for a, b in zip(slopes_of_copies, slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-5)
