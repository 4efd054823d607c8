"""One followed pass of some inputs with layers to read relevance at: what this room's tools share.

Unlike a method's question, nothing is asked before: the target is bound to the answer of the followed pass
itself, so that relevance at all layers costs one forward and one backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seewhy import targets
from seewhy.errors import DoesNotFit, NotFinite
from seewhy.methods.relevance.conditions import Place
from seewhy.methods.relevance.frozen import LengthsFixed
from seewhy.methods.relevance.lrp import LRP
from seewhy.methods.relevance.operations import Followed
from seewhy.methods.relevance.propagation import Trace
from seewhy.models.model import Model
from seewhy.targets import BoundTarget, TargetLike
from seewhy.types import Batch

_SAME = 1e-3
"""Largest difference from the plain pass, as a part of the answer's largest magnitude."""


@dataclass(frozen=True)
class Traced:
    """A followed pass, where each layer's channels are, and the target as bound to its answer."""

    trace: Trace
    places: dict[str, Place]
    target: BoundTarget

    @property
    def layers(self) -> list[str]:
        """The layers in order of execution."""
        return [name for name in self.trace.answer.activations if name in self.places]


def traced(
    model: Model,
    x: Batch,
    target: TargetLike | Sequence[TargetLike],
    layers: Sequence[str],
    rules: LRP,
    *,
    pixels: bool = True,
    checked: bool = True,
) -> Traced:
    """Run inputs forward, followed. Inside `model.untouched()` only.

    Parameters
    ----------
    model, x, target
        As in `seewhy.question.ask`; `x` on the model's device, in its type.
    layers
        At least one layer to read relevance at.
    rules
        LRP with the rules to follow by.
    pixels
        Whether relevance will be sent as far as the pixels. Otherwise nothing before the first of the layers
        is followed: that part costs a plain pass.
    checked
        Whether to compare the answer with that of a plain pass, which costs one.

    Raises
    ------
    DoesNotFit
        For an operation without a rule; for a network that computes something else while it is followed.
    NotFinite
        When the answer holds NaN or infinity.
    """
    if reason := rules.unfit(model):
        raise DoesNotFit(f"Asked to follow relevance through {model.name}", f"It does not fit: {reason}")
    composite, shape = rules.rules(model, x), tuple(x.shape[1:])
    composite = composite if pixels else replace(composite, first=None)
    x = x.detach().clone().requires_grad_(pixels)
    wanted = tuple(dict.fromkeys((*layers, *targets.layers_of(target))))
    with torch.enable_grad():
        with Followed(model.module, composite, rules.softmax) as followed:
            answer = model.answer(x, wanted, differentiable=True)
        if not bool(answer.output.isfinite().all()):
            raise NotFinite(
                f"Asked {model.name} for its answer", "It holds NaN or infinity", "Check the input"
            )
        bound = targets.bind(target, model, answer, "logit")
        with LengthsFixed():
            scores = bound(answer, torch.arange(len(x), device=x.device))
    if checked:
        _same_answer(model, x.detach(), answer.output.detach())
    tapped = {name: answer.activations[name] for name in layers}
    places = {name: Place.of(model, name, t, shape) for name, t in tapped.items()}
    return Traced(Trace(x, scores, tapped, followed.landing, answer), places, bound)


def _same_answer(model: Model, x: Tensor, output: Tensor) -> None:
    with torch.no_grad():
        plain = model.answer(x).output
    gap = (output - plain).abs().max()
    if not bool(gap <= _SAME * plain.abs().max().clamp_min(1e-6)):
        raise DoesNotFit(
            f"Asked to follow relevance through {model.name}",
            f"Its answer is then off by {float(gap):.2g}: it reads tensors again that it overwrote",
            "Choose a network without such operations",
        )
