"""Concept relevance propagation: the part of a score that goes through chosen channels, and where it lies.

A channel of a trained network often stands for something (fur, stripes, a wheel). Relevance is propagated as
in LRP, but at the layers that conditions name it goes on only through the channels that they name. The map
says where the network saw what these channels stand for, as far as it counted for the target.

Formula
    R = LRP relevance of the layer's output, (channels, *cells); its gate keeps R_c of the named channels and
    drops the rest; propagation goes on from there. Several layers: one gate after the other, from the answer
    to the input. The map is the sum over the input's channels.
    The relevance of a channel is the sum of R_c over the cells.
    Written down: `LAYER: 17, 80` (either will do), `LAYER: 17; LAYER: 3` (both must be met), `LAYER: 17@3x5`
    (the unit in row 3, column 5), `LAYER: top 3` (for each sample the three most relevant channels).
Needs
    what LRP needs, and layers with channels: those with a grid, or vectors.
Cost
    that of LRP: two forward passes and one backward pass, whatever the number of conditions.
Additivity
    Maps of single channels add up to the map of all channels, since no rule depends on what relevance comes;
    that is LRP's own map if nothing goes around the layer. `passed` is the part of the score that is left
    behind the last gate, for each sample.
Paper
    Achtibat et al.: From attribution maps to human-understandable explanations through Concept Relevance
    Propagation, 2023, https://doi.org/10.1038/s42256-023-00711-8.
Patents
    The licence of the authors' own package grants no patent rights: ask before commercial use.
Departures
    without conditions, the most relevant channel of the default layer, for each sample its own (ours).
    A residual branch around a layer is left out, as in the authors' package by default; `bypass` keeps it.
    Rules and composites are LRP's: see there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum
from seewhy.methods.relevance.composites import CompositeName
from seewhy.methods.relevance.conditions import Place, Strongest, Units, conditional, parse
from seewhy.methods.relevance.lrp import LRP
from seewhy.methods.relevance.propagation import follow
from seewhy.models.layers import default_layer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json, Size


@METHODS.register
@dataclass(frozen=True)
class CRP(Method):
    """The part of the score that goes through chosen channels.

    Parameters
    ----------
    conditions
        Layers and their channels, "LAYER: 17, 80; LAYER: 3". Empty: "top" at the model's default layer.
    bypass
        Whether relevance that goes around a layer is kept, too.
    composite
        Rules by name, as in LRP; None takes LRP's choice for the model.
    epsilon
        Stabiliser of the epsilon rule, 0 or more.
    gamma
        How much more positive contributions count in the gamma rule, 0 or more.
    biases
        Biases of layers "keep" their part of the relevance, or "share" it out to the inputs.
    softmax
        Attention weights: "taylor" by their gradient, "constant" for relevance through values only.
    """

    name: ClassVar[str] = "crp"
    title: ClassVar[str] = "CRP"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    paper: ClassVar[Paper] = Paper(
        "From attribution maps to human-understandable explanations through Concept Relevance Propagation",
        "Achtibat, Dreyer, Eisenbraun, Bosse, Wiegand, Samek, Lapuschkin",
        2023,
        "https://doi.org/10.1038/s42256-023-00711-8",
    )

    conditions: str = ""
    bypass: bool = False
    composite: CompositeName | None = None
    epsilon: float = 1e-6
    gamma: float = 0.25
    biases: Literal["keep", "share"] = "keep"
    softmax: Literal["taylor", "constant"] = "taylor"

    def __post_init__(self) -> None:
        parse(self.conditions)
        self.propagation  # noqa: B018  refuses what LRP refuses

    @property
    def propagation(self) -> LRP:
        """LRP with the same rules."""
        return LRP(
            composite=self.composite,
            epsilon=self.epsilon,
            gamma=self.gamma,
            biases=self.biases,
            softmax=self.softmax,
        )

    @property
    def signed(self) -> bool:
        """Negative values spoke against the target."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return self.propagation.cost(size)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return self.propagation.unfit(model) or super().unfit(model)

    def asked(self, model: Model, input_shape: Size) -> dict[str, Units | Strongest]:
        """Return the conditions by layer, with the default filled in."""
        return parse(self.conditions) or {default_layer(model, input_shape).name: Strongest()}

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        model, shape = question.model, tuple(question.x.shape[1:])
        asked = self.asked(model, shape)
        passed: list[Json] = []
        channels: list[Json] = []

        def run(start: int, stop: int) -> Tensor:
            rules = self.propagation.rules(model, question.x[start:stop])
            trace = follow(question, start, stop, rules, self.softmax, list(asked))
            places = {name: Place.of(model, name, t, shape) for name, t in trace.layers.items()}
            found = conditional(trace, places, asked, bypass=self.bypass)
            question.passes.backward += stop - start
            totals = {name: places[name].totals(found.layers[name]) for name in asked}
            last = next(name for name in trace.answer.activations if name in asked)
            for i, score in enumerate(question.clean[start:stop].tolist()):
                passed.append({"passed": float(totals[last][i].sum()) / score if score else None})
                channels.append({name: _passing(c, totals[name][i]) for name, c in asked.items()})
            return channel_sum(found.pixels)

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(
            maps,
            notes={"composite": self.propagation.chosen(model), "channels": channels},
            reliability=tuple(passed),
        )


def _passing(condition: Units | Strongest, totals: Tensor) -> list[int]:
    """Return the channels that a condition let pass, given the `(channels,)` relevance behind it."""
    if isinstance(condition, Units):
        return list(condition.channels)
    return totals.abs().topk(min(condition.count, len(totals))).indices.tolist()
