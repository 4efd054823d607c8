"""Max-sensitivity: how far the map moves when the input moves by less than anyone would see.

Noise within a small radius is added to the input and the map is made again, several times; the largest
relative change counts. A map that leaps is of little use, however faithful; one that never moves may know
nothing of the input, as the random and the centre baseline do, which score 0. Read it beside a metric of
faithfulness.

Formula
    max over `draws` noises d of |map(x + d) - map(x)| / |map(x)|, Euclidean norms over the pixels; each
    value of d is uniform in -`radius` .. `radius`, in units of the model's input.
Needs
    the method that made the map (rebuilt from what the attribution remembers).
Cost
    `draws` maps.
Paper
    Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (in)fidelity and sensitivity of explanations, NeurIPS
    2019, https://arxiv.org/abs/1901.09392
Departures
    The supremum is over random noises, as in the authors' code; every change is divided by the norm of
    the scored map once. Noise is drawn from the seed, the same for all samples and maps. Sampling methods
    draw the same masks or noises each time, so that only the input differs. A map that is 0 throughout,
    or not finite at first or made again, is undefined. The mean over the noises is in the notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import maker
from seewhy.perturb.counters import uniform
from seewhy.question import Question
from seewhy.types import Batch, Maps, Size


@METRICS.register
@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """Largest relative change of the map under small noise on the input; lower is better.

    Parameters
    ----------
    draws
        How many noises.
    radius
        Largest change of a value of the model's input.
    """

    name: ClassVar[str] = "max_sensitivity"
    title: ClassVar[str] = "Max-sensitivity"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "On the (in)fidelity and sensitivity of explanations",
        "Yeh, Hsieh, Suggala, Inouye, Ravikumar",
        2019,
        "https://arxiv.org/abs/1901.09392",
    )

    draws: int = 10
    radius: float = 0.02

    def __post_init__(self) -> None:
        require(self.draws >= 1, "Asked for noises on the input", self.draws, "Give at least 1")
        require(self.radius > 0, "Asked for a radius of the noise", self.radius, "Give more than 0")

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again = maker(question, "max-sensitivity")
        known = usable(question, maps)
        first = known.maps.flatten(1).double()
        norm = torch.linalg.vector_norm(first, dim=1)
        gaps = []
        for draw in range(self.draws):
            question.execution.step(draw, self.draws, "max-sensitivity")
            made = again(question.model, self.noisy(question, draw)).to(first.device)
            gaps.append(torch.linalg.vector_norm(made.flatten(1).double() - first, dim=1))
        question.execution.step(self.draws, self.draws, "max-sensitivity")
        ratios = torch.stack(gaps, 1) / norm.where(norm > 0, norm.new_ones(()))[:, None]
        left = ratios.isfinite().all(1)
        why = [
            "not finite" if not f else "zero" if n == 0 else None if whole else "not finite again"
            for f, n, whole in zip(known.finite.tolist(), norm.tolist(), left.tolist(), strict=True)
        ]
        undefined = torch.tensor([reason is not None for reason in why], device=first.device)
        values = ratios.amax(1).float().masked_fill(undefined, float("nan"))
        means = [None if w else m for w, m in zip(why, ratios.mean(1).tolist(), strict=True)]
        return Scored(values, notes={"undefined": why, "mean": means})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)

    def noisy(self, question: Question, draw: int) -> Batch:
        """Return the `(n, c, *size)` inputs under noise number `draw`."""
        x = question.x
        address = torch.tensor([draw], device=x.device)
        noise = uniform(question.execution.seed, address, x[0].numel()).reshape(1, *x.shape[1:])
        return x + self.radius * (2 * noise - 1).to(x)
