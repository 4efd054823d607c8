"""A pass of a few windows: patches up to where the plan says, whole maps from there on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.perturb.incremental.boxes import Slide
from seewhy.perturb.incremental.plan import Plan
from seewhy.perturb.incremental.steps import passes_on, spoken
from seewhy.perturb.incremental.tracked import NoPatches, Session, Tracked

_EDGES = 2
"""Rows of a store that stand for what lies beyond the edge of a map: 0 and -infinity."""
_SAME = Slide()


class Store:
    """The cells of a clean map and of the patches of one batch, one row of channels each.

    Parameters
    ----------
    clean
        `(1, c, *size)`.
    """

    def __init__(self, clean: Tensor) -> None:
        self.size, self.cells = tuple(clean.shape[2:]), prod(clean.shape[2:])
        self.rows = clean.new_zeros(self.cells + _EDGES, clean.shape[1])
        self.rows[: self.cells] = clean[0].flatten(1).T
        self.rows[self.cells + 1] = -torch.inf
        self._patch: Tensor | None = None

    def put(self, patch: Tensor) -> None:
        """Lay the `(k, c, *box)` patches of a batch beside the clean map."""
        if patch is self._patch:
            return
        self._patch, first = patch, self.cells + _EDGES
        rows = patch.movedim(1, -1).reshape(-1, patch.shape[1])
        if len(self.rows) < first + len(rows):
            self.rows = torch.cat([self.rows[:first], rows])
        else:
            self.rows[first : first + len(rows)] = rows

    def take(self, cells: list[Tensor], starts: list[Tensor], box: tuple[int, ...], beyond: float) -> Tensor:
        """Return `(k, c, *region)`: patches where they lie, around them the clean map, beyond it the edge.

        Parameters
        ----------
        cells
            For each axis, the `(k, n)` cells wanted.
        starts, box
            Where the patches begin, `(k,)` an axis, and their size.
        beyond
            0 or -infinity.
        """
        axes, k = len(cells), len(starts[0])
        inside = patched = torch.ones((), dtype=torch.bool, device=cells[0].device)
        flat = torch.zeros((), dtype=torch.int64, device=cells[0].device)
        at = self.cells + _EDGES + torch.arange(k, device=flat.device).reshape(k, *[1] * axes) * prod(box)
        for axis, (wanted, start, length) in enumerate(zip(cells, starts, box, strict=True)):
            shape = (k, *(-1 if i == axis else 1 for i in range(axes)))
            from_start = wanted - start[:, None]
            inside = inside & ((wanted >= 0) & (wanted < self.size[axis])).reshape(shape)
            patched = patched & ((from_start >= 0) & (from_start < length)).reshape(shape)
            flat = flat + (wanted * prod(self.size[axis + 1 :])).reshape(shape)
            at = at + (from_start * prod(box[axis + 1 :])).reshape(shape)
        index = torch.where(patched, at, torch.where(inside, flat, self.cells + (beyond != 0)))
        found = self.rows.index_select(0, index.flatten())
        return found.reshape(*index.shape, -1).movedim(-1, 1)


class Passing(Session):
    """Follows the passes of one sample.

    Parameters
    ----------
    network
        As it was recorded.
    plan
        What to do.
    clean
        What the nodes hold while the sample is unchanged, as recorded; a copy of what is needed is kept.
    """

    def __init__(self, network: nn.Module, plan: Plan, clean: Sequence[Tensor]) -> None:
        self.network, self.plan = network, plan
        self._stores = {i: Store(clean[i]) for i in plan.around}
        self._positions: list[Tensor] = []
        self._boxes: dict[int, tuple[list[Tensor], tuple[int, ...]]] = {}
        self._next = 0
        self._last = 1 + max((i for i, e in enumerate(plan.events) if 0 < e.node < plan.until), default=-1)

    def run(self, edited: Tensor, positions: list[Tensor]) -> Any:
        """Return the network's answer to edited inputs.

        Parameters
        ----------
        edited
            `(k, c, *size)`; only what lies in the boxes of the windows is looked at.
        positions
            For each axis, the `(k,)` positions of the windows.
        """
        self._positions, self._boxes, self._next = positions, {}, 0
        starts, box = self._box(0)
        patch = torch.stack(
            [_cropped(one, at, box) for one, at in zip(edited, zip(*starts, strict=True), strict=True)]
        )
        return self.finished(self.network(Tracked.of(self, 0, patch, tuple(edited.shape))))

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        maps: list[Tracked],
    ) -> Any:
        """See `Session.call`."""
        name, in_place = spoken(function, keywords)
        if self._next >= self._last:
            return self.on_wholes(function, args, keywords, maps)
        if passes_on(name, keywords):
            return maps[0]
        event = self.plan.events[self._next]
        self._next += 1
        if event.name != name or event.sources != tuple(t.node for t in maps):
            raise NoPatches("it does not do the same to every input")
        if event.node < 0:
            return self.followed(name, self.on_wholes(function, args, keywords, maps), maps)
        patch = self._patch(event.node, maps)
        if in_place:
            maps[0].node, maps[0].held = event.node, patch
            return maps[0]
        size = self.plan.nodes[event.node].size
        return Tracked.of(self, event.node, patch, (len(patch), patch.shape[1], *size))

    def whole(self, t: Tracked) -> Tensor:
        """See `Session.whole`."""
        size = self.plan.nodes[t.node].size
        zero = torch.zeros_like(self._positions[0])
        return self._taken(t, [_SAME.read(zero, n) for n in size], 0.0)

    def _patch(self, node: int, maps: list[Tracked]) -> Tensor:
        """Return the patches of a node from those of its sources."""
        step = self.plan.nodes[node].step
        assert step is not None
        starts, box = self._box(node)
        slides = step.slides or (_SAME,) * len(box)
        cells = [slide.read(start, n) for slide, start, n in zip(slides, starts, box, strict=True)]
        if step.slides is None:
            return step.work(
                *(t.held if self._lies(t, starts, box) else self._taken(t, cells, 0.0) for t in maps)
            )
        if all(s == _SAME for s in slides) and self._lies(maps[0], starts, box):
            return step.work(maps[0].held)
        return step.work(self._taken(maps[0], cells, step.beyond))

    def _lies(self, t: Tracked, starts: list[Tensor], box: tuple[int, ...]) -> bool:
        """Tell whether patches lie exactly in some boxes."""
        own, length = self._box(t.node)
        return length == box and all(torch.equal(a, b) for a, b in zip(own, starts, strict=True))

    def _taken(self, t: Tracked, cells: list[Tensor], beyond: float) -> Tensor:
        store = self._stores[t.node]
        store.put(t.held)
        return store.take(cells, *self._box(t.node), beyond)

    def _box(self, node: int) -> tuple[list[Tensor], tuple[int, ...]]:
        """Return where the boxes of a node start, one tensor an axis, and their size."""
        if node not in self._boxes:
            found = [a.box(p) for a, p in zip(self.plan.changed[node], self._positions, strict=True)]
            self._boxes[node] = [s for s, _ in found], tuple(n for _, n in found)
        return self._boxes[node]


def _cropped(one: Tensor, at: Sequence[Tensor], box: tuple[int, ...]) -> Tensor:
    """Return what lies in a box of one input."""
    for axis, (start, length) in enumerate(zip(at, box, strict=True)):
        one = one.narrow(axis + 1, int(start), length)
    return one
