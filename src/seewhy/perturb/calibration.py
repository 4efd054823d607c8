"""Calibration: which copy of the network to score with, found by a trial on the edits of the run.

A run of thousands of forward passes is worth a few that find out how to make them. On a sample of the run's
own edits the scores of a `Replica` are compared with those of the network itself. What counts is noise: the
spread of the differences as a part of the spread of the scores. A replica in single precision must leave
almost none, else nothing is fused, else batch normalisation is not folded, else the network itself runs. One
in half precision is taken when its noise would leave a rank correlation of about .999, or is no more than
that of the network as it runs (TensorFloat-32 has as few digits as fp16): fp16 first, on accelerators; bf16
next, also on processors that multiply it natively; else single precision stays.

What was found is kept with the network, for one device, shape, kind of edit and kind of score, until a
weight, a module or a hook changes. A result's provenance has it: the precision, the noise, the rank
correlation in the trial, and the largest difference of a score.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from seewhy.agreement import Agreement
from seewhy.batching import is_out_of_memory
from seewhy.execution import Precision
from seewhy.models.model import Model
from seewhy.models.replica import Replica, packs, replicate
from seewhy.models.tensor_float import without_tensor_float
from seewhy.perturb.edits import Edits, Jobs
from seewhy.question import Question
from seewhy.types import Json

if TYPE_CHECKING:
    from seewhy.perturb.scorer import Read

_SAMPLE = {"cpu": 8, "cuda": 32}
"""Edits in a trial."""
_WORTH = 8
"""A run is worth a trial when it has so many times the edits of one; of fp32 asked by name, as many."""
_EXACT, _CLOSE = 1e-3, 0.05
"""Largest noise of a replica in single and in half precision."""
_Alive: TypeAlias = WeakValueDictionary[tuple[object, ...], Replica]
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Calibration:
    """What a trial found.

    Parameters
    ----------
    precision
        Arithmetic of the passes.
    replica
        The copy to score with; None: the network itself.
    facts
        For the provenance.
    """

    precision: Precision
    replica: Replica | None
    facts: Json

    def question(self, question: Question) -> Question:
        """Return `question`, asked of the replica."""
        if self.replica is None:
            return question
        model = question.model.with_module(self.replica.module, self.replica.dtype)
        return replace(question, model=model, x=self.replica.place(question.x), first={}, copy=None)

    def compiled(self, question: Question, batch: int) -> Calibration:
        """Return the same with the replica compiled for batches of one size; it compiles now, once.

        A fused replica stays as it is: it is faster than a compiled one (docs/speed.md).
        """
        assert self.replica is not None
        if self.replica.fused:
            return self
        started, fast = time.perf_counter(), replace(self, replica=self.replica.compiled)
        posed = fast.question(question)
        x = posed.x[:1].expand(batch, *posed.x.shape[1:])
        x = x.contiguous(memory_format=torch.channels_last) if x.is_cuda and x.ndim == 4 else x.contiguous()
        try:
            with torch.inference_mode():
                posed.model.answer(x)
        except Exception as error:  # no compiler, or a network that it refuses
            return replace(
                self, facts={**self.facts, "compile_failed": f"{type(error).__name__}: {error}"[:200]}
            )
        return replace(fast, facts={**self.facts, "compile_seconds": time.perf_counter() - started})


def calibrate(question: Question, edits: Edits, read: Read | None, batch: int) -> Calibration:
    """Return how to score `edits`, from an earlier trial or a new one.

    Parameters
    ----------
    question
        The model, inputs, target and options of the run.
    edits
        What will be scored; a few of them are, here.
    read
        As in `Scorer`.
    batch
        The most inputs a pass may have.
    """
    model, asked = question.model, question.execution.precision
    device = question.x.device
    own = Calibration("fp32", None, {"precision": _name(model.dtype)})
    # Subclasses of Question run parts of the network, and other types of weights were someone's choice.
    if not (question.whole and model.differentiable and model.dtype == torch.float32):
        return own
    shape, layers = tuple(question.x.shape[1:]), question.target.layers
    kinds = type(edits).__name__, str(question.target.descriptions[0].get("score")), bool(layers)
    key = ("calibration", str(device), asked, shape, *kinds, read is not None)
    known: tuple[object, Calibration] | None = model.facts.get(key)
    version = question.version
    if known is not None and known[0] == version:
        return known[1]
    sample = _SAMPLE["cuda" if question.x.is_cuda else "cpu"]
    forced = asked in ("fp16", "bf16") or question.execution.compiled
    # Asked for by name, single precision gives a run the bits of the beginning of a longer one.
    least = sample if asked == "fp32" else sample * _WORTH
    if edits.count * len(question.x) < least and not forced:
        fold = not layers
        earlier = model.facts.get(_replica_key(device, "fp32", fold, fold and packs(device), question.x.ndim))
        if earlier is None or earlier[0] != version or edits.count * len(question.x) < sample:
            return own
        return Calibration("fp32", earlier[1], {"precision": "fp32", **earlier[1].facts})
    started, passes = time.perf_counter(), replace(question.passes)
    try:
        trial = _Trial(question, edits, read, min(sample, edits.count * len(question.x)), batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        question.passes.forward = passes.forward
        return own  # the run will find the batch that fits
    found = _search(trial, asked, fold=not layers)
    spent = question.passes.forward - passes.forward
    question.passes.forward = passes.forward
    for name in [k for k in model.facts if isinstance(k, tuple) and k[:2] == ("replica", str(device))]:
        if model.facts[name][1] is not found.replica:
            del model.facts[name]  # memory is better spent on batches
    facts = {**found.facts, "trial_passes": spent, "trial_seconds": time.perf_counter() - started}
    found = replace(found, facts=facts)
    model.facts[key] = version, found
    return found


def forget(model: Model) -> dict[Any, Any]:
    """Drop and return what trials found, so that the next run does not depend on those before it.

    `model.facts.update` of it lets a run go on that had rested.
    """
    found = [k for k in model.facts if isinstance(k, tuple) and k[0] in ("calibration", "replica")]
    return {key: model.facts.pop(key) for key in found}


def _search(trial: _Trial, asked: Precision, *, fold: bool) -> Calibration:
    """Return the best replica that is true enough."""
    tried: Json = {}
    best, device = Calibration("fp32", None, {"precision": "fp32"}), trial.question.x.device
    ways = [(True, True)] * (fold and packs(device)) + [(True, False)] * fold + [(False, False)]
    outcome = _Outcome(None, float("inf"), {})
    for folding, fusing in ways:
        if folding and not fusing and outcome.replica is not None and not outcome.replica.fused:
            continue  # there was nothing to fuse: it is the same copy
        outcome = trial.of("fp32", fold=folding, fuse=fusing)
        fused = outcome.replica is not None and outcome.replica.fused > 0
        tried["fp32" + ", folded" * folding + ", fused" * fused] = outcome.facts
        if outcome.noise <= _EXACT and outcome.replica is not None:
            best = Calibration("fp32", outcome.replica, {"precision": "fp32", **outcome.facts})
            break
    halves = _halves(device) if asked == "auto" else (asked,) if asked != "fp32" else ()
    # With cuDNN a half-precision convolution with a bias is slower than one without, and a normalisation;
    # unless bias and rectifier are fused with it.
    if _biases_cost(device):
        folding = fusing = fusing and outcome.fused
    for precision in halves:
        outcome = trial.of(precision, fold=folding, fuse=fusing)
        tried[precision] = outcome.facts
        if outcome.replica is not None and (outcome.noise <= max(_CLOSE, trial.noise) or asked == precision):
            best = Calibration(precision, outcome.replica, {"precision": precision, **outcome.facts})
            break
    return replace(best, facts={**best.facts, "tried": tried})


def copied(question: Question, precision: Precision, *, fold: bool, fuse: bool = False) -> Replica:
    """Return the copy of the asked network, made once for its weights and a device.

    Parameters
    ----------
    question
        The model and inputs that it takes.
    precision
        Of the copy.
    fold, fuse
        See `replicate`.

    Raises
    ------
    Exception
        See `replicate`.
    """
    model, x = question.model, question.x
    key = _replica_key(x.device, precision, fold, fuse, x.ndim)
    known: tuple[object, Replica] | None = model.facts.get(key)
    version = question.version
    if known is None or known[0] != version:
        # Runs that take turns keep their trials apart (`forget`) and share the copies, which are alike.
        alive: _Alive = model.facts.setdefault("replicas", WeakValueDictionary())
        exact = (*key, tuple(x.shape[1:]), version)
        made = alive.get(exact)
        if made is None:
            made = alive[exact] = replicate(model.module, x, _DTYPES[precision], fold=fold, fuse=fuse)
        known = model.facts[key] = version, made
    return known[1]


def _replica_key(
    device: torch.device, precision: Precision, fold: bool, fuse: bool, axes: int
) -> tuple[object, ...]:
    return ("replica", str(device), precision, fold, fuse, axes)


def _biases_cost(device: torch.device) -> bool:
    """Tell whether a convolution with a bias of its own is slower than one without, and a normalisation."""
    return device.type == "cuda"


def _halves(device: torch.device) -> tuple[Precision, ...]:
    """Return the half precisions that the device is fast in."""
    if device.type == "cuda":
        return ("fp16", "bf16") if torch.cuda.is_bf16_supported() else ("fp16",)
    return ("bf16",) if native_halves(device) else ()


def native_halves(device: torch.device) -> bool:
    """Tell whether a processor multiplies bf16 natively."""
    able: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
    features = able()
    native = features.get("amx_bf16") or features.get("avx512_bf16") or features.get("bf16")
    return device.type == "cpu" and bool(native)


@dataclass(frozen=True)
class _Outcome:
    """A replica in a trial: the noise of its scores (infinite where it failed), and what to say of it."""

    replica: Replica | None
    noise: float
    facts: Json

    @property
    def fused(self) -> bool:
        """Whether most convolutions that a normalisation was folded into do what follows them, too."""
        return self.replica is not None and 2 * self.replica.fused >= self.replica.folded > 0


class _Trial:
    """A sample of the run's edits, and what the network itself scores on them."""

    def __init__(self, question: Question, edits: Edits, read: Read | None, size: int, batch: int) -> None:
        self.question, self.read, self.batch = question, read, batch
        x, n = question.x, len(question.x)
        which = torch.linspace(0, edits.count - 1, size).long().tolist()
        self.rows = torch.arange(size, device=x.device) % n
        with torch.inference_mode():
            edited = [
                edits.apply(
                    x, Jobs(self.rows[i : i + 1], torch.tensor([w], device=x.device), range(w, w + 1))
                )
                for i, w in enumerate(which)
            ]
            self.edited = torch.cat(edited)
        with without_tensor_float():
            self.own = self._scores(question, None)
        self.noise = _compare(self.own, self._scores(question, None))[0] if x.is_cuda else 0.0
        """Of the network as it runs: TensorFloat-32 has no more digits than fp16."""

    def of(self, precision: Precision, *, fold: bool, fuse: bool) -> _Outcome:
        """Return how a replica in `precision` does."""
        try:
            replica = copied(self.question, precision, fold=fold, fuse=fuse)
            model = self.question.model.with_module(replica.module, replica.dtype)
            with without_tensor_float():
                scores = self._scores(replace(self.question, model=model), replica)
        except Exception as error:  # whatever a network raises when it is copied or run in another type
            if is_out_of_memory(error):
                torch.cuda.empty_cache()
            return _Outcome(None, float("inf"), {"failed": f"{type(error).__name__}: {error}"[:200]})
        noise, facts = _compare(self.own, scores)
        return _Outcome(replica, noise, {**facts, **replica.facts})

    def _scores(self, question: Question, replica: Replica | None) -> Tensor:
        """Return `(size, k)` float64 scores, or numbers read."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(self.edited), self.batch):
                x, rows = self.edited[start : start + self.batch], self.rows[start : start + self.batch]
                answer = question.answer(x if replica is None else replica.place(x))
                read = question.target if self.read is None else self.read
                parts.append(read(answer, rows).double().reshape(len(rows), -1))
        return torch.cat(parts)


def _compare(own: Tensor, scores: Tensor) -> tuple[float, Json]:
    """Return the noise in `(k, d)` scores, and the facts."""
    gap = scores - own
    spread = (own - own.mean(0)).square().mean().sqrt()
    noise = float((gap - gap.mean(0)).square().mean().sqrt() / spread)
    largest = float(gap.abs().max())
    if noise != noise or largest != largest:
        return float("inf"), {"failed": "scores are not finite, or all the same"}
    spearman = float(Agreement.of(own[:, :1].T, scores[:, :1].T).spearman)
    return noise, {"noise": noise, "spearman": spearman, "largest": largest}


def _name(dtype: torch.dtype) -> str:
    return next((name for name, d in _DTYPES.items() if d == dtype), str(dtype).removeprefix("torch."))
