"""Switch channels of a layer off, and ask for the score.

What follows from the layer alone is all that has to run again. So the network is resumed behind the layer;
where something goes around it (the residual stream of a transformer, say), behind the nearest layer before
it that everything passes through; and where there is none, from the start.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.batching import default_batch_size
from seewhy.errors import DoesNotFit
from seewhy.methods.cam.layer_maps import LayerMaps
from seewhy.models import taps
from seewhy.models.grids import Grid
from seewhy.models.layers import survey
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.models.resume import RTOL, Resumption, resume_from
from seewhy.perturb.edits import Edits, Jobs
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Rows, Scores

_TRIES = 8
"""How many layers before the asked one are tried as a place to resume from."""
_RESUMED_VALUES = 1 << 22
"""Values of activations in one resumed batch."""


class Gates(Edits):
    """Edit `j` multiplies the channels of a layer with row `j` of `gates`; `x` is the layer's output.

    Parameters
    ----------
    grid
        How the output lies over the input.
    gates
        `(n, count, k)`, or `(1, count, k)` for gates that samples share; any type.
    """

    def __init__(self, grid: Grid, gates: Tensor) -> None:
        self.grid, self.gates = grid, gates

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self.gates.shape[1]

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        # Of one input a view does: writing its output down for every edit costs as much as the edits.
        output = x[jobs.rows] if len(x) > 1 else x.expand(len(jobs), *x.shape[1:])
        values = self.grid.read(output)
        gates = self.gates[jobs.rows if len(self.gates) > 1 else torch.zeros_like(jobs.rows), jobs.which]
        kept = values * gates.to(values).reshape(*gates.shape, *[1] * (values.ndim - 2))
        return self.grid.write(kept, like=output)


@dataclass(frozen=True)
class LayerQuestion(Question):
    """A question whose `x` is what a layer puts out: a score is the score with that output in its place.

    Parameters
    ----------
    pixels
        The inputs.
    layer
        Whose output `x` is.
    resumption
        The part of the network behind `anchor`; None where the whole network has to run.
    anchor
        Name of the layer that is resumed from; "" for none.
    base
        `(n, ...)`: what the anchor puts out on the inputs, where it is another layer.
    """

    whole: ClassVar[bool] = False

    pixels: Tensor = field(kw_only=True)
    layer: str = field(kw_only=True)
    resumption: Resumption | None = field(kw_only=True, default=None)
    anchor: str = field(kw_only=True, default="")
    base: Tensor | None = field(kw_only=True, default=None)

    def scores(self, x: Tensor, rows: Rows | None = None) -> Scores:
        """Return the `(m,)` scores with the layer putting out `x`; see `Question.scores`."""
        rows = self.rows if rows is None else rows
        if self.resumption is not None and self.base is None:
            return self.target(self.resumption(x, self.target.layers), rows)
        edited: AbstractContextManager[None] = nullcontext()
        edited = taps.replace(self.model.module, {self.layer: lambda _: x})
        with edited:
            if self.resumption is not None and self.base is not None:
                return self.target(self.resumption(self.base[rows], self.target.layers), rows)
            self.passes.forward += len(x)
            return self.target(self.model.answer(self.pixels[rows], self.target.layers), rows)

    def scorer(self, what: str) -> Scorer:
        """Return a scorer of edits of `x`, with batches that fit what has to run."""
        scorer, given = Scorer(self, what), self.execution.batch_size
        usual = default_batch_size(self.pixels)
        if given is None:
            shown = self.base if self.base is not None else self.x
            resumed = _RESUMED_VALUES // max(1, shown[0].numel())
            scorer.batch_size = usual if self.resumption is None else max(usual, min(resumed, 512))
        return scorer


def layer_question(tap: LayerMaps, what: str) -> LayerQuestion:
    """Return the question of `tap` as one about its layer's output, resumed as late as possible."""
    question = tap.question
    plain = {f.name: getattr(question, f.name) for f in fields(Question)}
    plain["x"] = tap.output(what)
    whole = LayerQuestion(**plain, pixels=question.x, layer=tap.layer)
    for anchor in _anchors(tap):
        # A copy is true at the layers that were read of it; behind another one the network itself is edited.
        model = _read_of(question, anchor) if anchor == tap.layer else question.model
        first = _first(question, anchor, model)
        question.passes.forward += 0 if first is not None else 1
        try:
            resumption = resume_from(model, anchor, question.x[:1], first)
        except DoesNotFit:
            continue
        base = None
        if anchor != tap.layer:
            base = LayerMaps(question, anchor, tap.grid, by_user=False).output(f"{what}: {anchor}")
        resumed = LayerQuestion(
            **plain, pixels=question.x, layer=tap.layer, resumption=resumption, anchor=anchor, base=base
        )
        with torch.no_grad():
            again = resumed.scores(resumed.x[:1], resumed.rows[:1])
        # The target may read a layer that is no longer run.
        if torch.allclose(again, question.clean[:1], rtol=RTOL, atol=RTOL):
            return resumed
    return whole


def _read_of(question: Question, layer: str) -> Model:
    """Return the copy that gave the first passes where the layer was read of it, else the network."""
    read = any(layer in answer.activations for answer in question.first.values())
    return question.copy if question.copy is not None and read else question.model


def _first(question: Question, layer: str, model: Model) -> Answer | None:
    """Return a model's own first pass on a single input, if it was kept with the layer."""
    kept = question.first.get((0, 1))
    own = model is (question.copy or question.model)
    return kept if own and kept is not None and layer in kept.activations else None


def _anchors(tap: LayerMaps) -> list[str]:
    """Return the layer and those that were finished before it, nearest first."""
    names = [layer.name for layer in survey(tap.question.model, tuple(tap.question.x.shape[1:]))]
    at = names.index(tap.layer)
    return names[at : max(-1, at - _TRIES - 1) : -1] if at > _TRIES else names[at::-1]
