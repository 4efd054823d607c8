"""Replay: steps of a descent recorded once on an accelerator and launched as a whole.

A pass of one input keeps a large accelerator busy for a fraction of the time that it takes to launch its
hundreds of kernels one by one. A step that does the same work every time is therefore recorded as a CUDA
graph and replayed. Numbers that change from step to step must lie in tensors on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from seewhy.question import Question

_WARM_UP = 3
"""Steps on a side stream before recording, so that libraries have set themselves up."""


class Replayed:
    """Work on fixed memory that is recorded at its first call, and replayed afterwards.

    Parameters
    ----------
    question
        Its passes are counted for every replay.
    work
        From the number of a phase to its result; reads and writes no host numbers that change.
    """

    def __init__(self, question: Question, work: Callable[[int], Tensor]) -> None:
        self.question, self.work = question, work
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, tuple[int, int]]] = {}
        self.refused = not question.x.is_cuda
        """Whether the work cannot be recorded; it then runs as it is."""

    def __call__(self, phase: int) -> Tensor:
        """Return the result of a phase, valid until its next call."""
        if self.refused:
            return self.work(phase)
        if phase not in self._graphs and not self._record(phase):
            return self.work(phase)
        graph, result, (forward, backward) = self._graphs[phase]
        graph.replay()
        self.question.passes.forward += forward
        self.question.passes.backward += backward
        return result

    def _record(self, phase: int) -> bool:
        passes = self.question.passes
        before = replace(passes)
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    passes.forward, passes.backward = before.forward, before.backward
                    self.work(phase)
            torch.cuda.current_stream().wait_stream(side)
            each = passes.forward - before.forward, passes.backward - before.backward
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self.work(phase)
            self._graphs[phase] = graph, result, each
        except RuntimeError:  # a network that asks the device for numbers on the way
            torch.cuda.synchronize()
            self.refused = True
        passes.forward, passes.backward = before.forward, before.backward
        return not self.refused
