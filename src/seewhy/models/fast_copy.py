"""Fast copy: who answers for a frozen network where many inputs pass it.

On a folded copy (`models.replica`) a pass takes half to two thirds of the time on processors: batch
normalisation has gone into the convolutions, whose weights lie channels last; less where these are packed and
rectify, too (`models.packed`), which a pass with gradients does without. The copy is used only where, on
inputs of the run, its output and every layer that is read agree with the network's to a thousandth; a network
without normalisation to fold answers itself. Training asks its frozen networks so, and a call with many
inputs its first passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from seewhy.batching import is_out_of_memory
from seewhy.models.model import Model
from seewhy.models.replica import packs, replicate
from seewhy.types import Batch

_TRUE = 1e-3
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
    copy = _copied(model, x, fuse=False)
    return copy if copy is not None and _true(model, copy, x, layers) else model


def kept_copy(model: Model, x: Batch, layers: Sequence[str], version: tuple[object, ...]) -> Model:
    """Return a copy as `fast_copy` or a fused one; it is made once for a size of inputs and a version.

    Parameters
    ----------
    model, x, layers
        As in `fast_copy`.
    version
        Of the model: see `Question.version`.
    """
    x = x[:_SAMPLE]
    key = ("fast copy", str(x.device), tuple(x.shape[1:]))
    kept: _Kept | None = model.facts.get(key)
    if kept is None or kept.version != version:
        kept = model.facts[key] = _Kept(version)
    read = tuple(layers)
    if read not in kept.found:
        kept.found[read] = kept.truest(model, x, read)
    return kept.found[read] or model


@dataclass
class _Kept:
    """Copies of one version of a model, for inputs of one size.

    Parameters
    ----------
    version
        Of the model.
    fused
        The first fused copy, and the last one that had to spare some layer; each takes as much memory as the
        network.
    folded
        Copies without anything fused: none before it was needed, then one, or None where it is of no use.
    found
        By layers read: which copy is true; None for the network itself.
    """

    version: tuple[object, ...]
    fused: list[Model] = field(default_factory=list)
    folded: list[Model | None] = field(default_factory=list)
    found: dict[tuple[str, ...], Model | None] = field(default_factory=dict)

    def truest(self, model: Model, x: Batch, layers: tuple[str, ...]) -> Model | None:
        """Return the fastest copy that is true at `layers`; None where none is."""
        for copy in self.fused:
            if _true(model, copy, x, layers):
                return copy
        made = _copied(model, x, fuse=True, shown=layers) if packs(x.device) else None
        if made is not None and _true(model, made, x, layers):
            gone = self.fused[1:]
            self.found = {read: copy for read, copy in self.found.items() if copy not in gone}
            self.fused = [*self.fused[:1], made]
            return made
        if not self.folded:
            self.folded = [_copied(model, x, fuse=False)]
        plain = self.folded[0]
        return plain if plain is not None and _true(model, plain, x, layers) else None


def _copied(model: Model, x: Batch, *, fuse: bool, shown: Sequence[str] = ()) -> Model | None:
    """Return a model of the copy; None where there is none, or nothing to fold, or to fuse."""
    if not model.differentiable or model.dtype != torch.float32:
        return None
    try:
        replica = replicate(model.module, x, torch.float32, fold=True, fuse=fuse, shown=shown)
    except Exception as error:  # whatever a network raises when it is copied
        if is_out_of_memory(error):
            raise
        return None
    useful = replica.fused if fuse else replica.folded
    return model.with_module(replica.module, torch.float32) if useful else None


def _true(model: Model, copy: Model, x: Batch, layers: Sequence[str]) -> bool:
    """Tell whether a copy puts out what the network does, at its end and at some layers."""
    try:
        with torch.no_grad():
            own, other = model.answer(x, layers), copy.answer(x, layers)
    except Exception as error:  # whatever a copy raises when it is run
        if is_out_of_memory(error):
            raise
        return False
    pairs = [(own.output, other.output)]
    pairs += [(own.activations[layer], other.activations[layer]) for layer in layers]
    return all(_alike(a, b) for a, b in pairs)


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).double().norm() <= _TRUE * a.double().norm())
