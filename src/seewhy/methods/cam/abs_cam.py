"""Abs-CAM.

Grad-CAM's mean lets positive and negative gradients of a channel cancel. Abs-CAM takes their magnitudes, so
that a channel to which the score is sensitive in either direction counts (stage "init"). A second stage
looks at the input through each weighted channel and weighs it once more by the score that is left (stage
"final").

Formula
    w_k = mean over cells of |df/dA_k|; A_k stands for its positive part below.

    init: map = sum over k of w_k A_k.

    final: M_k = A_k, enlarged linearly, scaled to 0 .. 1; s_k = f(M_k x + (1 - M_k) fill); y_k = relu(s_k -
    f(fill)) (`scores="increase"`) or |s_k| (`scores="absolute"`); map = sum over k of y_k B_k, with B_k =
    w_k A_k enlarged (`sums="weighted"`) or B_k = M_k (`sums="masks"`, where w_k plays no part since scaling
    M_k takes it away).
Needs
    gradients, and a layer with a grid.
Cost
    one forward pass and one backward pass to the layer; "final" adds a forward pass for each channel that
    is not constant, and one without evidence for "increase".
Paper
    Zeng et al.: Abs-CAM: A Gradient Optimization Interpretable Approach for Explanation of Convolutional
    Neural Networks, 2022, https://arxiv.org/abs/2207.03648.
Departures
    the paper's abstract says that the final map combines the initial map with the image linearly; we know
    no program of its authors, so that the second stage is a reading of it, and two sums and two scores are
    offered. Scores are logits in both stages. "absolute", the default, counts strong evidence against the
    class like evidence for it; "increase" does not, but is all zero where no channel alone raises the
    score. The map is not scaled. Magnitudes do not say whether a channel speaks for or against the class.
    The positive part of the channels is ours: behind a ReLU it is all there is, and elsewhere negative
    values would outweigh the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.cam.channel_masks import ChannelMasks, Nothing
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.models.model import Model
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Size

Stage = Literal["final", "init"]
Sums = Literal["weighted", "masks"]
Scoring = Literal["absolute", "increase"]


@METHODS.register
@dataclass(frozen=True)
class AbsCAM(Method):
    """Channels of a layer weighted by their mean absolute gradient, then by the score seen through them.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    stage
        "final", or "init" for the first stage alone (one pass).
    sums
        What "final" adds up: "weighted" channels or their "masks".
    scores
        What "final" weighs them with: the "absolute" score, or its "increase" over that of an input without
        evidence, where it rises.
    operator
        What hidden pixels become: "mean", "constant:LEVEL", "blur:PERCENT", "noise:DEVIATION".
    """

    name: ClassVar[str] = "abs_cam"
    title: ClassVar[str] = "Abs-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Abs-CAM: A Gradient Optimization Interpretable Approach for Explanation of CNNs",
        "Zeng, Yan, Wang, Yu, Xia, Zhao",
        2022,
        "https://arxiv.org/abs/2207.03648",
    )

    layer: str | None = None
    stage: Stage = "final"
    sums: Sums = "weighted"
    scores: Scoring = "absolute"
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(
            self.stage in ("final", "init"),
            "Asked Abs-CAM for a stage",
            repr(self.stage),
            "Choose final or init",
        )
        require(
            self.sums in ("weighted", "masks"),
            "Asked Abs-CAM what to add up",
            repr(self.sums),
            "Choose weighted or masks",
        )
        require(
            self.scores in ("increase", "absolute"),
            "Asked Abs-CAM for scores",
            repr(self.scores),
            "Choose absolute or increase",
        )
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1 if self.stage == "init" else -1, 1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap, size = LayerMaps.of(question, self.layer), tuple(question.x.shape[2:])
        # w_k A_k, channel by channel.
        channels = tap.maps(weighted_channels, self.title)
        if self.stage == "init":
            yield Estimate(channels.sum(1), notes=tap.notes)
            return
        fill = operator(self.operator).fill(question)
        edits = ChannelMasks(channels, size, fill)
        scorer = Scorer(question, self.title)
        table = scorer.table(edits)
        if self.scores == "increase":
            table = (table - scorer.table(Nothing(fill))).relu()
        scores = edits.spread(table.abs(), 0)
        maps = weighted(scores, edits.scaled if self.sums == "masks" else channels)
        notes = {**tap.notes, "channels": edits.count, **scorer.notes()}
        yield Estimate(maps, None, edits.count, edits.count, notes)


def weighted_channels(activation: Tensor, slope: Tensor) -> Tensor:
    """Return `(n, k, *cells)`: the positive part of every channel times its mean absolute gradient."""
    weights = slope.abs().flatten(2).mean(2)
    return activation.relu() * weights.reshape(*weights.shape, *[1] * (activation.ndim - 2))
