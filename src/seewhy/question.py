"""A question: these inputs, this model, for this score, under these options. Methods and metrics read nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy import targets
from seewhy.errors import NotFinite
from seewhy.execution import Execution, Passes
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.targets import BoundTarget, TargetLike
from seewhy.types import Batch, Rows, ScoreKind, Scores


@dataclass(frozen=True)
class Question:
    """What a method is asked. Make one with `ask`, inside `model.untouched()`.

    Parameters
    ----------
    model, x
        The model and the `(n, c, *size)` inputs on its device, in its type.
    target
        The bound target.
    clean
        `(n,)` float32 scores of the unchanged inputs.
    output
        The answer's output on the unchanged inputs, detached.
    execution
        Options of the run.
    passes
        Counted as the work goes on.
    """

    model: Model
    x: Batch
    target: BoundTarget
    clean: Scores
    output: Tensor
    execution: Execution
    passes: Passes = field(default_factory=Passes)

    def answer(self, x: Batch, layers: Sequence[str] = (), *, differentiable: bool = False) -> Answer:
        """Run the model on `x`, keeping `layers` and whatever the target reads."""
        self.passes.forward += len(x)
        wanted = tuple(dict.fromkeys((*layers, *self.target.layers)))
        return self.model.answer(x, wanted, differentiable=differentiable)

    def scores(self, x: Batch, rows: Rows | None = None) -> Scores:
        """Return the `(n,)` scores of a batch, differentiable where `x` is.

        Parameters
        ----------
        x
            `(n, c, *size)` edited inputs.
        rows
            The sample that each of them belongs to; by default one of each, in order.
        """
        rows = self.rows if rows is None else rows
        return self.target(self.answer(x), rows)

    @property
    def rows(self) -> Rows:
        """`0 .. n-1`: each sample once."""
        return torch.arange(len(self.x), device=self.x.device)

    def generator(self, *key: int) -> torch.Generator:
        """Return a CPU generator seeded by the run's seed and `key`; the same key gives the same numbers anywhere."""
        mixed = self.execution.seed & 0xFFFFFFFF
        for k in key:
            mixed = (mixed * 6364136223846793005 + 1442695040888963407 + k) % (1 << 63)
        return torch.Generator().manual_seed(mixed)


def ask(
    model: Model,
    x: Tensor,
    target: TargetLike | Sequence[TargetLike],
    execution: Execution,
    prefers: ScoreKind,
) -> Question:
    """Run the model once on the inputs and bind the target.

    Raises
    ------
    NotFinite
        When the answer holds NaN or infinity.
    BadInput
        When the target does not go with the answer.
    """
    x = x.to(model.device, model.dtype)
    with torch.no_grad():
        answer = model.answer(x, targets.layers_of(target))
        if not bool(answer.output.isfinite().all()):
            raise NotFinite(f"Asked {model.name} for its answer", "It holds NaN or infinity",
                            "Check the input's normalisation and the model's precision")
        bound = targets.bind(target, model, answer, prefers)
        clean = bound(answer, torch.arange(len(x), device=x.device))
    return Question(model, x, bound, clean, answer.output.detach(), execution, Passes(forward=len(x)))
