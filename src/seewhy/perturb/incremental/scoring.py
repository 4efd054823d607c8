"""Scores behind windows, each from what its window changes alone, where the network and the run allow it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from seewhy.batching import is_out_of_memory
from seewhy.models.outputs import Answer, pick
from seewhy.perturb.counters import normal
from seewhy.perturb.edits import Jobs
from seewhy.perturb.incremental.passing import Passing
from seewhy.perturb.incremental.plan import blocks, planned
from seewhy.perturb.incremental.recording import Recording
from seewhy.perturb.incremental.tracked import NoPatches
from seewhy.perturb.scorer import Scorer
from seewhy.perturb.windows import WindowEdits, Windows
from seewhy.question import Question
from seewhy.types import Json

_FACTOR, _SAVED, _COUNT = 1.2, 500_000_000, 32
"""Fewest times fewer multiply-adds, fewest saved a window, and fewest windows that repay the planning.

Cutting and laying patches costs some milliseconds a window: on two cores networks of 0.3 and 0.4 billion
multiply-adds gain nothing (0.7 to 1.1 times as fast), ResNet-50, which saves over 2 billion, does.
"""
_EXACT, _HALF = 1e-3, 0.05
"""Largest deviation of an answer, in parts of what the window changes, in single and in half precision."""


class WindowScorer(Scorer):
    """Scores windows; their passes recompute only what the window changes where that is exact and pays.

    What a window cannot reach is taken from one pass over the unchanged sample. Which multiply-adds that
    saves is counted beforehand, and that the answers are the network's own is tried on strong noise
    in three windows. Else windows are scored as all edits are, and the notes say why.

    Parameters
    ----------
    question, what
        As in `Scorer`.
    incremental
        Whether to; True wherever it is possible, None where it pays, which on accelerators it is not thought
        to do.
    """

    def __init__(self, question: Question, what: str = "windows", incremental: bool | None = None) -> None:
        super().__init__(question, what)
        self.incremental = incremental
        self._told: Json = {}

    def windows(self, edits: WindowEdits) -> Tensor:
        """Return all scores, `(n, count)` float32 on the device.

        Raises
        ------
        Cancelled, OutOfMemory
            As `Scorer.stream`.
        """
        self._prepare(edits)
        reason = self._unfit(edits)
        if not reason:
            passes = self.question.passes.forward
            try:
                return self._patched(edits)
            except NoPatches as error:
                reason, self.question.passes.forward = str(error), passes
        self._told = {"used": False, "because": reason}
        return self.table(edits)

    def notes(self) -> Json:
        """See `Scorer.notes`; `incremental` says what patches saved, or why there were none."""
        return {**super().notes(), **({"incremental": self._told} if self._told else {})}

    def _unfit(self, edits: WindowEdits) -> str:
        """Return why whole passes are made, as far as can be told beforehand, or ""."""
        model, question = self.question.model, self.question
        if self.incremental is False:
            return "so it was asked"
        if not (question.whole and model.differentiable):
            return "only whole networks of torch can be followed"
        if question.target.layers:
            return "the target reads layers"
        if self._padded:
            return "the network is compiled"
        if self.incremental is None and question.x.device.type != "cpu":
            return "not on accelerators, unless asked"
        if self.incremental is None and edits.count < _COUNT:
            return "there are too few windows to repay the planning"
        known = self._trial(edits.windows)
        if known.reason:
            return known.reason
        few = known.whole < _FACTOR * known.patched or known.whole - known.patched < _SAVED * edits.count
        if self.incremental is None and few:
            return f"it would save too little: {known.whole / known.patched:.2f} times fewer multiply-adds"
        return ""

    def _trial(self, windows: Windows) -> _Known:
        """Return what is known of windows on this network, found out when that has changed."""
        facts, x = self.question.model.facts, self._fast.x
        model = self._fast.model
        folded = self.calibration.replica is not None if self.calibration else False
        key = ("incremental", str(x.device), str(model.dtype), folded, tuple(x.shape[1:]), windows)
        known: tuple[object, _Known] | None = facts.get(key)
        version = self.question.version
        if known is None or known[0] != version:
            passes = self.question.passes.forward
            known = facts[key] = version, self._tried(windows)
            self.question.passes.forward = passes
        return known[1]

    def _tried(self, windows: Windows) -> _Known:
        """Compare answers behind windows full of noise, on an input of noise."""
        x = self._fast.x
        count = prod(x.shape[1:])
        draws = [normal(i, torch.arange(count, device=x.device), 1).reshape(x.shape[1:]) for i in (0, 1)]
        clean = draws[0][None].to(self._fast.model.dtype)
        last = [n - 1 for n in windows.counts]
        positions = torch.tensor([[0] * len(last), [n // 2 for n in last], last])
        edited = clean.repeat(len(positions), *[1] * (clean.ndim - 1))
        for one, position in zip(edited, positions.tolist(), strict=True):
            under = zip(position, windows.stride, windows.window, strict=True)
            region = (slice(None), *(slice(p * d, p * d + w) for p, d, w in under))
            one[region] = (4 * draws[1][region]).to(one)
        try:
            with torch.inference_mode():
                passing, own = self._recorded(clean, windows)
                found = self._output(passing.run(edited, list(positions.T)))
                wanted = self._output(self._fast.model.module(edited))
        except NoPatches as error:
            return _Known(str(error))
        except Exception as error:  # whatever a network raises when it is followed
            if is_out_of_memory(error):
                raise
            return _Known(f"{type(error).__name__}: {error}"[:200])
        plan = passing.plan
        if plan.until == 0:
            return _Known("it has no step that windows leave partly as it is")
        single = self._fast.model.dtype in (torch.float32, torch.float64)
        largest = float((wanted.double() - own.double()).abs().max())
        gap = float((found.double() - wanted.double()).abs().max()) / max(largest, 1e-300)
        if not gap <= (_EXACT if single else _HALF):
            return _Known(
                f"a trial found answers that are not the network's own, off by {gap:.1e} of a change"
            )
        return _Known("", plan.whole, plan.patched, plan.until, gap)

    def _recorded(self, x: Tensor, windows: Windows) -> tuple[Passing, Tensor]:
        """Return what passes windows over one sample, `(1, c, *size)`, and the answer to it."""
        network = self._fast.model.module
        recording = Recording(network, x)
        key, version = ("multiply_adds", tuple(x.shape[1:])), self.question.version
        facts = self.question.model.facts
        known: tuple[object, int] | None = facts.get(key)
        if known is None or known[0] != version:
            own = self.question.model  # the counter does not know fused kernels
            with FlopCounterMode(display=False) as counter:
                own.module(x.to(own.dtype))
            known = facts[key] = version, counter.get_total_flops() // 2
        cut = blocks(windows.counts, self.batch_size)
        plan = planned(recording, windows, cut, known[1])
        return Passing(network, plan, recording.clean), self._output(recording.answer)

    def _output(self, raw: Any) -> Tensor:
        return pick(raw, self._fast.model.output)

    def _patched(self, edits: WindowEdits) -> Tensor:
        """Return all scores, sample by sample, block by block."""
        x, counts = self._fast.x.to(self._fast.model.dtype), edits.windows.counts
        table = torch.empty(len(x), edits.count, device=x.device)
        done, total = 0, len(x) * edits.count
        for sample in range(len(x)):
            with torch.inference_mode():
                passing, _ = self._recorded(x[sample : sample + 1], edits.windows)
            waiting = [list(product(*block)) for block in product(*blocks(counts, self.batch_size))][::-1]
            while waiting:
                self.question.execution.step(done, total, self.what)
                positions = waiting.pop()
                if len(positions) > self.batch_size:
                    waiting += [positions[self.batch_size :], positions[: self.batch_size]]
                    continue
                which = [sum(p * prod(counts[i + 1 :]) for i, p in enumerate(at)) for at in positions]
                scores = self._block(passing, edits, sample, which, positions)
                if scores is None:
                    self._halve(len(positions))
                    waiting.append(positions)
                    continue
                table[sample, which] = scores
                done += len(which)
        if self.question.execution.progress is not None:
            self.question.execution.progress(total, total, self.what)
        known = self._trial(edits.windows)
        self._told = {
            "used": True,
            "times_fewer_multiply_adds": known.whole / known.patched,
            "maps_in_patches": known.until,
            "trial_gap": known.gap,
        }
        return table

    def _block(
        self,
        passing: Passing,
        edits: WindowEdits,
        sample: int,
        which: list[int],
        positions: list[tuple[int, ...]],
    ) -> Tensor | None:
        """Return the scores of some windows, or None where memory ran out."""
        x = self._fast.x
        passes = self.question.passes.forward
        try:
            with torch.inference_mode():
                edited = torch.cat([edits.apply(x, _run(sample, run, x)) for run in _runs(which)])
                raw = passing.run(edited.to(self._fast.model.dtype), list(torch.tensor(positions).T))
                self.question.passes.forward += len(which)
                answer = Answer(raw, self._output(raw), tuple(x.shape[1:]))
                rows = torch.full((len(which),), sample, device=x.device)
                return self._fast.target(answer, rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.question.passes.forward = passes
            return None


@dataclass(frozen=True)
class _Known:
    """What a trial found: why there are no patches, or multiply-adds without and with them, and how exact."""

    reason: str
    whole: int = 0
    patched: int = 1
    until: int = 0
    gap: float = 0.0


def _runs(which: list[int]) -> list[range]:
    """Return ascending numbers as runs without gaps."""
    found: list[range] = []
    for w in which:
        if found and found[-1].stop == w:
            found[-1] = range(found[-1].start, w + 1)
        else:
            found.append(range(w, w + 1))
    return found


def _run(sample: int, run: range, x: Tensor) -> Jobs:
    which = torch.arange(run.start, run.stop, device=x.device)
    return Jobs(torch.full_like(which, sample), which, run)
