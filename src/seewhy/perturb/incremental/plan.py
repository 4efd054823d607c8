"""Which part of a network runs on patches: counted, not timed, so that a run's bits repeat.

Towards the end of a network a window changes nearly every cell, and a patch saves nothing. The first steps
run on patches, up to the one at which most multiply-adds have been saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.perturb.incremental.boxes import Changed
from seewhy.perturb.incremental.recording import Event, Node, Recording
from seewhy.perturb.windows import Windows

_DEARER = 1.1
"""What a cell costs in a patch, in parts of what it costs in a whole map."""
Blocks: TypeAlias = tuple[tuple[range, ...], ...]
"""For each axis, the runs of positions whose windows go through together."""


def blocks(counts: tuple[int, ...], batch: int) -> Blocks:
    """Cut a grid of windows into blocks of at most `batch` neighbours: their boxes differ little."""
    shape = [1] * len(counts)
    while True:
        growing = [i for i, n in enumerate(shape) if n < counts[i]]
        axis = min(growing, key=lambda i: (shape[i], -i), default=None)
        if axis is None or prod(shape) // shape[axis] * min(2 * shape[axis], counts[axis]) > batch:
            break
        shape[axis] = min(2 * shape[axis], counts[axis])
    return tuple(
        tuple(range(start, min(start + n, count)) for start in range(0, count, n))
        for n, count in zip(shape, counts, strict=True)
    )


@dataclass(frozen=True)
class Plan:
    """How windows go through a network.

    Parameters
    ----------
    nodes, events
        Of a recording.
    changed
        For each node what changes, one a axis.
    until
        Nodes from this one on are whole maps.
    around
        Nodes whose clean maps are needed: patches of them are put among their surroundings.
    whole, patched
        Multiply-adds of all windows without and with patches.
    """

    nodes: tuple[Node, ...]
    events: tuple[Event, ...]
    changed: tuple[tuple[Changed, ...], ...]
    until: int
    around: frozenset[int]
    whole: int
    patched: int

    @property
    def saving(self) -> float:
        """How many times fewer multiply-adds there are."""
        return self.whole / self.patched


def changes(nodes: tuple[Node, ...], windows: Windows) -> tuple[tuple[Changed, ...], ...]:
    """Return, for each node and axis, which cells each position of a window can change."""
    found: list[tuple[Changed, ...]] = []
    for node in nodes:
        if node.step is None:
            found.append(tuple(_under(windows, axis) for axis in range(len(windows.size))))
        elif node.step.slides is None:
            sources = [found[s] for s in node.sources]
            one = sources[0]
            for other in sources[1:]:
                one = tuple(a | b for a, b in zip(one, other, strict=True))
            found.append(one)
        else:
            along = zip(node.step.slides, found[node.sources[0]], node.size, strict=True)
            found.append(tuple(slide.reached(changed, size) for slide, changed, size in along))
    return tuple(found)


def planned(recording: Recording, windows: Windows, cut: Blocks, multiply_adds: int) -> Plan:
    """Return the plan that costs least.

    Parameters
    ----------
    multiply_adds
        Of one whole pass.
    """
    nodes = tuple(recording.nodes)
    changed = changes(nodes, windows)
    count = prod(windows.counts)
    saved, worth = [], []
    for node, axes in zip(nodes, changed, strict=True):
        each = 0 if node.step is None else node.step.multiply_adds
        # Blocks are products of runs, so the sum over blocks is a product of sums.
        cells = prod(
            sum(len(run) * axis.box(torch.tensor(run))[1] for run in runs)
            for axis, runs in zip(axes, cut, strict=True)
        )
        saved.append(each * (count * prod(node.size) - cells))
        worth.append(each * (count * prod(node.size) - _DEARER * cells))
    totals = list(accumulate(worth))
    # The last of the best: what follows without multiply-adds is cheaper on patches, too.
    until = len(totals) - totals[::-1].index(max(totals)) if max(totals) > 0 else 0
    whole = count * multiply_adds
    events = tuple(recording.events)
    around = _looked_around(nodes, events, changed, until)
    return Plan(nodes, events, changed, until, around, whole, whole - sum(saved[:until]))


def _looked_around(
    nodes: tuple[Node, ...], events: tuple[Event, ...], changed: tuple[tuple[Changed, ...], ...], until: int
) -> frozenset[int]:
    """Return the nodes whose patches are ever put among their surroundings."""
    unused = set(range(until)) - {s for e in events for s in e.sources}  # perhaps the answer
    found = set(unused)
    for event in events:
        patched = 0 <= event.node < until
        step = nodes[event.node].step if patched else None
        alike = step is not None and step.slides is None
        for source in event.sources:
            if 0 <= source < until and not (
                alike and all(map(Changed.same, changed[source], changed[event.node]))
            ):
                found.add(source)
    return frozenset(found)


def _under(windows: Windows, axis: int) -> Changed:
    size, window = windows.size[axis], windows.window[axis]
    lo: Tensor = torch.arange(windows.counts[axis]) * windows.stride[axis]
    return Changed(lo, (lo + window).clamp(max=size), size)
