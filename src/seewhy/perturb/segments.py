"""Segments: the input cut into pieces that are shown or hidden as a whole, the features of SHAP and LIME.

`grid:N` cuts height and width into N parts each, a clip's frames into at most 4. `slic:N` makes about N
superpixels of similar colour (supervoxels of a clip) with scikit-image, compactness 10.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import BadInput, MissingExtra, UnknownName
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.question import Question
from seewhy.types import Size

_TIME_CELLS = 4
_KINDS = ("grid", "slic")


@dataclass(frozen=True)
class Segments:
    """Which segment each pixel belongs to.

    Parameters
    ----------
    labels
        `(n, *size)` int64 on the device of the inputs: 0 .. count - 1.
    counts
        For each sample, how many segments it has.
    """

    labels: Tensor
    counts: tuple[int, ...]

    def painted(self, values: Sequence[Tensor]) -> Tensor:
        """Return `(n, *size)`: for each sample its `(count,)` values, one a segment, on every pixel."""
        return torch.stack(
            [v.to(labels.device)[labels] for v, labels in zip(values, self.labels, strict=True)]
        )


def parse(text: str) -> tuple[str, int]:
    """Return kind and number of `grid:7` or `slic:50`.

    Raises
    ------
    BadInput
        For anything else.
    """
    kind, _, number = text.partition(":")
    if kind not in _KINDS:
        raise UnknownName("kind of segments", kind, _KINDS)
    if not (number.isdecimal() and int(number) >= 1):
        raise BadInput(f"Asked for the segments {text!r}", f"Found {number!r}", f"Write '{kind}:{10}'")
    return kind, int(number)


def segments(question: Question, text: str) -> Segments:
    """Cut the inputs of a question into segments.

    Parameters
    ----------
    question
        The inputs, and the preprocessing that leads back to colours.
    text
        "grid:N" or "slic:N".

    Raises
    ------
    MissingExtra
        When superpixels are asked for and scikit-image is not installed.
    """
    kind, number = parse(text)
    x = question.x
    if kind == "grid":
        labels = grid(tuple(x.shape[2:]), number).to(x.device)
        return Segments(labels.expand(len(x), *labels.shape), (int(labels.max()) + 1,) * len(x))
    found = [_superpixels(_colours(question, sample), number) for sample in x]
    return Segments(torch.stack(found).to(x.device), tuple(int(labels.max()) + 1 for labels in found))


def grid_count(size: Size, number: int) -> int:
    """Return how many parts `grid:number` cuts an input of `size` into."""
    return prod(_cells(size, number))


def grid(size: Size, number: int) -> Tensor:
    """Return `(*size,)` int64 labels of a grid; parts along an axis differ by at most one pixel."""
    cells = _cells(size, number)
    labels = torch.zeros(size, dtype=torch.int64)
    for axis, (length, parts) in enumerate(zip(size, cells, strict=True)):
        part = torch.arange(length) * parts // length
        labels = labels * parts + part.reshape([-1 if i == axis else 1 for i in range(len(size))])
    return labels


def _cells(size: Size, number: int) -> list[int]:
    return [*(min(_TIME_CELLS, s) for s in size[:-2]), *(min(number, s) for s in size[-2:])]


def _colours(question: Question, sample: Tensor) -> np.ndarray:
    """Return `(*size, c)` float64 colours, 0 to 1; without preprocessing, of the sample's own range."""
    preprocess = question.model.preprocess
    if preprocess is not None and len(preprocess.mean) == len(sample):
        pixels = preprocess.display(sample).cpu().double() / 255
    else:
        pixels = sample.double().cpu() - sample.double().min().cpu()
        pixels = pixels / pixels.max().clamp_min(1e-12)
    return np.ascontiguousarray(pixels.movedim(0, -1).numpy())


def _superpixels(colours: np.ndarray, number: int) -> Tensor:
    try:
        segmentation = importlib.import_module("skimage.segmentation")
    except ImportError as error:
        raise MissingExtra(
            "Asked for superpixels", "scikit-image", "pip install 'seewhy[demo]', or use segments='grid:7'"
        ) from error
    labels = segmentation.slic(
        colours, number, compactness=10, start_label=0, channel_axis=-1, convert2lab=colours.shape[-1] == 3
    )
    _, dense = np.unique(labels, return_inverse=True)
    return torch.from_numpy(dense.reshape(labels.shape).astype(np.int64))


class SegmentEdits(Edits):
    """Edit `j` shows the segments that coalition `j` of the sample holds, and hides the others behind `fill`.

    Parameters
    ----------
    segments
        What is shown and hidden.
    coalitions
        For each sample `(edits, count)` bool, the same number of edits for all.
    fill
        See `edits.compose`.
    """

    def __init__(self, segments: Segments, coalitions: Sequence[Tensor], fill: Fill) -> None:
        device = segments.labels.device
        self.segments, self.fill = segments, fill
        self.coalitions = torch.zeros(
            len(coalitions), len(coalitions[0]), max(segments.counts), dtype=torch.bool, device=device
        )
        for into, given in zip(self.coalitions, coalitions, strict=True):
            into[:, : given.shape[1]] = given.to(device)

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self.coalitions.shape[1]

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        shown = self.coalitions[jobs.rows, jobs.which]
        labels = self.segments.labels[jobs.rows]
        keep = shown.gather(1, labels.flatten(1)).reshape(labels.shape)[:, None].to(x)
        return compose(chosen(x, jobs.rows), keep, self.fill, jobs.rows)
