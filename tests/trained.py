"""TAME, T-TAME, L-CAM and real-time saliency in tests: drawn explainers, a source, networks to train for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.methods.learned.explainer import FEW, Explainer, provide
from seewhy.models.model import Model
from seewhy.perturb.counters import normal
from seewhy.training import TRAININGS
from seewhy.training.sources import Source
from seewhy.types import Batch, Size

CLASSES = 5
NAMES = ("tame", "ttame", "lcam", "realtime_saliency")


def encoder() -> nn.Module:
    """Return a network of three resolutions that serves as auxiliary."""
    torch.manual_seed(11)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 10, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(10, 4),
    )
    return networks.settle(net, torch.randn(16, 3, 16, 16))


def training(name: str, **parameters: Any) -> Any:
    """Return a method's training for networks of bare tensors, with `encoder` as auxiliary network."""
    known = TRAININGS[name].__dataclass_fields__
    if "auxiliary" in known:
        parameters.setdefault("auxiliary", _auxiliary())
    if "fill" in known:
        parameters.setdefault("fill", None)
    return TRAININGS[name](**parameters)


@cache
def _auxiliary() -> str:
    return provide(Model(encoder(), name="encoder"))


def drawn(name: str) -> Callable[[nn.Module, Tensor, Path], Path | None]:
    """Return what writes a method's explainer of a network, as if every class had been trained.

    It writes none for a network that the method refuses to be trained for.
    """

    def write(network: nn.Module, x: Tensor, file: Path) -> Path | None:
        asked = training(name)
        try:
            trainee = asked.begin(Model(network), tuple(x.shape[1:]), CLASSES, seed=3)
        except BadInput:
            return None
        trainee.module.eval()
        made: Explainer = trainee.finished((FEW,) * CLASSES, asked.parameters(), {"steps": 0})
        return made.save(file)

    return write


class Noise(Source):
    """Smooth noise, image `i` from (seed, i) alone; with `signs`, images of one sign, turn and turn about."""

    def __init__(self, shape: Size = (3, 16, 16), *, signs: bool = False) -> None:
        self._shape, self.signs = shape, signs

    @property
    def shape(self) -> Size:
        """See `Source.shape`."""
        return self._shape

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return f"noise {self._shape} {self.signs}"

    def batch(self, seed: int, indices: Tensor) -> Batch:
        """See `Source.batch`."""
        x = normal(seed, indices, prod(self._shape)).reshape(-1, *self._shape)
        if self.signs:
            return (x.abs() + 0.5) * torch.where(indices % 2 == 0, 1.0, -1.0)[:, None, None, None]
        return nn.functional.avg_pool2d(x, 3, stride=1, padding=1) * 2

    def held_out(self) -> Batch:
        """See `Source.held_out`."""
        return self.batch(99, torch.arange(4))


class Evidence(nn.Module):
    """Two classes, for positive and for negative pixels; whatever a mask shows speaks for the answer."""

    def __init__(self, gain: float = 4.0) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.coarse = nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False)
        self.gain = gain
        for conv in (self.fine, self.coarse):
            nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, 2)` logits."""
        found = self.gain * self.coarse(self.fine(x)).mean((1, 2, 3))
        return torch.stack([found, -found], 1)


def bits(module: nn.Module) -> dict[str, bytes]:
    """Return all parameters and buffers, to compare."""
    return {k: v.detach().clone().contiguous().numpy().tobytes() for k, v in module.state_dict().items()}
