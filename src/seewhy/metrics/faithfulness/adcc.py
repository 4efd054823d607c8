"""ADCC: average drop, coherency and complexity in one number.

Each of the three alone has a useless optimum: a map that covers everything loses nothing, an empty one is
simple, one that knows nothing of the input never changes. Their harmonic mean is high only where a small map
keeps the class, and explaining the masked input gives the same map again.

Formula
    3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)), 0 where a denominator is 0. S the map scaled to 0 .. 1 by
    its lowest and highest value; Coh = (r + 1) / 2, r Pearson's correlation of S and of the map of the
    same method for the same class on the masked input x S; Com the mean of S; AD = max(0, p(x) - p(x S)) /
    p(x). All three are in the notes. `keep` below 100 cuts S as in average drop.
Needs
    the method that made the map (rebuilt from what the attribution remembers), a forward pass.
Cost
    2 forward passes, and a second map.
Paper
    Poppi, Cornia, Baraldi, Cucchiara: Revisiting the Evaluation of Class Activation Mapping for
    Explainability, CVPR workshops 2021, https://arxiv.org/abs/2104.10252
Departures
    From 0 to 1, where tables print per cent. The mean over samples is that of the samples' numbers, as in the
    authors' code; the harmonic mean of the means is in the notes, too. The class is the explained one
    throughout. What is masked becomes the mean colour (`operator`). A second map that is constant or not
    finite has nothing in common with the first: Coh is 0. A first map that is such, or a score not above 0,
    is undefined. Baselines are made again of the masked input as well: noise and the centre stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.agreement import Agreement
from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.soft_mask import (
    behind_masks,
    drop,
    reasons,
    require_share,
    soft_mask,
)
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import maker
from seewhy.perturb.edits import compose
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class ADCC(Metric):
    """Harmonic mean of coherency, simplicity and what is kept of the probability; higher is better.

    Parameters
    ----------
    keep
        Per cent of the pixels, the highest ones, that are seen at all; above 0, at most 100.
    operator
        What is masked becomes, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "adcc"
    title: ClassVar[str] = "ADCC"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "Revisiting the Evaluation of Class Activation Mapping for Explainability",
        "Poppi, Cornia, Baraldi, Cucchiara",
        2021,
        "https://arxiv.org/abs/2104.10252",
    )

    keep: float = 100.0
    operator: str = "mean"

    def __post_init__(self) -> None:
        require_share(self.keep)
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known = maker(question, "ADCC"), usable(question, maps)
        mask = soft_mask(known, self.keep)
        whole, masked, notes = behind_masks(question, mask, self.operator, "ADCC")
        lost = drop(whole, masked)
        fill = operator(self.operator).behind(question)
        hidden = compose(question.x, mask[:, None].to(question.x), fill)
        second = again(question.model, hidden).to(known.maps)
        alike = (Agreement.of(mask, second).pearson.double().nan_to_num(-1) + 1) / 2
        area = mask.flatten(1).double().mean(1)
        values = known.defined(harmonic_mean(alike, 1 - area, 1 - lost))
        means = [m.nanmean() for m in (alike, 1 - area, 1 - lost)]
        of_means = float(harmonic_mean(*means))
        return Scored(
            values,
            notes={
                "undefined": reasons(known, whole),
                "coherency": plain(known.defined(alike)),
                "complexity": plain(known.defined(area)),
                "average drop": plain(known.defined(lost)),
                "of the means": None if of_means != of_means else of_means,
                **notes,
            },
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)


def harmonic_mean(*parts: Tensor) -> Tensor:
    """Return the harmonic mean of numbers that are not negative; 0 where one is 0, NaN where one is NaN."""
    return len(parts) / sum((1 / part.clamp_min(0) for part in parts), start=torch.zeros_like(parts[0]))


def plain(numbers: Tensor) -> list[float | None]:
    """Return a list with None for NaN, which JSON does not know."""
    return [None if v != v else v for v in numbers.tolist()]
