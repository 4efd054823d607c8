"""Differentiation: which copy of the network gradients of its input are taken from.

Methods that take many gradients of each input spend their time in the same two passes. On processors a
`Replica` in single precision makes them in about half to two thirds of the time: batch normalisation is
folded into the convolutions, and these are packed (`models.packing`). It is the same function; what differs
is rounding. A rectifier whose input is almost 0 may fall on the other side, so that single gradients of deep
networks differ by about a thousandth, as far as those of the network itself are from gradients in double
precision. A trial at a few points of the run looks for more than that, and who asks for fp32 by name gets the
digits of the network itself.

Where the processor multiplies bf16 natively, blocks of residual networks take gradients back in it. That is
not half precision: which rectifiers let them pass is decided forward, in single precision, and all that is
left is linear. Of an untrained ResNet-50 integrated gradients so made have a rank correlation of 0.9999 with
the network's own, and in half precision of 0.79 (`python -m benchmarks.half_gradients --steps 10`).

Methods whose path turns on which gradient is larger (guided IG, descents on masks) ask the network itself.

The number of points of a sample alone decides whether there is a trial, so that the same question gets the
same bits, and a batch what its samples get alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seewhy.batching import is_out_of_memory
from seewhy.models.packed import half_gradients, halvable
from seewhy.models.packed_block import PackedBlock
from seewhy.models.tensor_float import without_tensor_float
from seewhy.perturb.calibration import Calibration, copied, native_halves
from seewhy.question import Question
from seewhy.types import Batch, Json, Rows

Points: TypeAlias = Callable[[Rows, Tensor], Batch]
"""From rows and numbers of points, `(k,)` each, to model inputs `(k, c, *size)`."""

_WORTH = 8
"""Points of each sample from which a trial pays, in the next run if not in this one."""
_SAMPLE = 2
"""Points in a trial."""
_TRUE = 0.02
"""Largest distance from the network's own gradients, as a part of their length."""


def differentiated(question: Question, count: int, points: Points) -> Question:
    """Return `question`, asked of what gives its gradients soonest; its notes say so where that is a copy.

    Parameters
    ----------
    question
        The inputs, model, target and options of the run.
    count
        Points for each sample at which gradients will be taken.
    points
        Where they will be taken.
    """
    model, x = question.model, question.x
    plain = question.whole and model.dtype == torch.float32 and not question.target.layers
    asked = question.execution.precision == "fp32"  # by name: the digits of the network itself
    if asked or not plain or count < _WORTH:
        return question
    if not any(isinstance(m, _BatchNorm) for m in model.module.modules()):
        return question  # nothing to fold, and little to gain
    score = str(question.target.descriptions[0].get("score"))
    key = ("calibration", str(x.device), "gradients", tuple(x.shape[1:]), score)
    known: tuple[object, Calibration] | None = model.facts.get(key)
    version = question.version
    if known is None or known[0] != version:
        known = version, _tried(question, count, points)
        model.facts[key] = known
    found = known[1]
    if found.replica is not None:
        question.notes["gradients"] = found.facts
    return found.question(question)


def _tried(question: Question, count: int, points: Points) -> Calibration:
    """Return what a trial finds."""
    started = time.perf_counter()
    which = torch.linspace(0, count - 1, _SAMPLE).long()
    rows = torch.zeros_like(which)
    at = points(rows, which).detach()
    asked = replace(question, passes=replace(question.passes))  # trials are not counted
    x, own = question.x, _gradients(asked, at, rows)
    length, passes = float(own.double().norm()), len(at)
    facts: Json = {}
    for fuse, half in ((True, True), (True, False), (False, False)):
        if half and not native_halves(x.device):
            continue
        try:
            replica = copied(question, "fp32", fold=True, fuse=fuse)
            if half:
                if not _halvable(replica.module):
                    continue
                replica = replace(replica, module=HalfGradients(replica.module))
            gap = _gradients(Calibration("fp32", replica, {}).question(asked), at, rows) - own
        except Exception as error:  # whatever a network raises when it is copied or its copy is run
            if is_out_of_memory(error):
                raise
            facts = {"failed": f"{type(error).__name__}: {error}"[:200]}
            continue
        passes += len(at)
        noise = float(gap.double().norm()) / length if length else float("inf")  # nothing to tell by
        facts = {"precision": "fp32", **({"backward": "bf16"} if half else {}), **replica.facts}
        facts |= {"noise": noise, "trial_passes": passes}
        facts["trial_seconds"] = time.perf_counter() - started
        if noise <= _TRUE:
            return Calibration("fp32", replica, facts)
    return Calibration("fp32", None, facts)


class HalfGradients(nn.Module):
    """A packed network whose gradients go back in bf16.

    Parameters
    ----------
    network
        In single precision.
    every
        Whether it does not matter where that is quick.
    """

    def __init__(self, network: nn.Module, *, every: bool = False) -> None:
        super().__init__()
        self.network, self.every = network, every

    def forward(self, x: Tensor) -> object:
        """Return what the network does."""
        with half_gradients("everywhere" if self.every else "where quick"):
            return self.network(x)


def _halvable(module: nn.Module) -> bool:
    return any(isinstance(m, PackedBlock) and halvable(m.steps) for m in module.modules())


def _gradients(question: Question, at: Batch, rows: Rows) -> Batch:
    """Return the `(k, c, *size)` gradients of the score at some points."""
    at = at.clone().requires_grad_()
    with torch.enable_grad(), without_tensor_float():
        scores = question.scores(at, rows)
        return question.gradient(scores, at)
