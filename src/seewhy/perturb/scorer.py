"""The scorer: many edits in, many scores out. Every perturbation method and metric goes through it.

One flat queue of (sample, edit) jobs, edit by edit, so that masks which samples share are made once and the
tail of one sample is filled with the next. Long runs begin with a trial that finds a faster copy of the
network and the precision it may use (`calibration`); batches run under `inference_mode`; scores are float32
and stay on the device. When memory runs out the batch is halved and the same jobs are tried again. Nothing is
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
from seewhy.perturb.calibration import Calibration, calibrate
from seewhy.perturb.edits import Edits, Jobs
from seewhy.question import Question
from seewhy.types import Json

Read: TypeAlias = Callable[[Answer, Tensor], Tensor]
"""From the answer to `k` edited inputs, and the `(k,)` samples they belong to, to `(k, ...)` numbers."""

_REPAID = 400_000
"""Passes from which compiling the forward function (about 15 s) pays on an accelerator."""


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
        self.calibration: Calibration | None = None
        """How scores are made; None before the first one."""
        self._fast, self._padded = question, False

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
        self._prepare(edits)
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

    def notes(self) -> Json:
        """Return what a result should say of the run: how scores were made, and what memory forced."""
        made = {} if self.calibration is None else {"scoring": self.calibration.facts}
        return {**made, "batch_halved_to": self.batch_size} if self.halved else made

    def _prepare(self, edits: Edits) -> None:
        """Settle how scores are made, once."""
        if self.calibration is not None:
            return
        self.calibration = calibrate(self.question, edits, self.read, self.batch_size)
        wanted = self.question.execution.compiled
        long = self.question.x.is_cuda and edits.count * len(self.question.x) >= _REPAID
        if self.calibration.replica is not None and (long if wanted is None else wanted):
            self.calibration = self.calibration.compiled(self.question, self.batch_size)
            self._padded = "compile_seconds" in self.calibration.facts
        self._fast = self.calibration.question(self.question)

    def _attempt(self, edits: Edits, jobs: Jobs) -> Tensor | None:
        """Return the scores, or None where memory ran out (by then the failed batch is free again)."""
        passes = self.question.passes.forward
        try:
            with torch.inference_mode(), self._precision():
                edited, rows = edits.apply(self._fast.x, jobs), jobs.rows
                if self._padded:
                    edited, rows = _filled_up(edited, self.batch_size), _filled_up(rows, self.batch_size)
                if self.read is None:
                    scores = self._fast.scores(edited, rows)
                else:
                    scores = self.read(self._fast.answer(edited), rows).float()
                return scores[: len(jobs)]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.question.passes.forward = passes
            return None

    def _precision(self) -> AbstractContextManager[object]:
        """Cast as torch sees fit where halves were asked for and only a part of the network runs."""
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.question.execution.precision)
        if self.question.whole or half is None:
            return nullcontext()
        return torch.autocast(self.question.x.device.type, half)

    def _halve(self, failed: int) -> None:
        if failed == 1:
            raise OutOfMemory(f"One input does not fit into memory during {self.what}.")
        self.batch_size, self.halved = failed // 2, True
        gc.collect()
        if self.question.x.is_cuda:
            torch.cuda.empty_cache()


def _filled_up(t: Tensor, size: int) -> Tensor:
    """Return `t` with its last row repeated up to `size` rows."""
    missing = size - len(t)
    return t if missing <= 0 else torch.cat([t, t[-1:].expand(missing, *t.shape[1:])])
