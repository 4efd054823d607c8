"""Sensitivity-n: whether the map's sum over any n features foretells what removing them costs.

Random subsets of n features are removed together; what the score loses is correlated, over the subsets,
with what the map says of them in sum. A map of exact contributions to a linear score correlates perfectly
at every n. Few features at once test single values, many test how the map adds up. It rates a map as
contributions: one whose unit or offset has no meaning is judged by its differences alone.

Formula
    mean over the n of Pearson's correlation, over `subsets` random subsets T of n features, of sum over T of
    the map and f(x) - f(x without T); `sizes` values of n from 1 to 0.8 of the features, evenly in their
    logarithm. A feature is a patch of `patch` pixels an axis, all channels together.
Needs
    maps at input resolution, a forward pass.
Cost
    `sizes` x `subsets` forward passes.
Paper
    Ancona, Ceolini, Oeztireli, Gross: Towards better understanding of gradient-based attribution methods for
    deep neural networks, ICLR 2018, https://arxiv.org/abs/1711.06104
Departures
    The paper draws the curve over n; the number here is its mean, and the curve is kept. Removed features
    become the mean colour (`operator`). Subsets are drawn from the seed, the same for all samples and
    maps. An n at which a map's sums, or the score's losses, are all the same has no correlation and
    counts 0, and the notes say how many had none. A constant map and one that is not finite are
    undefined. Logits by default, which are what contributions add up to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.operators import operator
from seewhy.perturb.patches import patch_count, patch_grid, patch_sums
from seewhy.perturb.scorer import Scorer
from seewhy.perturb.subsets import SubsetEdits
from seewhy.question import Question
from seewhy.types import Maps, ScoreKind, Size


@METRICS.register
@dataclass(frozen=True)
class SensitivityN(Metric):
    """Correlation of the map's sums with the losses of removing as many features; higher is better.

    Parameters
    ----------
    sizes
        At most so many values of n.
    subsets
        Random subsets for each; at least 3.
    patch
        Side of a feature in pixels; 1 removes single pixels.
    operator
        What removed features become, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "sensitivity_n"
    title: ClassVar[str] = "Sensitivity-n"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    prefers: ClassVar[ScoreKind] = "logit"
    along: ClassVar[str] = "fraction of the features removed"
    up: ClassVar[str] = "correlation"
    summary: ClassVar[str] = "mean"
    paper: ClassVar[Paper] = Paper(
        "Towards better understanding of gradient-based attribution methods for deep neural networks",
        "Ancona, Ceolini, Oeztireli, Gross",
        2018,
        "https://arxiv.org/abs/1711.06104",
    )

    sizes: int = 8
    subsets: int = 100
    patch: int = 1
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(self.sizes >= 1, "Asked for sizes of subsets", self.sizes, "Give at least 1")
        require(self.subsets >= 3, "Asked to correlate over subsets", self.subsets, "Give at least 3")
        require(self.patch >= 1, "Asked for features of some side", self.patch, "Give at least 1")
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        size, seed = tuple(maps.shape[1:]), question.execution.seed
        numbers = self.features(size)
        fill = operator(self.operator).behind(question)
        edits = SubsetEdits(numbers, self.subsets, patch_grid(size, self.patch), self.patch, fill, seed)
        scorer = Scorer(question, "sensitivity-n")
        scores = scorer.table(edits).double()
        contributions = patch_sums(known.maps, self.patch).flatten(1).double()
        sums = torch.empty_like(scores)
        for start in range(0, edits.count, 32):
            which = torch.arange(start, min(start + 32, edits.count), device=scores.device)
            sums[:, which] = contributions @ edits.members(which).flatten(1).double().T
        shape = (len(scores), len(numbers), self.subsets)
        found, missing = _correlation(sums.reshape(shape), -scores.reshape(shape))
        places = patch_count(size, self.patch)
        at = torch.tensor(numbers, device=scores.device).float() / places
        notes = {"undefined": known.why, "n": numbers, "without correlation": missing.sum(1).tolist()}
        return Scored(known.defined(found.mean(1)), found.float(), at, {**notes, **scorer.notes()})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(len(self.features(size)) * self.subsets)

    def features(self, size: Size) -> list[int]:
        """Return the values of n for inputs of `size`, rising: 1 to 0.8 of the features, rounded."""
        last = max(1.0, 0.8 * patch_count(size, self.patch))
        spread = [last ** (i / max(self.sizes - 1, 1)) for i in range(self.sizes)]
        return sorted({int(n + 0.5) for n in spread})


def _correlation(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return Pearson's correlation over the last axis, and where there is none: 0, one is constant."""
    missing = (a == a[..., :1]).all(-1) | (b == b[..., :1]).all(-1)
    a, b = (v - v.mean(-1, keepdim=True) for v in (a, b))
    norm = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    missing |= norm == 0
    return ((a * b).sum(-1) / norm.where(~missing, norm.new_ones(()))).masked_fill(missing, 0), missing
