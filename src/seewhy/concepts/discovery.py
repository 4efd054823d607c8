"""Concept discovery: directions of a layer that nobody named, and how much each matters for a score.

Two ways to find them. "nmf": photos are cut into patches, and what the layer puts out for them, pooled, is
factored into a few non-negative directions: each patch is a sum of them. "sae": a sparse autoencoder learns
many directions from the layer's cells, of which each cell may use but a few. Either way every cell of a photo
is then such a sum, and the concepts are turned down at random to see how much of the score's variance each
accounts for.

Formula
    nmf: A (patches, channels), the layer's rectified output averaged over its cells. A ~ U W, U, W >= 0.
    sae: see below. In a photo, cells F ~ b + V W with V >= 0 and W fixed; b is 0 for nmf. Importance: total
    Sobol index of the score of b + (V with concept j times m_j) W, m uniform in [0, 1], one factor a concept
    for all cells; mean over photos.
Needs
    a layer with a grid, that nothing goes around, and from which the pass can be resumed; scikit-learn.
Cost
    nmf: a forward pass a patch (25 a photo by default). sae: training, and the same number of directions
    factored beside it. Then one pass a photo, and of what is behind the layer 32 (concepts + 2) a photo.
Fidelity
    `error` is the mean of |score of b + V W - score| / |score| over photos: what the concepts leave out.
    Above a few tenths importances are about another network. `fits` say how well cells are explained, with
    how many concepts each, and which share is never used; for sae on every fifth photo, which it did not
    learn from, with a factorisation of the same size beside it, fitted to 2,048 of the same cells in 100
    rounds, at most.
Paper
    Fel et al.: CRAFT: Concept Recursive Activation FacTorization for Explainability, 2023,
    https://arxiv.org/abs/2211.10154. Fidelity: Zhang et al.: Invertible Concept-based Explanations (ICE),
    2021, https://arxiv.org/abs/2006.15417.
Departures
    without recursion. For nmf negative outputs count as 0. Patches are cut from the model's input, not the
    photo. Sobol indices for autoencoders, too, so that both can be compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from seewhy import targets
from seewhy.batching import default_batch_size
from seewhy.concepts.factors import Factors, Fit, NonNegative, Tally, decomposition
from seewhy.concepts.finding import cells_of, patches_of, window_at
from seewhy.concepts.receptive_fields import Box
from seewhy.concepts.references import student
from seewhy.concepts.sobol import designs, total_indices
from seewhy.concepts.sparse_autoencoder import train_autoencoder
from seewhy.concepts.store import FeatureStore
from seewhy.errors import BadInput, UnknownName
from seewhy.execution import Execution
from seewhy.models.grids import Grid
from seewhy.models.layers import layer_of
from seewhy.models.model import Model
from seewhy.models.resume import resume_from
from seewhy.targets import TargetLike

Kind: TypeAlias = Literal["nmf", "sae"]
_BESIDE, _ROUNDS, _HELD = 2048, 100, 5
"""Cells that the factorisation beside an autoencoder is fitted to, and rounds, at most; every which photo is
held out."""


@dataclass(frozen=True)
class Discovering:
    """What to look for.

    Parameters
    ----------
    layer
        A name; None is the model's default.
    concepts
        How many, at least 1.
    patch
        Side of a patch as a part of the input's, above 0 and at most 1.
    stride
        From patch to patch as a part of a patch, above 0 and at most 1.
    rows
        Of the Sobol designs, at least 2.
    examples
        Patches kept a concept.
    factors
        "nmf" or "sae".
    active
        Most concepts of a cell, at least 1 (sae).
    steps
        Of training, at least 1 (sae).
    """

    layer: str | None = None
    concepts: int = 10
    patch: float = 64 / 224
    stride: float = 0.8
    rows: int = 32
    examples: int = 8
    factors: Kind = "nmf"
    active: int = 8
    steps: int = 2000

    def __post_init__(self) -> None:
        if self.factors not in get_args(Kind):
            raise UnknownName("way to find concepts", self.factors, get_args(Kind))
        counts = min(self.concepts, self.examples, self.active, self.steps) >= 1 and self.rows >= 2
        if not (counts and 0 < self.patch <= 1 and 0 < self.stride <= 1):
            raise BadInput(
                "Asked to discover concepts", f"Found {self}", "Give parts in (0, 1], counts above 0"
            )


@dataclass(frozen=True)
class Example:
    """A patch of a photo: its window in pixels of the model's input, and how much of the concept is in it."""

    name: str
    window: Box
    value: float


@dataclass(frozen=True, eq=False)
class Concept:
    """One direction.

    Parameters
    ----------
    direction
        `(channels,)` float32 of length 1; not negative (nmf).
    importance, margin
        Mean total index over photos, 0 or more, and half of its 95 % interval; NaN for a single photo.
    examples
        Patches with most of it, best first.
    """

    direction: Tensor
    importance: float
    margin: float
    examples: tuple[Example, ...]


@dataclass(frozen=True, eq=False)
class Discovered:
    """Concepts of a layer, most important first.

    Parameters
    ----------
    layer
        Its name.
    concepts
        What was found.
    error
        Mean relative error of the score when cells are replaced by their sums of concepts.
    photos
        How many.
    factors
        How they were found.
    fits
        How well cells are explained: "nmf" over all photos; or "sae" over those that it learned from, and
        "sae, held out" and "nmf, held out" over the others, where there are at least 5 photos.
    """

    layer: str
    concepts: tuple[Concept, ...]
    error: float
    photos: int
    factors: Kind
    fits: Mapping[str, Fit]

    @property
    def directions(self) -> Tensor:
        """`(concepts, channels)`: the directions."""
        return torch.stack([c.direction for c in self.concepts])


def discover(
    model: Model,
    photos: Sequence[str | Path],
    settings: Discovering | None = None,
    target: TargetLike = None,
    execution: Execution | None = None,
    *,
    store: FeatureStore | None = None,
) -> Discovered:
    """Discover concepts in photos, best those of one class.

    Parameters
    ----------
    model, target
        Whose score; the model's own answer to each photo by default.
    photos
        Paths.
    settings
        What to look for.
    execution
        Seed, batch size, progress, cancelling, device.
    store
        Where an autoencoder finds and keeps the cells that it learns from; None reads them anew (sae).

    Raises
    ------
    BadInput
        For fewer patches or cells than concepts.
    DoesNotFit
        For a layer without a grid, or one that the pass cannot be resumed from.
    MissingExtra
        When scikit-learn is not installed.
    """
    settings, execution = settings or Discovering(), execution or Execution()
    decomposition()
    if not photos:
        raise BadInput("Asked to discover concepts", "There are no photos", "Give at least one")
    first = model.prepare(photos[0]).tensor
    layer = layer_of(model, settings.layer, tuple(first.shape[1:]))
    assert layer.grid is not None
    with model.untouched(execution.device), torch.no_grad():
        factors: Factors
        if settings.factors == "nmf":
            factors, examples = _factored(model, photos, layer.name, layer.grid, settings, execution)
            kept, beside = ["nmf"] * len(photos), None
        else:
            kept = ["sae, held out" if _is_held(i, len(photos)) else "sae" for i in range(len(photos))]
            learned = [photo for photo, name in zip(photos, kept, strict=True) if name == "sae"]
            cells = cells_of(model, learned, layer.name, layer.grid, store, execution)
            _enough(len(cells), settings.concepts, "cells")
            factors = train_autoencoder(
                cells.to(model.device), settings.concepts, settings.active, settings.steps, execution
            )
            beside = _beside(cells, settings.concepts, execution.seed) if "sae, held out" in kept else None
        tallies: dict[str, Tally] = {}
        indices, errors, peaks, places = [], [], [], []
        for done, (photo, name) in enumerate(zip(photos, kept, strict=True)):
            x = model.prepare(photo).tensor.to(model.device, model.dtype)
            index, error, cells, amounts = _importance(
                model, x, layer.name, layer.grid, factors, settings, target, execution
            )
            indices.append(index)
            errors.append(error)
            tallies.setdefault(name, Tally()).add(factors, cells, amounts)
            if beside is not None and name == "sae, held out":
                tallies.setdefault("nmf, held out", Tally()).add(beside, cells, beside.amounts(cells))
            peaks.append(amounts.amax(0))
            places.append(amounts.argmax(0))
            execution.step(done + 1, len(photos), "importance of concepts")
    if settings.factors == "sae":
        size = tuple(first.shape[2:])
        examples = _strongest(photos, torch.stack(peaks), torch.stack(places), layer.grid, size, settings)
    table = torch.stack(indices)
    margins = student(len(table) - 1) * table.std(0) / len(table) ** 0.5 if len(table) > 1 else None
    directions = factors.directions
    length = directions.norm(dim=1).clamp_min(1e-12)
    concepts = [
        Concept(
            (directions[j] / length[j]).float(),
            float(table[:, j].mean()),
            float("nan") if margins is None else float(margins[j]),
            tuple(Example(e.name, e.window, e.value * float(length[j])) for e in examples[j]),
        )
        for j in table.mean(0).argsort(dim=0, descending=True, stable=True).tolist()
    ]
    fits = {name: tally.fit() for name, tally in tallies.items()}
    error = sum(errors) / len(errors)
    return Discovered(layer.name, tuple(concepts), error, len(photos), settings.factors, fits)


def _is_held(i: int, photos: int) -> bool:
    return photos >= _HELD and i % _HELD == _HELD - 1


def _enough(there: int, concepts: int, what: str) -> None:
    if there < concepts:
        raise BadInput(
            "Asked to discover concepts", f"Found {there} {what} for {concepts} concepts", "Give more photos"
        )


def _factored(
    model: Model,
    photos: Sequence[str | Path],
    layer: str,
    grid: Grid,
    settings: Discovering,
    execution: Execution,
) -> tuple[Factors, list[list[Example]]]:
    """Return factors of patches, and the patches with most of each."""
    windows, rows = patches_of(model, photos, layer, grid, settings.patch, settings.stride, execution)
    _enough(len(rows), settings.concepts, "patches")
    factors, amounts = NonNegative.fit(rows, settings.concepts, execution.seed)
    best = amounts.argsort(dim=0, descending=True, stable=True)[: settings.examples]
    return factors, [
        [
            Example(windows[i][0], windows[i][1], float(amounts[i, j]))
            for i in best[:, j].tolist()
            if amounts[i, j] > 0
        ]
        for j in range(settings.concepts)
    ]


def _beside(cells: Tensor, concepts: int, seed: int) -> NonNegative:
    """Return the factorisation that an autoencoder is compared with, fitted to evenly chosen cells."""
    chosen = cells[:: max(1, len(cells) // _BESIDE)][:_BESIDE]
    with warnings.catch_warnings():  # rounds are limited, which the page says
        warnings.simplefilter("ignore")
        return NonNegative.fit(chosen, concepts, seed, _ROUNDS, 1e-3)[0]


def _strongest(
    photos: Sequence[str | Path],
    peaks: Tensor,
    places: Tensor,
    grid: Grid,
    size: tuple[int, ...],
    settings: Discovering,
) -> list[list[Example]]:
    """Return the photos with most of each concept in a cell, `(photos, concepts)`, and a window around it."""
    best = peaks.argsort(dim=0, descending=True, stable=True)[: settings.examples]
    return [
        [
            Example(
                str(photos[i]),
                window_at(int(places[i, j]), grid.cells, size, settings.patch),
                float(peaks[i, j]),
            )
            for i in best[:, j].tolist()
            if peaks[i, j] > 0
        ]
        for j in range(settings.concepts)
    ]


def _importance(
    model: Model,
    x: Tensor,
    layer: str,
    grid: Grid,
    factors: Factors,
    settings: Discovering,
    target: TargetLike,
    execution: Execution,
) -> tuple[Tensor, float, Tensor, Tensor]:
    """Return the `(concepts,)` total indices in one photo, its score's relative error, cells and amounts."""
    resumed = resume_from(model, layer, x)
    bound = targets.bind(target, model, resumed.answer, "logit")
    cells = grid.read(resumed.activation)
    c, shape = cells.shape[1], cells.shape[2:]
    flat = cells[0].flatten(1).T.cpu()
    amounts, directions = factors.amounts(flat), factors.directions

    def scores(masks: Tensor) -> Tensor:
        found = []
        for part in masks.split(execution.batch_size or default_batch_size(x)):
            sums = torch.einsum("mj,pj,jc->mcp", part, amounts, directions) + factors.offset[:, None]
            sums = sums.reshape(len(part), c, *shape)
            output = grid.write(sums.to(x), resumed.activation)
            answer = resumed(output)
            found.append(bound(answer, torch.zeros(len(part), dtype=torch.long, device=x.device)).cpu())
        return torch.cat(found)

    whole = float(bound(resumed.answer, torch.zeros(1, dtype=torch.long, device=x.device)))
    rebuilt = float(scores(torch.ones(1, len(directions), dtype=torch.float64)))
    outputs = scores(designs(len(directions), settings.rows))
    error = abs(rebuilt - whole) / max(abs(whole), 1e-12)
    return total_indices(outputs, len(directions)), error, flat, amounts
