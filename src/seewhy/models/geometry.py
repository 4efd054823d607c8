"""Where a layer's cells lie, found by experiment.

Shapes alone cannot tell a layout: `(n, 16, 16, 16)` may hold its channels first or last, 393 tokens of a clip
may be 2 x 14 x 14 cells behind one class token or something else, and a run of tokens may go through space or
time first. So the network is shown a noise input, copies of it with one block changed, and another noise
input altogether:

- the tokens that are equal for the two noise inputs when a token stream first appears, before attention mixes
  it, do not depend on the image: class, register and distillation tokens;
- among the layouts that the shape allows, the right one is that in which the cells over the changed block
  respond most.

The blocks lie away from the diagonal, so that a transposed reading, or an attention map of tokens by tokens,
misses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, floor, prod
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from seewhy.models.grids import Grid
from seewhy.types import Size

Block: TypeAlias = tuple[tuple[int, int], ...]

# (frames, rows, columns) of the blocks' centres as fractions of the input; images use rows and columns.
CENTRES = (
    (0.15, 0.2, 0.65),
    (0.85, 0.35, 0.9),
    (0.6, 0.65, 0.15),
    (0.35, 0.85, 0.4),
    (0.7, 0.1, 0.5),
    (0.3, 0.5, 0.1),
)
NEEDED = 4
"""Blocks that must be found again, one more where layouts compete: one that is right along a single axis
finds a block in four by chance."""
SHARP = 0.6
"""Part of a response on as many cells as a block covers, above which the response is that of a few cells."""
CONSTANT = 1e-5
"""Relative difference below which two tokens count as equal."""


@dataclass(frozen=True)
class Probe:
    """The inputs of the experiment.

    Parameters
    ----------
    x
        `(8, c, *size)`: the base, another noise input, and the base with each block changed.
    blocks
        For each changed block its `(start, stop)` along every axis of the size.
    """

    x: Tensor
    blocks: tuple[Block, ...]

    @property
    def size(self) -> Size:
        """`(height, width)` or `(frames, height, width)`."""
        return tuple(self.x.shape[2:])

    @classmethod
    def of(cls, input_shape: Size, seed: int = 0) -> Probe:
        """Make the probe for `(c, *size)` inputs; the same seed gives the same probe."""
        size = tuple(input_shape[1:])
        draw = torch.Generator().manual_seed(seed)
        base, other = torch.randn(2, *input_shape, generator=draw)
        blocks = tuple(
            tuple(
                _span(c, n, 4 if len(size) == 3 and axis == 0 else 7)
                for axis, (c, n) in enumerate(zip(centre[-len(size) :], size, strict=True))
            )
            for centre in CENTRES
        )
        samples = [base, other]
        for block in blocks:
            changed = base.clone()
            where = (slice(None), *(slice(a, b) for a, b in block))
            changed[where] = 3 * torch.randn(changed[where].shape, generator=draw)
            samples.append(changed)
        return cls(torch.stack(samples), blocks)


def _span(centre: float, side: int, parts: int) -> tuple[int, int]:
    length = max(1, round(side / parts))
    start = min(max(0, round(centre * side - length / 2)), side - length)
    return start, start + length


def response(out: Tensor, channels: int) -> Tensor:
    """Return `(blocks, ...)`: how much each place of an output changed, the norm over the axis `channels`."""
    changed = out[2:].float() - out[:1].float()
    return changed.square_().sum(channels).sqrt_()  # three times as fast as `vector_norm` along an inner axis


def evidence(responses: Tensor, probe: Probe) -> tuple[int, float]:
    """Return how well `(blocks, *cells)` responses follow the changed blocks.

    Returns
    -------
    hits
        Blocks whose strongest cell lies over the block or beside it. What a cell responds to every block is
        taken off first: some tokens of trained transformers respond to anything.
    share
        Part of the whole response that lies over the blocks, in [0, 1].
    """
    if responses.ndim != len(probe.size) + 1:
        return 0, 0.0
    cells = tuple(responses.shape[1:])
    own = _own(responses)
    hits, over = 0, 0.0
    for block, map_, r in zip(probe.blocks, own, responses, strict=True):
        spans = _spans(block, cells, probe.size)
        # torch's own unravel_index imports a package for symbolic algebra, which takes half a second.
        peak = np.unravel_index(int(map_.argmax()), cells)
        changed = bool(r.max() > 0) and bool(r.isfinite().all())
        hits += changed and all(
            first - 1 <= int(i) <= last for i, (first, last) in zip(peak, spans, strict=True)
        )
        over += float(r[tuple(slice(*s) for s in spans)].sum() / r.sum()) if changed else 0.0
    return hits, over / len(responses)


def sharpness(responses: Tensor, probe: Probe) -> float:
    """Return the part of `(blocks, *cells)` responses on their strongest cells, as many as a block covers."""
    own = _own(responses).clamp_min(0)
    parts = []
    for block, map_ in zip(probe.blocks, own, strict=True):
        covered = prod(b - a for a, b in _spans(block, tuple(map_.shape), probe.size))
        strongest = map_.flatten().topk(covered).values.sum()
        parts.append(float(strongest / map_.sum().clamp_min(1e-30)))
    return sum(parts) / len(parts)


def _spans(block: Block, cells: Size, size: Size) -> Block:
    """Return the cells that a block of pixels touches, `(start, stop)` along every axis."""
    return tuple(
        (floor(a * n / side), ceil(b * n / side)) for (a, b), n, side in zip(block, cells, size, strict=True)
    )


def _own(responses: Tensor) -> Tensor:
    """Return each block's response as shares of its sum, less the cell's mean share for the others."""
    each = responses / responses.flatten(1).sum(1).clamp_min(1e-30).reshape(-1, *[1] * (responses.ndim - 1))
    return each - (each.sum(0) - each) / (len(each) - 1)


def plausible(cells: Size, size: Size) -> bool:
    """Whether one stride for rows and columns, up to rounding and missing padding, could give `cells`."""
    if any(c > s for c, s in zip(cells, size, strict=True)):
        return False
    # n cells of stride s on a side: n - 1 <= side / s <= n + 1.5.
    low = max(s / (c + 1.5) for c, s in zip(cells[-2:], size[-2:], strict=True))
    high = min(s / max(c - 1, 0.5) for c, s in zip(cells[-2:], size[-2:], strict=True))
    return low <= high


def factorings(tokens: int, size: Size) -> Iterator[Size]:
    """Yield the plausible cells that `tokens` tokens can form."""
    if len(size) == 3:
        for frames in (t for t in range(1, min(size[0], tokens) + 1) if tokens % t == 0):
            for plane in factorings(tokens // frames, size[1:]):
                yield (frames, *plane)
        return
    for rows in (h for h in range(1, min(size[0], tokens) + 1) if tokens % h == 0):
        if plausible((rows, tokens // rows), size):
            yield rows, tokens // rows


@dataclass
class Reader:
    """Finds grids while one pass on the probe goes through the network, in order of execution.

    Parameters
    ----------
    probe
        What the network was given.
    streams
        Token streams met so far: length to grid.
    prefix
        Tokens in front of the cells in the first stream that had any; streams that are pooled later keep
        them.
    """

    probe: Probe
    streams: dict[int, Grid] = field(default_factory=dict)
    prefix: int = 0

    def meet(self, tensor: Tensor, announced: Size | None = None) -> str:
        """Find the grid of a tensor that is a token stream of a new length; return why it has none."""
        if tensor.ndim != 3 or len(tensor) != len(self.probe.x) or not tensor.is_floating_point():
            return "its output is no token stream of the batch"
        length = tensor.shape[1]
        if length in self.streams:
            return ""
        a, b = tensor[0].float(), tensor[1].float()
        constant = (a - b).abs().amax(1) <= CONSTANT * torch.maximum(a, b).abs().amax(1)
        if bool(constant.all()):
            return "it does not depend on the input"
        front = int(constant.int().cumprod(0).sum())
        if int(constant.sum()) > front:
            return "tokens that do not depend on the image stand behind or between those that do"
        self.prefix = self.prefix or front
        candidates = [
            Grid("tokens", cells, p, space_major)
            for p in dict.fromkeys((front,) if front else (self.prefix, 0))
            for cells in ([announced] if announced else factorings(length - p, self.probe.size))
            if prod(cells) == length - p
            for space_major in ((False, True) if len(cells) == 3 else (False,))
        ]
        found = self._best(tensor, candidates)
        if isinstance(found, str):
            return found
        self.streams[length] = found
        return ""

    def grid(self, out: Tensor, announced: Size | None = None) -> Grid | str:
        """Return the grid of a layer's output, or why it has none."""
        axes = len(self.probe.size)
        if not out.is_floating_point():
            return "its output holds no real numbers"
        if out.ndim == 0 or len(out) != len(self.probe.x):
            return "the first axis of its output is not the batch (windows, for example)"
        if out.ndim == 3:
            if why := self.meet(out, announced):
                return why
            return self._inherited(out, self.streams[out.shape[1]])
        if out.ndim != axes + 2:
            return "its output has no cells: shape " + str(tuple(out.shape[1:]))
        first, last = tuple(out.shape[2:]), tuple(out.shape[1:-1])
        return self._best(out, [Grid("channels_first", first), Grid("channels_last", last)])

    def _inherited(self, out: Tensor, grid: Grid) -> Grid | str:
        """Return a stream's own grid, unless the tokens answer sharply in other places than their own.

        Trained transformers mix: what is far behind need not respond most where the input changed.
        """
        responses = self._responses(out, grid)
        square = out.shape[1] == out.shape[2]  # tokens by channels or the other way round
        mixes = bool(responses.any()) and sharpness(responses, self.probe) <= SHARP
        return grid if mixes and not square else self._best(out, [grid], NEEDED + 1)

    def _best(self, out: Tensor, candidates: list[Grid], needed: int = NEEDED) -> Grid | str:
        candidates = [g for g in candidates if plausible(g.cells, self.probe.size)]
        if not candidates:
            return f"no grid over an input of {_by(self.probe.size)} has its shape {tuple(out.shape[1:])}"
        candidates = [g for g in candidates if prod(g.cells) > 1]
        if not candidates:
            return "it has a single cell"
        scored = [(*evidence(self._responses(out, g), self.probe), g) for g in candidates]
        hits, _, grid = max(scored, key=lambda s: s[:2])
        if hits < max(needed, NEEDED + (len(candidates) > 1)):
            blocks = len(self.probe.blocks)
            return f"its cells do not follow the input: {hits} of {blocks} changed blocks were found again"
        return grid

    @staticmethod
    def _responses(out: Tensor, grid: Grid) -> Tensor:
        if grid.layout == "channels_first":
            return response(out, 1)
        if grid.layout == "channels_last":
            return response(out, -1)
        return grid.read(response(out, -1)[:, :, None])[:, 0]


def _by(size: Size) -> str:
    return " x ".join(map(str, size))
