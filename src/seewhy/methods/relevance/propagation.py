"""Follow relevance through a network: one forward pass that is read, then as many backward passes as wanted.

The room's one entrance: LRP asks for the relevance of the pixels; whoever wants that of layers, or wants to
let relevance pass some channels only, names the layers and gives masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.frozen import LengthsFixed
from seewhy.methods.relevance.operations import Followed
from seewhy.methods.relevance.passing import Landing, carried
from seewhy.models.attention import reading
from seewhy.models.outputs import Answer
from seewhy.question import Question
from seewhy.targets import BoundTarget
from seewhy.types import Batch, Rows, Scores

Gate: TypeAlias = Callable[[Tensor], Tensor]
"""From the gradient that carries the relevance of a layer's output to that of what may go on."""

_SAME = 1e-3
"""Largest difference from the plain pass, as a part of the answer's largest magnitude."""


@dataclass(frozen=True)
class Relevance:
    """Relevance of the input `(n, c, *size)` and of layers' outputs, each shaped like what it is of."""

    pixels: Tensor
    layers: dict[str, Tensor]


@dataclass(frozen=True)
class Trace:
    """A pass that was followed; relevance can be sent back through it more than once.

    Parameters
    ----------
    x
        `(n, c, *size)` the inputs, a leaf.
    scores
        `(n,)` what is explained.
    layers
        Outputs of the layers that were asked for, by name.
    landing
        Where rules of first layers put out.
    answer
        What the pass answered.
    attention
        Attention weights of the pass in order, as `models.attention.reading` has them, if asked for.
    """

    x: Batch
    scores: Scores
    layers: dict[str, Tensor]
    landing: Landing
    answer: Answer
    attention: list[Tensor] = field(default_factory=list)

    def from_slopes(self, target: BoundTarget, rows: Rows, *, unsigned: bool = False) -> Trace:
        """Return the same pass with relevance that starts as slopes: 1 at a class' logit, whatever that is.

        The relevance of what a target reads of the answer is then the gradient of the score with respect to
        it, instead of that times its value. Where a value is 0 nothing can start.

        Parameters
        ----------
        target, rows
            The target, and the sample of each row of the pass.
        unsigned
            Start with magnitudes.
        """
        read = [self.answer.output, *(self.answer.activations[layer] for layer in target.layers)]
        plain = target(self.answer, rows)
        slopes: Sequence[Tensor | None] = [None]
        if plain.requires_grad:
            slopes = torch.autograd.grad(plain.sum(), read, retain_graph=True, allow_unused=True)
        if all(slope is None for slope in slopes):
            raise _cut_off()
        with torch.enable_grad():
            parts = [
                (t * torch.where(t == 0, 0, (slope.abs() if unsigned else slope) / t).detach())
                for t, slope in zip(read, slopes, strict=True)
                if slope is not None
            ]
            return replace(self, scores=torch.stack([p.flatten(1).sum(1) for p in parts]).sum(0))

    def reach(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Send the scores back as far as some tensors of the pass; return the relevance of each, its shape.

        Raises
        ------
        DoesNotFit
            When the scores depend on none of them.
        """
        gradients: Sequence[Tensor | None] = [None]
        if self.scores.requires_grad:
            gradients = torch.autograd.grad(
                self.scores.sum(), list(tensors), retain_graph=True, allow_unused=True
            )
        if all(g is None for g in gradients):
            raise _cut_off()
        return [
            torch.zeros_like(t) if g is None else (t * g).detach()
            for t, g in zip(tensors, gradients, strict=True)
        ]

    def relevance(self, masks: Mapping[str, Tensor | Gate] | None = None) -> Relevance:
        """Send the scores back.

        Parameters
        ----------
        masks
            For some of the layers a factor of the relevance of their outputs, broadcast against them, or a
            gate: relevance goes on below the layer only where it is not 0. Layers above each other combine;
            what goes around a layer is not touched (see `through`).

        Raises
        ------
        DoesNotFit
            When the scores do not depend on the inputs, or the first layer's rule cannot reach them.
        """
        self.landing.found.clear()
        with ExitStack() as hooks:
            for name, mask in (masks or {}).items():
                gate = _times(mask) if isinstance(mask, Tensor) else mask
                hooks.callback(self.layers[name].register_hook(gate).remove)
            gradients: tuple[Tensor | None, ...] = (None,)
            if self.scores.requires_grad:
                gradients = torch.autograd.grad(
                    self.scores.sum(), (self.x, *self.layers.values()), retain_graph=True, allow_unused=True
                )
        if gradients[0] is None and not self.landing.found:
            raise _cut_off()
        others = [
            torch.zeros_like(a) if g is None else (a * g).detach()
            for a, g in zip(self.layers.values(), gradients[1:], strict=True)
        ]
        return Relevance(self._arrived(gradients[0]), dict(zip(self.layers, others, strict=True)))

    def slope(self, layer: str) -> Tensor:
        """Return the gradient that carries the relevance of a layer's output, as `through` can start with it.

        Raises
        ------
        DoesNotFit
            When the scores do not depend on the layer.
        """
        (gradient,) = self._behind(self.scores.sum(), None, (self.layers[layer],))
        if gradient is None:
            raise _cut_off()
        return gradient

    def through(self, gates: Mapping[str, Gate], start: Tensor | None = None) -> Relevance:
        """Send back only the relevance that goes through some layers, one after the other.

        What goes around them, in a residual branch, say, is left out: a pass starts anew at each.

        Parameters
        ----------
        gates
            For at least one layer what may go on behind it. Layers are passed in the order from the answer to
            the input, whatever their order here.
        start
            `slope` of the layer nearest the answer, where it is known.

        Returns
        -------
        Relevance
            Of the pixels, of the layers with gates behind their gate, and of those between the last gate and
            the input.

        Raises
        ------
        DoesNotFit
            When nothing leads from one of the layers to the next, or to the input.
        """
        order = [name for name in reversed(self.answer.activations) if name in gates]
        gradient = self.slope(order[0]) if start is None else start
        found: dict[str, Tensor] = {}
        for here, further in pairwise(order):
            gradient = gates[here](gradient)
            found[here] = (self.layers[here] * gradient).detach()
            gradient = self.onward(here, gradient, further)
        last = order[-1]
        gradient = gates[last](gradient)
        found[last] = (self.layers[last] * gradient).detach()
        self.landing.found.clear()
        others = {name: t for name, t in self.layers.items() if name not in found}
        pixels, *reached_others = self._behind(self.layers[last], gradient, (self.x, *others.values()))
        if pixels is None and not self.landing.found:
            raise _cut_off()
        for (name, t), g in zip(others.items(), reached_others, strict=True):
            if g is not None:
                found[name] = (t * g).detach()
        return Relevance(self._arrived(pixels), found)

    def onward(self, layer: str, gradient: Tensor, further: str) -> Tensor:
        """Return what a layer's gradient, as of `slope`, becomes at a layer further towards the input.

        Raises
        ------
        DoesNotFit
            When nothing leads from the one to the other.
        """
        (reached,) = self._behind(self.layers[layer], gradient, (self.layers[further],))
        if reached is None:
            raise DoesNotFit(
                f"Asked for relevance through {layer!r} and then {further!r}",
                "The one does not read the other: they lie beside each other",
                "Let relevance pass beside layers, too (bypass), or name one of them",
            )
        return reached

    def _behind(
        self, source: Tensor, gradient: Tensor | None, tensors: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        if not source.requires_grad:
            return (None,) * len(tensors)
        return torch.autograd.grad(source, tensors, gradient, retain_graph=True, allow_unused=True)

    def _arrived(self, gradient: Tensor | None) -> Tensor:
        """Return the pixels' relevance: what came by gradient and what rules of first layers put out."""
        pixels = torch.zeros_like(self.x) if gradient is None else (self.x * gradient).detach()
        for read, relevance in self.landing.found:
            found = carried(read.grad_fn, relevance, self.x)
            if isinstance(found, str):
                raise DoesNotFit(
                    "Asked for a first layer's rule of its own",
                    f"Between the input and the first layer the network does {found!r}",
                    "Choose a composite without one (epsilon, gamma, epsilon_plus)",
                )
            pixels = pixels + found
        return pixels


def _times(mask: Tensor) -> Gate:
    return lambda gradient: gradient * mask


def _cut_off() -> DoesNotFit:
    return DoesNotFit(
        "Asked to follow relevance from the score to the input",
        "The score does not depend on it through operations that have rules",
        "Choose a target before the last sigmoid, or a method that needs no gradient (rise)",
    )


def follow(
    question: Question,
    start: int,
    stop: int,
    composite: Composite,
    softmax: str,
    layers: Sequence[str] = (),
    *,
    attention: bool = False,
) -> Trace:
    """Run samples `start .. stop` forward, followed, with `layers` to read relevance at.

    `attention`: keep the attention weights to read relevance at, too.

    Raises
    ------
    DoesNotFit
        For an operation without a rule, with the layer that does it; when the network computes something
        else while it is followed.
    """
    module = question.model.module
    x = question.x[start:stop].detach().clone().requires_grad_()
    with torch.enable_grad():
        reader: AbstractContextManager[list[Tensor]] = reading() if attention else nullcontext([])
        with Followed(module, composite, softmax) as followed, reader as taken:
            answer = question.answer(x, layers, differentiable=bool(layers))
        with LengthsFixed():
            scores = question.target(answer, question.rows[start:stop])
    plain = question.output[start:stop]
    gap = (answer.output.detach() - plain).abs().max()
    if not bool(gap <= _SAME * plain.abs().max().clamp_min(1e-6)):
        raise DoesNotFit(
            f"Asked to follow relevance through {question.model.name}",
            f"Its answer is then off by {float(gap):.2g}: it reads tensors again that it overwrote",
            "Choose a method that needs plain gradients (gradient, integrated_gradients) or none (rise)",
        )
    tapped = {name: answer.activations[name] for name in layers}
    return Trace(x, scores, tapped, followed.landing, answer, taken)
