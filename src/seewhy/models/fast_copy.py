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
from typing import TypeAlias

import torch

from seewhy.batching import is_out_of_memory
from seewhy.models.model import Model
from seewhy.models.replica import replicate
from seewhy.types import Batch

_Made: TypeAlias = dict[bool, Model | None]
"""Copies, fused or not; None where there is none of use."""

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
    return _truest(model, x[:_SAMPLE], layers, {True: None}) or model


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
    known: tuple[tuple[object, ...], _Made, dict[tuple[str, ...], Model | None]] | None = model.facts.get(key)
    if known is None or known[0] != version:
        known = model.facts[key] = version, {}, {}
    _, made, found = known
    read = tuple(layers)
    if read not in found:
        found[read] = _truest(model, x, layers, made)
    return found[read] or model


def _truest(model: Model, x: Batch, layers: Sequence[str], made: _Made) -> Model | None:
    """Return the fastest copy that is true; a fused one no longer shows what it fused, a folded one may."""
    for fuse in (True, False) if x.device.type == "cpu" else (False,):
        if fuse not in made:
            made[fuse] = _copied(model, x, fuse)
        copy = made[fuse]
        if copy is not None and _true(model, copy, x, layers):
            return copy
    return None


def _copied(model: Model, x: Batch, fuse: bool) -> Model | None:
    """Return a model of the copy; None where there is none, or nothing to fold, or to fuse."""
    if not model.differentiable or model.dtype != torch.float32:
        return None
    try:
        replica = replicate(model.module, x, torch.float32, fold=True, fuse=fuse)
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
