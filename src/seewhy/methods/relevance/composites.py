"""Composites: which rule a layer gets, by what it is and whether it is the first.

The published combinations by name: the first layer reads pixels, which have no natural zero; lower layers
are convolutions with many overlapping features, where relevance is best kept positive; the last ones are
products with matrices, where the plain rule is most specific.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from seewhy.methods.relevance.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, ZPlus
from seewhy.models.preprocessing import Preprocessing

RuleName = Literal["epsilon", "gamma", "z_plus", "alpha_beta", "flat", "w_square", "z_box"]
CompositeName = Literal[
    "epsilon",
    "gamma",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_gamma_box",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
]

Sums = Literal["proportional", "own_sign", "balanced"]
Norms = Literal["linear", "passed"]

COMPOSITES: dict[CompositeName, tuple[RuleName | None, RuleName, RuleName]] = {
    "epsilon": (None, "epsilon", "epsilon"),
    "gamma": (None, "gamma", "gamma"),
    "epsilon_plus": (None, "z_plus", "epsilon"),
    "epsilon_plus_flat": ("flat", "z_plus", "epsilon"),
    "epsilon_gamma_box": ("z_box", "gamma", "epsilon"),
    "epsilon_alpha2_beta1": (None, "alpha_beta", "epsilon"),
    "epsilon_alpha2_beta1_flat": ("flat", "alpha_beta", "epsilon"),
}
"""Composite to the rules of the first layer (None: by its kind), of convolutions, of matrices."""

Box: TypeAlias = tuple[Tensor, Tensor]
"""Lowest and highest values of the input."""

FIRST_ONLY: tuple[RuleName, ...] = ("flat", "w_square", "z_box")


@dataclass(frozen=True)
class Composite:
    """Rules for the first layer (None: by its kind), for convolutions and for matrices.

    Parameters
    ----------
    first, convolution, linear
        The rules.
    share_biases
        Whether biases hand their part of the relevance to the inputs instead of keeping it.
    sums
        How two summands share: "proportional" to their values; in that proportion, but only where they have
        the "own_sign" of the sum; or "balanced", proportional with the totals of a sample set right after.
    norms
        Layer norm and its like are "linear" with a fixed scale, or relevance is "passed" by them unchanged.
    """

    first: Rule | None
    convolution: Rule
    linear: Rule
    share_biases: bool = False
    sums: Sums = "proportional"
    norms: Norms = "linear"

    def rule(self, *, first: bool, convolution: bool) -> Rule:
        """Return the rule of a layer."""
        if first and self.first is not None:
            return self.first
        return self.convolution if convolution else self.linear


def rule_named(name: RuleName, *, epsilon: float, gamma: float, alpha: float, box: Box) -> Rule:
    """Return the rule of that name with its parameters."""
    match name:
        case "epsilon":
            return Epsilon(epsilon)
        case "gamma":
            return Gamma(gamma)
        case "z_plus":
            return ZPlus()
        case "alpha_beta":
            return AlphaBeta(alpha)
        case "flat":
            return Flat()
        case "w_square":
            return WSquare()
        case "z_box":
            return ZBox(*box)


def box_of(x: Tensor, preprocess: Preprocessing | None) -> Box:
    """Return the lowest and highest values that inputs can take, `(1 or n, c or 1, 1, ...)` each.

    Black and white after normalisation; without a known normalisation, each sample's own extremes.
    """
    if preprocess is not None:
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, std = (torch.tensor(v).to(x).reshape(shape) for v in (preprocess.mean, preprocess.std))
        return (0 - mean) / std, (255 * preprocess.scale - mean) / std
    shape = (-1, *[1] * (x.ndim - 1))
    return x.flatten(1).amin(1).reshape(shape), x.flatten(1).amax(1).reshape(shape)
