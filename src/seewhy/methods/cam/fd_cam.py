"""FD-CAM.

Channels of a late layer that answer at the same places belong together. For every channel, the group of
those most like it is kept alone and taken away: the score that the group reaches alone plus the fall of the
score without it says how faithful the channel is; its gradient says how much it tells classes apart. The
weight has both.

Formula
    With A_k the positive part of channel k: C_kl = cosine of A_k and A_l over the cells; group G_k = {l :
    C_kl > the `quantile` of row k}; s_k = f(only G_k on) + f - f(G_k off);  g_k = mean over cells of
    df/dA_k; b_k = exp(s'_k) g'_k - 0.5, with ' for scaling over the channels to 0 .. 1; map = relu(sum over
    k of b_k A_k) on the layer's grid, resized bilinearly.
Needs
    gradients, and a layer with a grid.
Cost
    one forward pass and one backward pass to the layer; two passes for each channel through the part of the
    network behind the layer (or behind the nearest layer before it that everything passes through; the
    result says which, as `resumed_from`). Where the score is linear in the layer (pooling and one linear
    layer, and a logit), all of those follow from the gradient, exactly: a few of them are run to see that
    it is so (`linear` in the result).
Paper
    Li, Li, Ma, Wu: FD-CAM: Improving Faithfulness and Discriminability of Visual Explanation for CNNs,
    2022, https://arxiv.org/abs/2206.08792.
Departures
    the positive part is taken since the paper means layers behind a ReLU; whole channels are switched.
    Channels that are positive nowhere take no part: they have no direction, and the scales are those of the
    others. Where all s_k or all g_k are equal, their scaled value is 1. The quantile of 0.95 is that of the
    authors' demonstration. Any layer will do, where their program asks for one kind of head. Class,
    register and distillation tokens stay. The map is not scaled. `relu=False` keeps evidence against the
    target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.methods.cam.switching import Gates, LayerQuestion, layer_question
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Size

_PROBES = 12
"""Switched groups whose scores are run to tell whether the score is linear in the layer."""
_LINEAR = 1e-4
"""Largest difference from the linear prediction, as a part of the scores' range."""


@METHODS.register
@dataclass(frozen=True)
class FDCAM(Method):
    """Channels of a layer weighted by switching groups of like channels, and by their gradients.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    quantile
        Part of the channels that is too unlike a channel to be in its group, 0 to below 1.
    shortcut
        Use the gradient where the score is linear in the layer. The result is the same, within rounding.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "fd_cam"
    title: ClassVar[str] = "FD-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "FD-CAM: Improving Faithfulness and Discriminability of Visual Explanation for CNNs",
        "Li, Li, Ma, Wu",
        2022,
        "https://arxiv.org/abs/2206.08792",
    )

    layer: str | None = None
    quantile: float = 0.95
    shortcut: bool = True
    relu: bool = True

    def __post_init__(self) -> None:
        require(
            0 <= self.quantile < 1,
            "Asked FD-CAM for a quantile",
            self.quantile,
            "Give a part of the channels, 0 to below 1",
        )

    @property
    def signed(self) -> bool:
        """True without the final ReLU."""
        return not self.relu

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(-1, 1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap = LayerMaps.of(question, self.layer)
        slope = tap.maps(lambda _, slope: slope, f"{self.title}: gradient")
        asked = layer_question(tap, f"{self.title}: activation")
        activation = tap.grid.read(asked.x).float()
        channels = activation.shape[1]
        positive = activation.relu()
        live = positive.flatten(2).any(2)
        groups = torch.stack([alike(a.flatten(1), self.quantile) for a in positive])  # (n, k, k)
        gates = torch.cat([groups, ~groups], 1)
        shares = (activation * slope).flatten(2).sum(2)  # what each channel adds to a linear score
        scores, linear = linear_scores(asked, tap, shares, gates)
        if not (self.shortcut and bool(linear.all())):
            run = asked.scorer(self.title).table(Gates(tap.grid, gates))
            scores = torch.where(linear[:, None] & self.shortcut, scores, run)
        alone, without = scores.split(channels, 1)
        faithful = scaled(alone + question.clean[:, None] - without, live)
        telling = scaled(slope.flatten(2).mean(2), live)
        weights = torch.where(live, faithful.exp() * telling - 0.5, 0)
        maps = weighted(weights, positive)
        notes = {**tap.notes, "channels": channels, "resumed_from": asked.anchor or None}
        yield Estimate(
            maps.relu() if self.relu else maps,
            done=channels,
            total=channels,
            notes=notes,
            reliability=tuple({"linear": bool(fact)} for fact in linear),
        )


def alike(rows: Tensor, quantile: float) -> Tensor:
    """Return `(k, k)`: for each of `(k, cells)` channels, whether each other one is in its group."""
    unit = normalize(rows.double(), dim=1, eps=torch.finfo(torch.float64).tiny)
    cosines = unit @ unit.T
    return cosines > cosines.quantile(quantile, dim=1, keepdim=True)


def scaled(values: Tensor, live: Tensor) -> Tensor:
    """Return `(n, k)` values scaled to 0 .. 1 over each sample's live channels; 1 where all are equal."""
    low = values.masked_fill(~live, torch.inf).amin(1, keepdim=True)
    span = values.masked_fill(~live, -torch.inf).amax(1, keepdim=True) - low
    return torch.where(live & (span > 0), (values - low) / torch.where(span > 0, span, 1), 1)


def linear_scores(
    asked: LayerQuestion, tap: LayerMaps, shares: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what a score that is linear in the channels would be, `(n, 2 k)`, and for which samples it is.

    Some gates are run, spread over all, and everything off; any that is off the line refutes it.
    """
    clean, count = asked.clean[:, None], gates.shape[1]
    predicted = clean - torch.einsum("njk,nk->nj", (~gates).float(), shares)
    at = torch.arange(_PROBES, device=gates.device) * (count - 1) // (_PROBES - 1)
    probes = torch.cat([gates[:, at], torch.zeros_like(gates[:, :1])], 1)
    expected = torch.cat([predicted[:, at], clean - shares.sum(1, keepdim=True)], 1)
    found = asked.scorer("probes for linearity").table(Gates(tap.grid, probes))
    low, high = torch.cat([found, clean], 1).aminmax(dim=1)
    return predicted, (found - expected).abs().amax(1) <= _LINEAR * (high - low)
