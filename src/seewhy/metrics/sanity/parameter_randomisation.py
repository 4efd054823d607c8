"""Parameter randomisation: how much of a map is left when the model forgets what it learned.

A map explains a model, so it must change when the model does. Here the network's weights are shuffled layer
by layer, from the answer down to the input, the map is made again after each stage, and compared with the
first one. A map that stays the same is a picture of the input (an edge drawing, say) and explains nothing. A
map that changes has passed a necessary test; whether it is right, it has not said. The baselines, which know
no model, score 1.

Formula
    mean over stages s of the similarity of m_0 and m_s: m_0 the map that is scored, m_s the map of the same
    method, parameters, seed and class on the network of stage s. Similarity is Spearman's rank correlation of
    absolute values ("absolute"), of the values as they are ("signed"), or the structural similarity of
    absolute values scaled to 0 .. 1 ("ssim"), at input resolution. Unsigned maps have one correlation. All
    three are kept for every stage in the notes, whichever is the number.
    "cascading": stage s has the top layers shuffled, 1 at first, all in the end; "independent": one layer;
    "all": one stage, all layers.
Needs
    the method that made the map (rebuilt from what the attribution remembers) and a network in PyTorch.
Cost
    `steps` + 1 maps: one more is made on an unchanged copy. It is the curve's first point and not in the
    mean: below 1, the rest is noise of the map itself (an input that was rounded when it was stored, say).
Paper
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps, 2018,
    https://arxiv.org/abs/1810.03292
Departures
    The paper draws weights from the initialiser. Weights here change places within each tensor, by an order
    that follows from the seed and the layer: the initialisers of PyTorch let the signal of deep networks die
    (EfficientNet-Lite0's answers to five photos then differ by 2e-9 in all, and every map is rounding noise),
    and many parameters have none. Scale, shift and running statistics of one batch norm move together. What
    is the same everywhere in a tensor stays. A layer is a module with parameters of its own, in order of
    its first call; more layers than `steps` change in groups of even size, the top one by itself at
    first. A map that has become constant has nothing in common with any: correlation 0. Structural similarity
    favours maps that are nearly empty; sides shorter than 11 have none. A constant map to begin with is
    undefined. Encoders are asked for the similarity to the embedding of the network that is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.repeats import Similarity, compared, maker
from seewhy.metrics.sanity.shuffling import Shuffled
from seewhy.question import Question
from seewhy.types import Json, Maps, Scores, Size

Mode = Literal["cascading", "independent", "all"]


@METRICS.register
@dataclass(frozen=True)
class ParameterRandomisation(Metric):
    """Similarity of a map to those of the same network with its weights shuffled; lower is better.

    Parameters
    ----------
    mode
        "cascading" from the top layer to the bottom, "independent" for one layer at a time, or "all" at once.
    steps
        At most so many stages.
    similarity
        The number: rank correlation of "absolute" or "signed" values, or "ssim".
    """

    name: ClassVar[str] = "parameter_randomisation"
    title: ClassVar[str] = "Parameter randomisation"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    along: ClassVar[str] = "fraction of the layers, from the top"
    up: ClassVar[str] = "similarity to the map"
    summary: ClassVar[str] = "mean"
    paper: ClassVar[Paper] = Paper(
        "Sanity Checks for Saliency Maps",
        "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
        2018,
        "https://arxiv.org/abs/1810.03292",
    )

    mode: Mode = "cascading"
    steps: int = 8
    similarity: Similarity = "absolute"

    def __post_init__(self) -> None:
        require(
            self.mode in ("cascading", "independent", "all"),
            "Asked which layers to randomise",
            repr(self.mode),
            "Choose cascading, independent or all",
        )
        require(self.steps >= 1, "Asked for stages of parameter randomisation", self.steps, "Give at least 1")
        require(
            self.similarity in ("absolute", "signed", "ssim"),
            "Asked for a similarity of maps",
            repr(self.similarity),
            "Choose absolute, signed or ssim",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again = maker(question, "parameter randomisation")
        network = Shuffled.of(question.model, question.x[:1], question.execution.seed)
        stages = self.stages(len(network.layers))
        found: list[dict[str, Scores]] = []
        for i, which in enumerate([(), *stages]):
            question.execution.step(i, len(stages) + 1, self.title)
            network.shuffle(which)
            found.append(compared(maps, again(network.model)))
        question.execution.step(len(stages) + 1, len(stages) + 1, self.title)
        tables = {kind: torch.stack([each[kind] for each in found], 1) for kind in found[0]}
        curve = tables[self.similarity]
        depths = [max(len(network.layers) - which[0], 0) / len(network.layers) for which in stages]
        return Scored(
            curve[:, 1:].mean(1), curve, torch.tensor([0.0, *depths]), self._notes(network, stages, tables)
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)

    def stages(self, layers: int) -> list[tuple[int, ...]]:
        """Return the places of the layers that each stage shuffles, the lowest first, of so many layers."""
        if self.mode == "all" or self.steps == 1:
            return [tuple(range(layers))]
        spread = torch.linspace(1, layers, min(self.steps, layers), dtype=torch.float64)
        counts = [int(c + 0.5) for c in spread.tolist()]
        if self.mode == "independent":
            return [(layers - c,) for c in counts]
        return [tuple(range(layers - c, layers)) for c in counts]

    def _notes(self, network: Shuffled, stages: list[tuple[int, ...]], tables: dict[str, Tensor]) -> Json:
        per_sample = {kind: [_plain(row[1:]) for row in table] for kind, table in tables.items()}
        return {
            "stages": {str(i + 1): network.layers[which[0]] for i, which in enumerate(stages)},
            "layers": len(network.layers),
            "unchanged copy": _plain(tables[self.similarity][:, 0]),
            **per_sample,
        }


def _plain(numbers: Tensor) -> list[float | None]:
    """Return a list with None for NaN, which JSON does not know."""
    return [None if math.isnan(v) else v for v in numbers.tolist()]
