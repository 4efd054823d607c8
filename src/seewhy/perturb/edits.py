"""Edits: numbered ways to change an input, made on the device in the moment they are scored.

An edit is known by its number alone, so that a run can be cut into batches and shards anywhere and nothing
but the current batch is ever in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Filler: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A filling that depends on what is hidden: from `(k, c, *size)` inputs, `(k, 1, *size)` keep in [0, 1] and
the `(k,)` samples they belong to, to `(k, c, *size)` fillings. It must treat every input by itself."""
Fill: TypeAlias = Tensor | Filler | None
"""What hidden evidence is replaced by: a picture a sample or one for all, a `Filler`, or None for 0."""


@dataclass(frozen=True)
class Jobs:
    """One batch of work: the inputs `x[rows[j]]`, each under the edit `which[j]`.

    Parameters
    ----------
    rows, which
        `(k,)` int64 on the device of the inputs.
    span
        The edits that occur, without a gap: what samples share is computed once for each of them.
    """

    rows: Tensor
    which: Tensor
    span: range

    @classmethod
    def between(cls, first: int, last: int, samples: int, device: torch.device) -> Jobs:
        """Return the jobs `first .. last - 1` of the queue: all samples under edit 0 come first, then edit 1.

        Job `j` edits sample `j % samples` with edit `j // samples`.
        """
        queue = torch.arange(first, last, device=device)
        which = queue // samples
        return cls(queue - which * samples, which, range(first // samples, (last - 1) // samples + 1))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def edits(self) -> Tensor:
        """`(len(span),)` int64: the numbers in `span`."""
        return torch.arange(self.span.start, self.span.stop, device=self.which.device)

    @property
    def place(self) -> Tensor:
        """`(k,)` int64: for each job, the position of its edit in `edits`."""
        return self.which - self.span.start

    def each(self, of_edits: Tensor) -> Tensor:
        """Return `of_edits[place]`: what belongs to each job, of what belongs to each of `edits`."""
        return of_edits if len(of_edits) == len(self) else of_edits[self.place]


class Edits(ABC):
    """A numbered set of edits, the same for every sample or depending on it.

    The result of `apply` may depend on the inputs, the row and the number, and on nothing else: not on the
    other jobs of the batch.
    """

    @property
    @abstractmethod
    def count(self) -> int:
        """How many edits each sample receives."""

    @abstractmethod
    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """Return the `(k, c, *size)` edited inputs of `jobs`, leaving `x`, `(n, c, *size)`, as it is."""


def compose(x: Tensor, keep: Tensor, fill: Fill, rows: Tensor | None = None) -> Tensor:
    """Return `keep * x + (1 - keep) * fill`, differentiable in `keep`.

    Parameters
    ----------
    x
        `(k, c, *size)`, or `(1, c, *size)` for all.
    keep
        `(k, 1, *size)` in [0, 1] in the type of `x`: 1 keeps the pixel.
    fill
        What hidden evidence is replaced by; pictures for all samples of the question, or for one.
    rows
        `(k,)`: the sample that each of `x` is; None: one of each, in order.
    """
    rows = torch.arange(len(keep), device=x.device) if rows is None else rows
    behind = filled(x, keep, fill, rows)
    return x * keep if behind is None else torch.lerp(x, behind, 1 - keep)


def filled(x: Tensor, keep: Tensor, fill: Fill, rows: Tensor) -> Tensor | None:
    """Return what shows where `keep` is below 1, `(k, c, *size)` or broadcastable to it; None means 0.

    Parameters as in `compose`. A `Filler` is taken as constant: no gradient flows through it.
    """
    if fill is None:
        return None
    if isinstance(fill, Tensor):
        return chosen(like(fill, x), rows)
    with torch.no_grad():
        return fill(x.detach().expand(len(rows), *x.shape[1:]), keep.detach(), rows).to(x)


def like(picture: Tensor, x: Tensor) -> Tensor:
    """Return pictures in the type of `x`, on its device, in its order of memory."""
    picture = picture.to(x)
    inside = x.ndim == picture.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return picture.contiguous(memory_format=torch.channels_last) if inside else picture


def chosen(x: Tensor, rows: Tensor) -> Tensor:
    """Return `x[rows]`; where there is one sample only, `x` itself, which broadcasts."""
    return x if len(x) == 1 else x[rows]
