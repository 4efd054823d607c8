"""A question: these inputs, this model, for this score, these options: all that methods read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from seewhy import targets
from seewhy.batching import default_batch_size, in_batches
from seewhy.errors import DoesNotFit, NotFinite
from seewhy.execution import Execution, Passes
from seewhy.models.fast_copy import kept_copy
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.models.untouched import wiring
from seewhy.models.weights import Sweep, sweep
from seewhy.targets import BoundTarget, TargetLike
from seewhy.types import Batch, Json, Maps, Masks, Rows, ScoreKind, Scores

T = TypeVar("T")


@runtime_checkable
class Again(Protocol):
    """Makes the maps of one method, parameters, seed and targets again."""

    def __call__(
        self,
        model: Model,
        x: Batch | None = None,
        target: TargetLike | Sequence[TargetLike] = None,
        **options: Any,
    ) -> Maps:
        """Return `(n, *size)` maps.

        Parameters
        ----------
        model
            Whose answers they explain.
        x
            As many other inputs, `(n, c, *size)`; None: the same.
        target
            Another target for all, or one each; None: the same.
        **options
            Fields of `Execution` that change: seed, batch_size ...
        """


_KEPT = 512 * 2**20
"""Bytes of graphs of first passes that are kept while further inputs are asked about."""
_GRAPH = 16
"""How many times more than a late layer's output its graph holds, at most about."""
_LATE = 2
"""How many times an input a late layer puts out, at most."""
_SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16"}
_MANY = {"cpu": 4, "cuda": 1}
"""Inputs of a call from which a copy of the network is made, once. That takes processors what it saves on
some twenty; accelerators spend passes of few inputs on launching, and a copy has half the kernels."""


@dataclass(frozen=True)
class Checks:
    """Whether weights and answer of a model are sound: an accelerator finds out while more is launched.

    Parameters
    ----------
    model
        The model.
    look
        At its weights; begun.
    finite
        Whether its answer is finite: one boolean, on the device.
    """

    model: Model
    look: Sweep
    finite: Tensor

    @cached_property
    def weights(self) -> str:
        """Hash of the weights, provided that they and the answer are finite; see `Question.weights`."""
        found = self.model.check_weights(self.look)
        if not bool(self.finite):
            raise NotFinite(
                f"Asked {self.model.name} for its answer",
                "It holds NaN or infinity",
                "Check the input's normalisation and the model's precision",
            )
        return found


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
    first
        The first passes with their graphs, as far as they were kept (see `ask`), by first sample and the one
        behind the last.
    copy
        Who gave the first passes where that was not the model itself: the same network, folded (see `ask`).
    passes
        Counted as the work goes on.
    notes
        What the result shall say of the run, JSON-serialisable; added as the work goes on.
    checks
        Whether weights and answer are sound; asked at the latest with `weights`.
    watched
        Whether somebody looks at estimates before the last one; a method may skip them otherwise.
    again
        Where a metric is told: from a model to the `(n, *size)` maps that the scored maps' method makes on
        it, of the same inputs, targets and seed or of others. Methods are never told.
    truth
        Where a metric is given that: where the evidence is known to be, or where people looked (boolean, or
        floating-point for how often). Methods are never told.
    """

    whole: ClassVar[bool] = True
    """Whether scores are those of the whole network on edited `x`."""

    model: Model
    x: Batch
    target: BoundTarget
    clean: Scores
    output: Tensor
    execution: Execution
    first: Mapping[tuple[int, int], Answer] = field(default_factory=dict)
    copy: Model | None = None
    passes: Passes = field(default_factory=Passes)
    notes: Json = field(default_factory=dict)
    checks: Checks | None = None
    watched: bool = True
    again: Again | None = None
    truth: Masks | Maps | None = None

    @property
    def weights(self) -> str:
        """`Model.weights_hash` as the question was asked.

        Raises
        ------
        NotFinite
            When a weight or the answer holds NaN or infinity.
        """
        return "" if self.checks is None else self.checks.weights

    @property
    def version(self) -> tuple[object, ...]:
        """What changes when the model does: its weights, its modules or their hooks."""
        return self.weights, *wiring(self.model.module)

    def answer(self, x: Batch, layers: Sequence[str] = (), *, differentiable: bool = False) -> Answer:
        """Run the model on `x`, keeping `layers` and whatever the target reads."""
        self.passes.forward += len(x)
        wanted = tuple(dict.fromkeys((*layers, *self.target.layers)))
        return self.model.answer(x, wanted, differentiable=differentiable)

    def differentiable_answer(self, start: int, stop: int, layers: Sequence[str]) -> Answer:
        """Return the answer on samples `start .. stop` with `layers` to differentiate by.

        The kept first pass, if it serves; else another one of who gave that, or of the model itself for
        layers that were not read then.
        """
        kept = self.first.get((start, stop))
        if kept is not None and set(layers) <= set(kept.activations):
            return kept
        # Whether a copy gives other layers than those that were read of it, nobody knows.
        true = next((set(answer.activations) for answer in self.first.values()), set[str]())
        copied = self.copy is not None and set(layers) <= true
        asked = replace(self, model=self.copy or self.model) if copied else self
        return asked.answer(self.x[start:stop], layers, differentiable=True)

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

    def gradient(self, scores: Scores, wrt: Tensor) -> Tensor:
        """Return the gradient of `scores.sum()` with respect to one tensor, and of nothing else.

        Raises
        ------
        DoesNotFit
            When the score does not depend on the tensor in a differentiable way.
        """
        return self.gradients(scores, [wrt])[0]

    def gradients(self, scores: Scores, wrt: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of `scores.sum()` with respect to some tensors, in one backward pass.

        Tensors behind the first that the score does not depend on get zeros.

        Raises
        ------
        DoesNotFit
            When the score does not depend on the first one in a differentiable way.
        """
        found: Sequence[Tensor | None] = [None]
        if scores.requires_grad:
            found = torch.autograd.grad(scores.sum(), list(wrt), allow_unused=True)
        if found[0] is None:
            raise DoesNotFit(
                f"Asked for gradients of {self.model.name}",
                "The score does not depend on them in a differentiable way",
                "Choose a method that needs no gradient (occlusion, rise), or another target",
            )
        self.passes.backward += len(scores)
        return [torch.zeros_like(t) if g is None else g for t, g in zip(wrt, found, strict=True)]

    @property
    def rows(self) -> Rows:
        """`0 .. n-1`: each sample once."""
        return torch.arange(len(self.x), device=self.x.device)

    def in_batches(self, count: int, work: Callable[[int, int], T], what: str) -> Iterator[T]:
        """Yield `work(start, stop)` over ranges of `0 .. count` inputs; see `batching.in_batches`."""
        size = self.execution.batch_size or default_batch_size(self.x, differentiated=True)
        return in_batches(count, size, self.execution, work, what)

    def generator(self, *key: int) -> torch.Generator:
        """Return a CPU generator seeded by the run's seed and `key`: the same numbers on every device."""
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
    layers: Sequence[str] = (),
    *,
    differentiable: bool = True,
    halves: bool = False,
    watched: bool = True,
) -> Question:
    """Run the model once on the inputs, look at its weights, and bind the target.

    Parameters
    ----------
    model, x, target, execution
        As in `Question`; the target still unbound.
    prefers
        Score of a class where the target leaves it open.
    layers
        Layers that the caller will read: first passes are kept for it, so that it needs no second ones. Of
        several batches as many are kept as lie late in the network and in half a gibibyte. A folded copy of
        the network gives them (`models.fast_copy`), on processors those of 4 inputs and more, which the notes
        say, and how far one in bf16 is off; not for who asks for fp32 by name.
    differentiable
        Whether the caller will differentiate with respect to their outputs.
    halves
        Whether a copy in bf16 may give the first passes, on processors and for who asks for bf16 by name.
    watched
        As in `Question`.

    Raises
    ------
    NotFinite
        When a weight or the answer holds NaN or infinity.
    BadInput
        When the target does not go with the answer.
    """
    x = x.to(model.device, model.dtype)
    graph = differentiable and bool(layers)
    size = execution.batch_size or default_batch_size(x, differentiated=graph)
    asked = targets.layers_of(target)
    read = tuple(dict.fromkeys((*layers, *asked)))
    kept: dict[tuple[int, int], Answer] = {}

    def run(start: int, stop: int) -> Answer:
        keep = bool(layers) and _affordable(kept, x, layers)
        with torch.enable_grad() if keep and graph else torch.no_grad():
            answer = source.answer(x[start:stop], read if keep else asked, differentiable=keep and graph)
        if keep:
            kept[start, stop] = answer
        return answer

    looking = sweep(model.module)  # accelerators do this while the first pass is being launched
    source, notes = model, dict[str, Any]()
    half = halves and execution.precision == "bf16" and x.device.type == "cpu"
    worth = half or len(x) >= _MANY["cuda" if x.is_cuda else "cpu"]
    if (layers or (x.is_cuda and differentiable)) and execution.precision != "fp32" and worth:
        version = model.check_weights(looking), *wiring(model.module)
        source, gap = kept_copy(model, x, read, version, torch.bfloat16 if half else torch.float32)
        if source is not model:
            notes["first_passes"] = f"folded copy, {_SHORT[source.dtype]}"
        if source.dtype == torch.bfloat16 != model.dtype:
            notes["first_passes_gap"] = gap
    answers = list(in_batches(len(x), size, replace(execution, progress=None), run, "first pass"))
    output = torch.cat([a.output.detach() for a in answers]).to(model.dtype)
    checks = Checks(model, looking, output.isfinite().all())
    if not (len(kept) == len(answers) == 1 and graph and output.is_cuda):
        _ = (
            checks.weights
        )  # now, unless what follows is one backward pass, for which the device need not wait
    bound = targets.bind(target, model, replace(answers[0], output=output), prefers)
    starts = [sum(len(a.output) for a in answers[:i]) for i in range(len(answers))]
    with torch.no_grad():
        clean = torch.cat(
            [
                bound(a, torch.arange(s, s + len(a.output), device=x.device))
                for s, a in zip(starts, answers, strict=True)
            ]
        )
    return Question(
        model,
        x,
        bound,
        clean,
        output,
        execution,
        kept,
        None if source is model else source,
        Passes(forward=len(x)),
        notes,
        checks=checks,
        watched=watched,
    )


def _affordable(kept: Mapping[tuple[int, int], Answer], x: Batch, layers: Sequence[str]) -> bool:
    """Tell whether one more first pass is kept: the first always, and more while their graphs are small.

    What a graph holds is guessed by what the layers put out, and only where that is little beside the input:
    what lies behind an early layer is most of the network.
    """
    if not kept:
        return True
    outputs = [a.activations[layer] for a in kept.values() for layer in layers]
    samples = sum(stop - start for start, stop in kept)
    held = sum(t.nbytes for t in outputs)
    late = held <= _LATE * samples * x[0].nbytes
    return late and held * _GRAPH <= _KEPT
