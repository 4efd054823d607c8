"""Descent on masks: many independent sets of parameters, one optimiser, batches that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from seewhy.batching import default_batch_size, in_batches
from seewhy.methods.optimised.replay import Replayed
from seewhy.question import Question
from seewhy.types import Size

_USUAL = 224
ESTIMATES = 10
"""How many estimates a run yields."""


def scaled(pixels: float, size: Size) -> float:
    """Return a length that is meant for inputs of 224 x 224 on an input of `size`, by its shorter side."""
    return pixels * min(size[-2:]) / _USUAL


def descend(
    question: Question,
    parameters: Tensor,
    optimiser: torch.optim.Optimizer,
    energy: Callable[[Tensor, int, int, int], Tensor],
    steps: int,
    what: str,
    inputs_each: int = 1,
    within: tuple[float, float] | None = None,
    before: Callable[[int], None] | None = None,
    phases: int = 0,
) -> Iterator[int]:
    """Let `optimiser` take `steps` steps down the energies; yield the steps taken, `ESTIMATES` times.

    Parameters
    ----------
    question
        Counts the passes, reports progress, honours a cancel.
    parameters
        `(rows, ...)`, changed in place: each row has an energy that depends on no other row.
    optimiser
        Owns `parameters`; must treat every element by itself, as SGD and Adam do.
    energy
        From `parameters[start:stop]`, start, stop and the number of the step to `(stop - start,)` energies.
    steps
        At least 1.
    what
        Name of the work.
    inputs_each
        Model inputs of a row in each step.
    within
        Range to which parameters are clamped after each step.
    before
        Told the number of each step, to set what changes with it in tensors on the device.
    phases
        Steps `i` and `i + phases` do the same work but for what `before` set, so that an accelerator may
        replay it (see `replay`); 0: they may not.
    """
    execution = question.execution
    quiet = replace(execution, progress=None)
    batch = execution.batch_size or default_batch_size(question.x, differentiated=True)
    rows = max(1, batch // inputs_each)
    due = 1

    def whole(phase: int) -> Tensor:
        return _slope(question, parameters, energy, 0, len(parameters), phase, inputs_each)

    replayed = Replayed(question, whole) if phases and len(parameters) <= rows else None
    for step in range(steps):
        execution.step(step, steps, what)
        if before is not None:
            before(step)
        if replayed is not None and not replayed.refused:
            parameters.grad = replayed(step % phases)
        else:

            def slope(start: int, stop: int, step: int = step) -> Tensor:
                return _slope(question, parameters, energy, start, stop, step, inputs_each)

            slopes = list(in_batches(len(parameters), rows, quiet, slope, what))
            rows = max(len(part) for part in slopes)  # smaller from now on where memory ran out
            parameters.grad = torch.cat(slopes)
        optimiser.step()
        if within is not None:
            parameters.clamp_(*within)
        if (step + 1) * ESTIMATES >= due * steps:
            due = (step + 1) * ESTIMATES // steps + 1
            yield step + 1
    if execution.progress is not None:
        execution.progress(steps, steps, what)


def _slope(
    question: Question,
    parameters: Tensor,
    energy: Callable[[Tensor, int, int, int], Tensor],
    start: int,
    stop: int,
    step: int,
    inputs_each: int,
) -> Tensor:
    """Return the gradient of the energies of `parameters[start:stop]`."""
    here = parameters[start:stop].detach().requires_grad_()
    with torch.enable_grad():
        energies = energy(here, start, stop, step)
    found = question.gradient(energies, here)
    question.passes.backward += (inputs_each - 1) * len(here)
    return found
