"""LRP rules: how a layer with weights hands the relevance of its outputs to its inputs.

A rule is given by its *denominator* n_j, a sum of contributions that is linear in some signals a_i (the
layer's inputs, usually). Relevance R_j goes to the inputs in the proportion of their contributions,

    R_i = sum over j of a_i (dn_j / da_i) R_j / n_j,

so that a rule is nothing but the formula of its n_j; `redistribute` does the rest by automatic
differentiation. Stabilised, n + eps sign(n) takes the place of n (the sign of 0 counts as plus).

Superscripts + and - in the comments are the positive and negative part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

Term: TypeAlias = tuple[Tensor | float, Tensor]
"""What part of each output's relevance, and its denominator, both shaped like the output or scalar."""

TINY = 1e-9
"""Stabiliser of the rules that have none of their own: it only guards against 0 / 0."""


@dataclass(eq=False)
class Weighted:
    """A layer `z = x * weight + bias`: a convolution, a transposed one or a product with a matrix.

    Parameters
    ----------
    run
        `(x, weight, bias or None)` to z; linear in x and in weight.
    weight, bias
        Its parameters; after `merge`, the equivalent ones of the layer with its batch norm.
    axis
        Axis of `weight` that holds the output channels.
    shares_bias
        Whether rules leave the bias out, so that its part of the relevance goes to the inputs, too.
    """

    run: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None
    axis: int
    shares_bias: bool = False

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return what the layer would put out with other parameters."""
        return self.run(x, weight, bias)

    def merge(self, scale: Tensor, shift: Tensor) -> None:
        """Take in what follows, `scale * z + shift` with one number an output channel."""
        shape = [1] * self.weight.ndim
        shape[self.axis] = -1
        self.weight = self.weight * scale.reshape(shape)
        self.bias = shift if self.bias is None else self.bias * scale + shift

    def counted(self) -> Weighted:
        """Return the layer as rules see it."""
        return replace(self, bias=None) if self.shares_bias else self

    def bias_part(self, part: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Return `part(bias)`, None without one."""
        return None if self.bias is None else part(self.bias)


class Rule(ABC):
    """How relevance goes from the outputs of a weighted layer to its inputs."""

    stabiliser: float = TINY
    first_only: ClassVar[bool] = False
    """Whether it gives relevance also where the input is 0, so that only the first layer can have it."""

    def signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the contributions are linear in; the inputs, unless the rule says otherwise."""
        return (x,)

    @abstractmethod
    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """Yield parts of the relevance with their denominators."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """n = sum_i x_i w_ij + b_j, stabilised by `stabiliser`; 0 is LRP-0."""

    stabiliser: float = 1e-6

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x,) = signals
        yield 1.0, layer(x, layer.weight, layer.bias)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """alpha of the relevance by positive contributions, minus beta = alpha - 1 by negative ones.

    Positive: n = x+ w+ + x- w- + b+;  negative: n = x+ w- + x- w+ + b-.
    """

    alpha: float = 2.0

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x,), w = signals, layer.weight
        yield self.alpha, _split(layer, x, _positive(w), _negative(w), layer.bias_part(_positive))
        if self.alpha != 1:
            n = _split(layer, x, _negative(w), _positive(w), layer.bias_part(_negative))
            yield 1 - self.alpha, n


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """n = x+ w+ + x- w- + b+: relevance by positive contributions only."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Excitation(Rule):
    """n = x+ w+ + x- w-, or with -w for w (`dual`): the z+ rule without biases."""

    dual: bool = False

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x,), w = signals, -layer.weight if self.dual else layer.weight
        yield 1.0, _split(layer, x, _positive(w), _negative(w), None)


@dataclass(frozen=True)
class OwnSign(Rule):
    """Contributions of the output's own sign, without biases.

    z > 0: n = x+ w+ + x- w-;  z < 0: n = x+ w- + x- w+.
    """

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x,), w = signals, layer.weight
        with torch.no_grad():
            z = layer(x, w, layer.bias)
        yield (z > 0).to(z), _split(layer, x, _positive(w), _negative(w), None)
        if bool((z < 0).any()):
            yield (z < 0).to(z), _split(layer, x, _negative(w), _positive(w), None)


@dataclass(frozen=True)
class Gamma(Rule):
    """Contributions of the output's own sign count 1 + gamma times.

    z > 0: n = x+ (w + gamma w+) + x- (w + gamma w-) + b + gamma b+;
    z < 0: n = x+ (w + gamma w-) + x- (w + gamma w+) + b + gamma b-.
    """

    gamma: float = 0.25

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x,), w, g = signals, layer.weight, self.gamma
        for part, other, side in ((_positive, _negative, 1), (_negative, _positive, -1)):
            bias = layer.bias_part(lambda b, part=part: b + g * part(b))  # type: ignore[misc]
            n = _split(layer, x, w + g * part(w), w + g * other(w), bias)
            with torch.no_grad():
                z = layer(x, w, layer.bias)
            yield (side * z > 0).to(z), n


@dataclass(frozen=True)
class Flat(Rule):
    """n = number of inputs in reach: relevance spreads evenly over the receptive field."""

    first_only: ClassVar[bool] = True

    def signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return ones."""
        return (torch.ones_like(x),)

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (ones,) = signals
        yield 1.0, layer(ones, torch.ones_like(layer.weight))


@dataclass(frozen=True)
class WSquare(Flat):
    """n = sum_i w_ij^2: relevance by the weights alone."""

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (ones,) = signals
        yield 1.0, layer(ones, layer.weight.square())


@dataclass(frozen=True, eq=False)
class ZBox(Rule):
    """n = sum_i x_i w_ij - low_i w+_ij - high_i w-_ij, for inputs between `low` and `high`.

    Both `(1 or n, c, 1, 1)`, broadcast against the input.
    """

    low: Tensor
    high: Tensor
    first_only: ClassVar[bool] = True

    def signals(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the inputs and their bounds."""
        return x, self.low.to(x).expand_as(x), self.high.to(x).expand_as(x)

    def terms(self, layer: Weighted, *signals: Tensor) -> Iterator[Term]:
        """See `Rule.terms`."""
        (x, low, high), w = signals, layer.weight
        yield 1.0, layer(x, w) - layer(low, _positive(w)) - layer(high, _negative(w))


def redistribute(rule: Rule, layer: Weighted, x: Tensor, relevance: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each signal a of the rule with its q, such that the inputs' relevance is the sum of a q.

    Parameters
    ----------
    rule, layer
        The rule and the layer.
    x
        `(n, ...)` the layer's input.
    relevance
        Shaped like the layer's output.
    """
    with torch.enable_grad():
        layer, signals = layer.counted(), [s.detach().requires_grad_() for s in rule.signals(x)]
        numbers = []
        for part, n in rule.terms(layer, *signals):
            ratio = part * relevance / _stabilised(n.detach(), rule.stabiliser)
            numbers.append((n * ratio).sum())
        quotients = torch.autograd.grad(torch.stack(numbers).sum(), signals)
    return [(s.detach(), q) for s, q in zip(signals, quotients, strict=True)]


def _split(layer: Weighted, x: Tensor, up: Tensor, down: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x+ up + x- down + bias`."""
    n = layer(_positive(x), up, bias)
    # Behind a ReLU there is no negative part, and half of the work is saved.
    return n + layer(_negative(x), down) if bool((x < 0).any()) else n


def _positive(t: Tensor) -> Tensor:
    return t.clamp(min=0)


def _negative(t: Tensor) -> Tensor:
    return t.clamp(max=0)


def _stabilised(n: Tensor, eps: float) -> Tensor:
    moved = n + torch.where(n < 0, -eps, torch.full_like(n, eps))
    return torch.where(moved == 0, torch.ones_like(moved), moved)  # LRP-0 at 0: contributions are 0, too
