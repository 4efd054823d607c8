"""Small explainers: a source of random images, an auxiliary network, a file for any network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

import networks
import trained
from seewhy.methods.learned.explainer import Explainer, provide
from seewhy.models.model import Model
from seewhy.training.attention import PTAMETraining
from seewhy.training.base import Trainee
from seewhy.training.sources import Source


class Images(Source):
    """Smooth random images, a few of them held out."""

    def __init__(self, shape: tuple[int, ...] = (3, 16, 16), count: int = 24, name: str = "images") -> None:
        self.x, self.name = networks.batch(shape, n=count, seed=3), name

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def fingerprint(self) -> str:
        return self.name

    def batch(self, seed: int, indices: Tensor) -> Tensor:
        return self.x[(indices * 7 + seed) % (len(self.x) - 4)]

    def held_out(self) -> Tensor:
        return self.x[-4:]


def auxiliary() -> str:
    """Provide the auxiliary network, an untrained CNN of other weights than any explained one; its name."""
    net = networks.cnn(classes=7)
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    return provide(Model(net))


def begun(net: nn.Module, **parameters: object) -> Trainee:
    """Return P-TAME, untrained, for a network of 16 x 16 or 32 x 32 images and five classes."""
    model = Model(net)
    return PTAMETraining(auxiliary(), **parameters).begin(model, (3, 16, 16), 5, 0)  # type: ignore[arg-type]


def untrained(net: nn.Module, x: Tensor, file: Path) -> Path | None:
    """Write P-TAME's explainer of a network as if every class had been trained; its head is as it was drawn.

    None for networks of clips, which it does not explain.
    """
    if x.ndim != 4:
        return None
    trainee = PTAMETraining(auxiliary()).begin(Model(net), tuple(x.shape[1:]), 5, 0)
    trainee.module.eval()
    return trainee.finished((200,) * 5, {}, {"steps": 0}).save(file)


MADE: dict[str, Callable[[nn.Module, Tensor, Path], Path | None]] = {
    "ptame": untrained,
    **{name: trained.drawn(name) for name in trained.NAMES},
}
"""From a method that is trained to what writes an explainer for a network and its inputs."""


def with_coverage(explainer: Explainer, coverage: tuple[int, ...]) -> Explainer:
    """Return an explainer that says that it was trained by other numbers of images."""
    return replace(explainer, coverage=coverage)
