"""Score-CAM.

Every channel of a late layer, enlarged to the size of the input, is a mask that shows the places it answers
to. A channel weighs as much as the score of the input seen through it. No gradients are needed, and so none
can mislead; there are as many forward passes as channels.

Formula
    With A_k the positive part of channel k, enlarged linearly, M_k = (A_k - min A_k) / (max A_k - min A_k)
    and s_k = f(M_k x + (1 - M_k) fill):

    official: map = relu(sum over k of p_k A_k), with A_k enlarged before the sum, p_k = s_k the
    probability.

    paper: map = relu(sum over k of w_k A_k), w = softmax over channels of the probabilities s_k less the
    probability of an empty input. (The softmax is the same with and without that difference.)

    library: as paper, with logits for probabilities, and masks enlarged so that the centres of the outer
    cells lie on the outer pixels.

    A target that states its score keeps it in all three.
Needs
    a layer with a grid.
Cost
    a forward pass for each channel that is not constant over the input, and one for the activation.
Paper
    Wang et al.: Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, 2020,
    https://arxiv.org/abs/1910.01279.
Departures
    the default is "official", what the authors' own program does. A softmax over hundreds of probabilities
    gives all channels nearly the same weight (at most e times another's), so that "paper" mostly shows the
    mean activation; with logits, few channels take all. The positive part is taken since the paper means
    layers behind a ReLU; others would sum to a negative map, all lost in the ReLU. Constant channels make
    no mask: they are left out. No map is scaled. Hidden pixels become the mean colour unless `operator`
    says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.cam.channel_masks import ChannelMasks
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.models.model import Model
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.resize import resize
from seewhy.types import ScoreKind, Size

Variant = Literal["official", "paper", "library"]


@METHODS.register
@dataclass(frozen=True)
class ScoreCAM(Method):
    """Channels of a layer weighted by the score of the input seen through them.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    variant
        "official", "paper" or "library": see the formulas above.
    operator
        What hidden pixels become: "mean", "constant:LEVEL", "blur:PERCENT", "noise:DEVIATION".
    """

    name: ClassVar[str] = "score_cam"
    title: ClassVar[str] = "Score-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
        2020,
        "https://arxiv.org/abs/1910.01279",
    )

    layer: str | None = None
    variant: Variant = "official"
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(
            self.variant in ("official", "paper", "library"),
            "Asked Score-CAM for a variant",
            repr(self.variant),
            "Choose official, paper or library",
        )
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    @property
    def score_kind(self) -> ScoreKind:
        """See `Method.score_kind`."""
        return "logit" if self.variant == "library" else "probability"

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(-1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap, size = LayerMaps.of(question, self.layer), tuple(question.x.shape[2:])
        activation = tap.activation(f"{self.title}: activation").relu()
        fill = operator(self.operator).fill(question)
        edits = ChannelMasks(activation, size, fill, corners=self.variant == "library")
        scorer = Scorer(question, self.title)
        table = scorer.table(edits)
        if self.variant == "official":
            maps = weighted(edits.spread(table, 0), activation)
            values = resize(maps, size).relu()
        else:
            weights = edits.spread(table, -torch.inf).softmax(1).nan_to_num(0)
            maps, values = weighted(weights, activation), None
        notes = {**tap.notes, "channels": edits.count, **scorer.notes()}
        yield Estimate(maps.relu(), values, edits.count, edits.count, notes)
