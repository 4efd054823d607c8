"""Concept discovery: directions of a layer that nobody named, and how much each matters for a score.

Photos are cut into patches. What the layer puts out for them, pooled, is factored into a few non-negative
directions, the concepts: each patch is a sum of them. In a whole photo every cell is written as such a sum,
and the concepts are turned down at random to see how much of the score's variance each accounts for.

Formula
    A (patches, channels): the layer's rectified output, averaged over its cells. A ~ U W, U, W >= 0.
    In a photo, cells F ~ V W with V >= 0 and W fixed. Importance: total Sobol index of the score of
    (V with concept j times m_j) W, m uniform in [0, 1], one factor a concept for all cells; mean over photos.
Needs
    a layer with a grid, that nothing goes around, and from which the pass can be resumed; scikit-learn.
Cost
    a forward pass a patch (25 a photo by default), one a photo, and of what is behind the layer
    32 (concepts + 2) passes a photo.
Fidelity
    `error` is the mean of |score of V W - score| / |score| over photos: what the concepts leave out. Above a
    few tenths importances are about another network.
Paper
    Fel et al.: CRAFT: Concept Recursive Activation FacTorization for Explainability, 2023,
    https://arxiv.org/abs/2211.10154. Fidelity: Zhang et al.: Invertible Concept-based Explanations (ICE),
    2021, https://arxiv.org/abs/2006.15417.
Departures
    without recursion. Negative outputs count as 0. Patches are cut from the model's input, not the photo.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy import targets
from seewhy.batching import default_batch_size
from seewhy.concepts.receptive_fields import Box
from seewhy.concepts.references import student
from seewhy.concepts.sobol import designs, total_indices
from seewhy.errors import BadInput, MissingExtra
from seewhy.execution import Execution
from seewhy.models.grids import Grid
from seewhy.models.layers import layer_of
from seewhy.models.model import Model
from seewhy.models.resume import resume_from
from seewhy.targets import TargetLike


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
    """

    layer: str | None = None
    concepts: int = 10
    patch: float = 64 / 224
    stride: float = 0.8
    rows: int = 32
    examples: int = 8

    def __post_init__(self) -> None:
        counts = self.concepts >= 1 and self.rows >= 2 and self.examples >= 1
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
        `(channels,)` float32, not negative, of length 1.
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
    """

    layer: str
    concepts: tuple[Concept, ...]
    error: float
    photos: int

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

    Raises
    ------
    BadInput
        For fewer patches than concepts.
    DoesNotFit
        For a layer without a grid, or one that the pass cannot be resumed from.
    MissingExtra
        When scikit-learn is not installed.
    """
    settings, execution, solver = settings or Discovering(), execution or Execution(), _solver()
    if not photos:
        raise BadInput("Asked to discover concepts", "There are no photos", "Give at least one")
    first = model.prepare(photos[0]).tensor
    layer = layer_of(model, settings.layer, tuple(first.shape[1:]))
    assert layer.grid is not None
    with model.untouched(execution.device), torch.no_grad():
        windows, rows = _patches(model, photos, layer.name, layer.grid, settings, execution)
        if len(rows) < settings.concepts:
            found = f"{len(rows)} patches for {settings.concepts} concepts"
            raise BadInput("Asked to discover concepts", f"Found {found}", "Give more photos")
        factored = solver.NMF(
            settings.concepts, init="nndsvda", random_state=execution.seed, max_iter=1000, tol=1e-5
        )
        amounts = torch.from_numpy(factored.fit_transform(rows.double().numpy()))
        directions = torch.from_numpy(factored.components_)
        indices, errors = [], []
        for done, photo in enumerate(photos):
            x = model.prepare(photo).tensor.to(model.device, model.dtype)
            index, error = _importance(
                model, x, layer.name, layer.grid, factored, settings, target, execution
            )
            indices.append(index)
            errors.append(error)
            execution.step(done + 1, len(photos), "importance of concepts")
    table = torch.stack(indices)
    margins = student(len(table) - 1) * table.std(0) / len(table) ** 0.5 if len(table) > 1 else None
    length = directions.norm(dim=1).clamp_min(1e-12)
    concepts = []
    for j in table.mean(0).argsort(dim=0, descending=True, stable=True).tolist():
        amount = amounts[:, j] * length[j]
        best = amount.argsort(dim=0, descending=True, stable=True)[: settings.examples].tolist()
        concepts.append(
            Concept(
                (directions[j] / length[j]).float(),
                float(table[:, j].mean()),
                float("nan") if margins is None else float(margins[j]),
                tuple(Example(windows[i][0], windows[i][1], float(amount[i])) for i in best if amount[i] > 0),
            )
        )
    return Discovered(layer.name, tuple(concepts), sum(errors) / len(errors), len(photos))


def _patches(
    model: Model,
    photos: Sequence[str | Path],
    layer: str,
    grid: Grid,
    settings: Discovering,
    execution: Execution,
) -> tuple[list[tuple[str, Box]], Tensor]:
    """Return every patch's photo and window, and the `(patches, channels)` rectified means of the layer."""
    windows: list[tuple[str, Box]] = []
    rows: list[Tensor] = []
    for done, photo in enumerate(photos):
        x = model.prepare(photo).tensor.to(model.device, model.dtype)
        boxes = list(windows_over(tuple(x.shape[2:]), settings.patch, settings.stride))
        cut = torch.cat(
            [
                interpolate(x[:, :, a:b, c:d], x.shape[2:], mode="bilinear", align_corners=False)
                for (a, b), (c, d) in boxes
            ]
        )
        size = execution.batch_size or default_batch_size(x)
        outputs = (grid.read(model.answer(part, [layer]).activations[layer]) for part in cut.split(size))
        rows += [output.relu().flatten(2).mean(2).cpu() for output in outputs]
        windows += [(str(photo), box) for box in boxes]
        execution.step(done + 1, len(photos), "patches")
    return windows, torch.cat(rows)


def windows_over(size: tuple[int, ...], patch: float, stride: float) -> Iterator[Box]:
    """Yield windows of the input's proportions that cover `(height, width)`, the last ones flush."""
    sides = [max(1, round(patch * s)) for s in size]
    starts = [
        sorted({*range(0, s - side + 1, max(1, int(stride * side))), s - side})
        for s, side in zip(size, sides, strict=True)
    ]
    for top in starts[0]:
        for left in starts[1]:
            yield (top, top + sides[0]), (left, left + sides[1])


def _importance(
    model: Model,
    x: Tensor,
    layer: str,
    grid: Grid,
    factored: Any,
    settings: Discovering,
    target: TargetLike,
    execution: Execution,
) -> tuple[Tensor, float]:
    """Return the `(concepts,)` total indices in one photo, and the relative error of its score."""
    resumed = resume_from(model, layer, x)
    bound = targets.bind(target, model, resumed.answer, "logit")
    cells = grid.read(resumed.activation)
    c, shape = cells.shape[1], cells.shape[2:]
    flat = cells[0].relu().flatten(1).T.double().cpu().numpy()
    amounts = torch.from_numpy(factored.transform(flat))
    directions = torch.from_numpy(factored.components_)

    def scores(masks: Tensor) -> Tensor:
        found = []
        for part in masks.split(execution.batch_size or default_batch_size(x)):
            sums = torch.einsum("mj,pj,jc->mcp", part, amounts, directions).reshape(len(part), c, *shape)
            output = grid.write(sums.to(x), resumed.activation)
            answer = resumed(output)
            found.append(bound(answer, torch.zeros(len(part), dtype=torch.long, device=x.device)).cpu())
        return torch.cat(found)

    whole = float(bound(resumed.answer, torch.zeros(1, dtype=torch.long, device=x.device)))
    rebuilt = float(scores(torch.ones(1, len(directions), dtype=torch.float64)))
    outputs = scores(designs(len(directions), settings.rows))
    return total_indices(outputs, len(directions)), abs(rebuilt - whole) / max(abs(whole), 1e-12)


def _solver() -> Any:
    try:
        return importlib.import_module("sklearn.decomposition")
    except ImportError as error:
        do = "pip install 'seewhy[concepts]'"
        raise MissingExtra("Asked to discover concepts", "scikit-learn", do) from error
