"""Follow relevance through a network: one forward pass that is read, then as many backward passes as wanted.

The room's one entrance: LRP asks for the relevance of the pixels; whoever wants that of layers, or wants to
let relevance pass some channels only, names the layers and gives masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.frozen import LengthsFixed
from seewhy.methods.relevance.operations import Followed
from seewhy.methods.relevance.passing import Landing, carried
from seewhy.question import Question
from seewhy.types import Batch, Scores

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
    """

    x: Batch
    scores: Scores
    layers: dict[str, Tensor]
    landing: Landing

    def relevance(self, masks: Mapping[str, Tensor] | None = None) -> Relevance:
        """Send the scores back.

        Parameters
        ----------
        masks
            For some of the layers a factor of the relevance of their outputs, broadcast against them:
            relevance goes on below the layer only where it is not 0. Layers above each other combine.

        Raises
        ------
        DoesNotFit
            When the scores do not depend on the inputs, or the first layer's rule cannot reach them.
        """
        self.landing.found.clear()
        with ExitStack() as hooks:
            for name, mask in (masks or {}).items():
                handle = self.layers[name].register_hook(lambda g, mask=mask: g * mask)
                hooks.callback(handle.remove)
            gradients: tuple[Tensor | None, ...] = (None,)
            if self.scores.requires_grad:
                gradients = torch.autograd.grad(
                    self.scores.sum(), (self.x, *self.layers.values()), retain_graph=True, allow_unused=True
                )
        if gradients[0] is None and not self.landing.found:
            raise DoesNotFit(
                "Asked to follow relevance from the score to the input",
                "The score does not depend on it through operations that have rules",
                "Choose a target before the last sigmoid, or a method that needs no gradient (rise)",
            )
        pixels, *others = (
            torch.zeros_like(a) if g is None else (a * g).detach()
            for a, g in zip((self.x, *self.layers.values()), gradients, strict=True)
        )
        for read, relevance in self.landing.found:
            found = carried(read.grad_fn, relevance, self.x)
            if isinstance(found, str):
                raise DoesNotFit(
                    "Asked for a first layer's rule of its own",
                    f"Between the input and the first layer the network does {found!r}",
                    "Choose a composite without one (epsilon, gamma, epsilon_plus)",
                )
            pixels = pixels + found
        return Relevance(pixels, dict(zip(self.layers, others, strict=True)))


def follow(
    question: Question, start: int, stop: int, composite: Composite, softmax: str, layers: Sequence[str] = ()
) -> Trace:
    """Run samples `start .. stop` forward, followed, with `layers` to read relevance at.

    Raises
    ------
    DoesNotFit
        For an operation without a rule, with the layer that does it; when the network computes something
        else while it is followed.
    """
    module = question.model.module
    x = question.x[start:stop].detach().clone().requires_grad_()
    with torch.enable_grad():
        with Followed(module, composite, softmax) as followed:
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
    return Trace(x, scores, {name: answer.activations[name] for name in layers}, followed.landing)
