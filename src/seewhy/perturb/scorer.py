"""The scorer: many edits in, many scores out. Every perturbation method and metric goes through it.

One flat queue of (sample, edit) jobs, edit by edit, so that masks which samples share are made once and the
tail of one sample is filled with the next. Batches run under `inference_mode` in the precision of the run;
scores are float32. When memory runs out the batch is halved and the same jobs are tried again. Nothing is
kept between batches, so memory does not grow with the number of edits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.batching import OutOfMemory, default_batch_size, is_out_of_memory
from seewhy.models.outputs import Answer
from seewhy.perturb.edits import Edits, Jobs
from seewhy.question import Question

Read: TypeAlias = Callable[[Answer, Tensor], Tensor]
"""From the answer to `k` edited inputs, and the `(k,)` samples they belong to, to `(k, ...)` numbers."""

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Chunk:
    """The scores of one batch.

    Parameters
    ----------
    jobs
        Which sample and which edit each score belongs to.
    scores
        `(k,)` float32 on the device; `(k, ...)` where the scorer was told what to read.
    done, total
        Jobs finished, this batch included, and jobs of this stream.
    """

    jobs: Jobs
    scores: Tensor
    done: int
    total: int


class Scorer:
    """Scores edits of a question's inputs.

    Parameters
    ----------
    question
        The model, inputs, target and options of the run; its passes are counted.
    what
        Name of the work, for progress and for the message of a cancel.
    read
        What to take from the answers; None takes the target's score.
    """

    def __init__(self, question: Question, what: str = "masked passes", read: Read | None = None) -> None:
        self.question, self.what, self.read = question, what, read
        self.batch_size = question.execution.batch_size or default_batch_size(question.x)
        """Model inputs a batch; falls when memory runs out."""
        self.halved = False
        """Whether memory ran out on the way."""

    def stream(self, edits: Edits, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """Score the edits `start .. stop - 1` (default: all) of every sample, batch by batch.

        The scores of an edit do not depend on where the range was cut.

        Raises
        ------
        Cancelled
            Before the next batch once the caller asked to stop.
        OutOfMemory
            When memory does not suffice for a single input.
        """
        n = len(self.question.x)
        first, last = start * n, (edits.count if stop is None else stop) * n
        at = first
        while at < last:
            self.question.execution.step(at - first, last - first, self.what)
            jobs = Jobs.between(at, min(at + self.batch_size, last), n, self.question.x.device)
            scores = self._attempt(edits, jobs)
            if scores is None:
                self._halve(len(jobs))
                continue
            at += len(jobs)
            yield Chunk(jobs, scores, at - first, last - first)
        if self.question.execution.progress is not None and last > first:
            self.question.execution.progress(last - first, last - first, self.what)

    def table(self, edits: Edits) -> Tensor:
        """Return all scores, `(n, count, ...)` float32 on the device; for counts that fit into memory."""
        table = torch.empty(0)
        for chunk in self.stream(edits):
            if not table.numel():
                shape = (len(self.question.x), edits.count, *chunk.scores.shape[1:])
                table = torch.empty(shape, device=self.question.x.device)
            table[chunk.jobs.rows, chunk.jobs.which] = chunk.scores
        return table

    def notes(self) -> dict[str, int]:
        """Return what a result should say of the run: the batch size, where memory forced a smaller one."""
        return {"batch_halved_to": self.batch_size} if self.halved else {}

    def _attempt(self, edits: Edits, jobs: Jobs) -> Tensor | None:
        """Return the scores, or None where memory ran out (by then the failed batch is free again)."""
        passes = self.question.passes.forward
        try:
            with torch.inference_mode(), self._precision():
                edited = edits.apply(self.question.x, jobs)
                if self.read is None:
                    return self.question.scores(edited, jobs.rows)
                return self.read(self.question.answer(edited), jobs.rows).float()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.question.passes.forward = passes
            return None

    def _precision(self) -> AbstractContextManager[object]:
        half = _HALF.get(self.question.execution.precision)
        return nullcontext() if half is None else torch.autocast(self.question.x.device.type, half)

    def _halve(self, failed: int) -> None:
        if failed == 1:
            raise OutOfMemory(f"One input does not fit into memory during {self.what}.")
        self.batch_size, self.halved = failed // 2, True
        gc.collect()
        if self.question.x.is_cuda:
            torch.cuda.empty_cache()
