"""Fast copy: who answers for a frozen network where many inputs pass it.

On a folded copy (`models.replica`) a pass takes half to two thirds of the time on processors: batch
normalisation has gone into the convolutions, whose weights lie channels last; less where these are packed,
add and rectify, too (`models.packing`). The copy is used only where, on inputs of the run, its output and
every layer that is read agree with the network's to a thousandth; for who asked for bf16, as well as that
can, which the caller is told. A network without normalisation to fold answers itself. Training asks its
frozen networks so, and a call with many inputs its first passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from seewhy.batching import is_out_of_memory
from seewhy.models.model import Model
from seewhy.models.replica import packs, replicate
from seewhy.models.tensor_float import without_tensor_float
from seewhy.types import Batch

_TRUE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest distance of what a copy puts out, as a part of its length."""
_SAMPLE = 2
"""Inputs on which a copy is compared."""


def fast_copy(model: Model, x: Batch, layers: Sequence[str] = ()) -> Model:
    """Return a model that answers as `model`, sooner; `model` where no copy does.

    Nothing is fused in it: training, which asks for it, takes gradients through most passes, and its results
    can be compared with those of earlier versions.

    Parameters
    ----------
    model
        In single precision, frozen and in evaluation mode (`untouched`).
    x
        `(n, c, *size)` inputs of the run, on the model's device.
    layers
        Names of layers that will be read or replaced.
    """
    x = x[:_SAMPLE]
    copy = _copied(model, x, torch.float32, fuse=False)
    return copy if copy is not None and _gap(model, copy, x, layers) <= _TRUE[torch.float32] else model


def kept_copy(
    model: Model,
    x: Batch,
    layers: Sequence[str],
    version: tuple[object, ...],
    dtype: torch.dtype = torch.float32,
) -> tuple[Model, float]:
    """Return a copy as `fast_copy` or a fused one, made once for a size of inputs and a version, and its gap.

    The gap is the largest distance of what it puts out, at its end or a layer, as a part of its length; 0 for
    the network itself.

    Parameters
    ----------
    model, x, layers
        As in `fast_copy`.
    version
        Of the model: see `Question.version`.
    dtype
        Of the copy: single precision, or bf16 for who asks for it; one in single precision answers where that
        is too far off.
    """
    key = ("fast copy", str(x.device), tuple(x.shape[1:]), dtype)
    kept: _Kept | None = model.facts.get(key)
    if kept is None or kept.version != version:
        kept = model.facts[key] = _Kept(version, dtype)
    read = tuple(layers)
    if read not in kept.found:
        kept.found[read] = kept.truest(model, x[:_SAMPLE], read)
    found, gap = kept.found[read]
    if found is None and dtype != torch.float32:
        return kept_copy(model, x, layers, version)
    return found or model, gap


@dataclass
class _Kept:
    """Copies of one version of a model, for inputs of one size.

    Parameters
    ----------
    version
        Of the model.
    dtype
        Of the copies.
    fused
        The first fused copy, and the last one that had to spare some layer; each takes as much memory as the
        network.
    folded
        Copies without anything fused: none before it was needed, then one, or None where it is of no use.
    found
        By layers read: which copy is true, None for the network itself; and its gap.
    """

    version: tuple[object, ...]
    dtype: torch.dtype
    fused: list[Model] = field(default_factory=list)
    folded: list[Model | None] = field(default_factory=list)
    found: dict[tuple[str, ...], tuple[Model | None, float]] = field(default_factory=dict)

    def truest(self, model: Model, x: Batch, layers: tuple[str, ...]) -> tuple[Model | None, float]:
        """Return the fastest copy that is true at `layers`, None where none is, and its gap."""
        most = _TRUE[self.dtype]
        for copy in self.fused:
            if (gap := _gap(model, copy, x, layers)) <= most:
                return copy, gap
        made = _copied(model, x, self.dtype, fuse=True, shown=layers) if packs(x.device) else None
        if made is not None and (gap := _gap(model, made, x, layers)) <= most:
            gone = self.fused[1:]
            self.found = {read: copy for read, copy in self.found.items() if copy[0] not in gone}
            self.fused = [*self.fused[:1], made]
            return made, gap
        if not self.folded:
            self.folded = [_copied(model, x, self.dtype, fuse=False)]
        plain = self.folded[0]
        gap = float("inf") if plain is None else _gap(model, plain, x, layers)
        return (plain, gap) if gap <= most else (None, 0.0)


def _copied(
    model: Model, x: Batch, dtype: torch.dtype, *, fuse: bool, shown: Sequence[str] = ()
) -> Model | None:
    """Return a model of the copy; None where there is none, or nothing to fold, or to fuse."""
    if not model.differentiable or model.dtype != torch.float32:
        return None
    if dtype == torch.float32 and not any(isinstance(m, _BatchNorm) for m in model.module.modules()):
        return None  # nothing to fold: large networks need not be copied to find out
    try:
        replica = replicate(model.module, x, dtype, fold=True, fuse=fuse, shown=shown)
    except Exception as error:  # whatever a network raises when it is copied
        if is_out_of_memory(error):
            raise
        return None
    useful = replica.fused if fuse else replica.folded or dtype != torch.float32
    return model.with_module(replica.module, dtype) if useful else None


def _gap(model: Model, copy: Model, x: Batch, layers: Sequence[str]) -> float:
    """Return how far a copy is off, at its end and at some layers, as a part of the length of either."""
    try:
        with torch.no_grad(), without_tensor_float():
            own, other = model.answer(x, layers), copy.answer(x, layers)
    except Exception as error:  # whatever a copy raises when it is run
        if is_out_of_memory(error):
            raise
        return float("inf")
    pairs = [(own.output, other.output)]
    pairs += [(own.activations[layer], other.activations[layer]) for layer in layers]
    return max(_distance(a, b) for a, b in pairs)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    gap, length = float((a - b).double().norm()), float(a.double().norm())
    found = gap / length if length else float("inf" if gap else 0)
    return found if found == found else float("inf")
