"""How long and how fast: steps, batch, learning rate, precision. A checkpoint goes on with the same ones."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from seewhy.methods.base import require
from seewhy.types import Json

Criterion = Literal["ad_ic", "road"]


@dataclass(frozen=True)
class Schedule:
    """One training run.

    Parameters
    ----------
    steps
        Steps of the optimiser, at least 1.
    batch
        Images a step, at least 2.
    rate
        Highest learning rate; it rises to it and falls again (one cycle).
    weight_decay
        Of AdamW.
    warm_up
        Share of the steps in which the rate rises.
    precision
        Arithmetic of the frozen networks: fp32, bf16 or fp16 (accelerators only). auto is fp32: the head
        learns by slopes that went through a whole frozen network, and bf16 turns those of one step by some
        thirty degrees (`python -m benchmarks.learned.precision`). Whether maps are worse for it is not known.
    checkpoint
        Steps between checkpoints; 0 for none.
    look
        Steps between looks at the held-out images; 0 for none.
    held_out
        Images that are never trained on.
    patience
        Looks without a better score after which training stops; 0 never stops it. The best state is kept.
    criterion
        What a look measures: ad_ic (average drop less increase in confidence at 100, 50 and 15 per cent) or
        road.
    """

    steps: int = 2000
    batch: int = 32
    rate: float = 1e-3
    weight_decay: float = 2.4267e-4
    warm_up: float = 0.3
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    checkpoint: int = 200
    look: int = 0
    held_out: int = 0
    patience: int = 0
    criterion: Criterion = "ad_ic"

    def __post_init__(self) -> None:
        asked = "Asked for a training"
        require(self.steps >= 1, f"{asked} of steps", self.steps, "Give at least 1")
        require(self.batch >= 2, f"{asked} with images a step", self.batch, "Give at least 2")
        require(self.rate > 0, f"{asked} with the rate", self.rate, "Give more than 0")
        require(
            0 < self.warm_up < 1, f"{asked} with the warm-up", self.warm_up, "Give a share between 0 and 1"
        )
        least = min(self.checkpoint, self.look, self.held_out, self.patience, self.weight_decay)
        require(least >= 0, f"{asked} with a negative number", least, "Give 0 or more")
        require(
            not self.look or self.held_out > 0,
            f"{asked} that looks at held-out images",
            f"{self.held_out} of them",
            "Give held_out as well",
        )
        require(
            self.precision in ("auto", "fp32", "bf16", "fp16"), asked, repr(self.precision), "Choose auto"
        )
        require(self.criterion in ("ad_ic", "road"), asked, repr(self.criterion), "Choose ad_ic or road")

    def to_json(self) -> Json:
        """Return the fields as plain JSON."""
        return asdict(self)

    def at(self, step: int) -> tuple[float, float]:
        """Return (learning rate, first beta) of a step, counted from 0.

        One cycle (Smith and Topin 2018, https://arxiv.org/abs/1708.07120) as `torch.optim.lr_scheduler` has
        it: the rate rises from a 25th, falls to a 250,000th along cosines; beta goes 0.95, 0.85, 0.95.
        """
        top = max(self.warm_up * self.steps - 1, 0.0)
        if step <= top:
            share = step / top if top else 1.0
            return _cosine(self.rate / 25, self.rate, share), _cosine(0.95, 0.85, share)
        share = (step - top) / max(self.steps - 1 - top, 1e-12)
        return _cosine(self.rate, self.rate / 25 / 1e4, share), _cosine(0.85, 0.95, share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
