"""Ways to write cells of a layer as sums of directions, and how well a way does it.

Every cell is `offset + amounts @ directions` and something that is left over; amounts are never negative.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seewhy.errors import MissingExtra
from seewhy.types import Json


@runtime_checkable
class Factors(Protocol):
    """What discovery asks of directions."""

    @property
    def directions(self) -> Tensor:
        """`(concepts, channels)` float64."""

    @property
    def offset(self) -> Tensor:
        """`(channels,)` float64: what a cell without any concept is."""

    def amounts(self, cells: Tensor) -> Tensor:
        """Return `(n, concepts)` float64, not negative, of `(n, channels)` cells."""


@dataclass(frozen=True, eq=False)
class NonNegative:
    """Non-negative matrix factorisation by scikit-learn; negative activations count as 0.

    Parameters
    ----------
    solver
        A fitted `sklearn.decomposition.NMF`.
    """

    solver: Any

    @classmethod
    def fit(
        cls, cells: Tensor, concepts: int, seed: int, rounds: int = 1000, tolerance: float = 1e-5
    ) -> tuple[NonNegative, Tensor]:
        """Return factors of `(n, channels)` cells, and the cells' amounts `(n, concepts)`."""
        start = "nndsvda" if concepts <= min(cells.shape) else "random"
        solver = decomposition().NMF(concepts, init=start, random_state=seed, max_iter=rounds, tol=tolerance)
        amounts = torch.from_numpy(solver.fit_transform(cells.relu().double().cpu().numpy()))
        return cls(solver), amounts

    @property
    def directions(self) -> Tensor:
        """See `Factors`."""
        return torch.from_numpy(self.solver.components_)

    @property
    def offset(self) -> Tensor:
        """See `Factors`."""
        return torch.zeros(self.solver.components_.shape[1], dtype=torch.float64)

    def amounts(self, cells: Tensor) -> Tensor:
        """See `Factors`."""
        return torch.from_numpy(self.solver.transform(cells.relu().double().cpu().numpy()))


@dataclass(frozen=True)
class Fit:
    """How well directions stand for cells.

    Parameters
    ----------
    r2
        Part of the cells' variance that the sums explain; 1 is all of it, below 0 is worse than the mean.
    active
        Concepts with an amount above 0, the mean over cells.
    dead
        Share of the concepts that no cell has, 0 to 1.
    cells
        How many.
    """

    r2: float
    active: float
    dead: float
    cells: int

    def words(self) -> str:
        """Return "explains 81 % of the variance with 7.9 concepts a cell, 3 % of them never used"."""
        return (
            f"explains {100 * self.r2:.0f} % of the variance with {self.active:.1f} concepts a cell, "
            f"{100 * self.dead:.0f} % of them never used"
        )

    def to_json(self) -> Json:
        """Return it as plain JSON."""
        return asdict(self)


class Tally:
    """Adds up what a `Fit` needs, photo by photo."""

    def __init__(self) -> None:
        self._cells, self._active, self._error, self._squares = 0, 0.0, 0.0, 0.0
        self._sum: Tensor | float = 0.0
        self._used: Tensor | None = None

    def add(self, factors: Factors, cells: Tensor, amounts: Tensor) -> None:
        """Count `(n, channels)` cells that have these amounts."""
        x = cells.detach().double().cpu()
        left = x - factors.offset - amounts @ factors.directions
        self._cells += len(x)
        self._error += float(left.square().sum())
        self._squares += float(x.square().sum())
        self._sum = self._sum + x.sum(0)
        self._active += float((amounts > 0).sum())
        used = (amounts > 0).any(0)
        self._used = used if self._used is None else self._used | used

    def fit(self) -> Fit:
        """Return the numbers, of at least one cell."""
        total, used = torch.as_tensor(self._sum), torch.as_tensor(self._used)
        spread = self._squares - float(total.square().sum()) / self._cells
        r2 = 1 - self._error / spread if spread > 0 else float("nan")
        return Fit(r2, self._active / self._cells, 1 - float(used.double().mean()), self._cells)


def decomposition() -> Any:
    """Return scikit-learn's module of that name.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    try:
        return importlib.import_module("sklearn.decomposition")
    except ImportError as error:
        do = "pip install 'seewhy[concepts]'"
        raise MissingExtra("Asked to discover concepts", "scikit-learn", do) from error
