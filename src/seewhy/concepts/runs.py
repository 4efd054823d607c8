"""One run: a concept's images against a random counterpart, a part held out to see whether they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.concepts.draws import permutation
from seewhy.concepts.vectors import Solver, accuracy, fit


@dataclass(frozen=True)
class Candidate:
    """A concept to be tested in one layer.

    Parameters
    ----------
    name
        Of the concept.
    vector
        `(r,)` from everything there is.
    runs
        `(r,)` vectors from parts, and their accuracy on the rest.
    p
        From the `(r,)` mean gradient of a class to the p-value of the concept.
    """

    name: str
    vector: Tensor
    runs: list[tuple[Tensor, float]]
    p: Callable[[Tensor], float]


def run_of(
    solver: Solver, concept: Tensor, chance: Tensor, size: int, seed: int, run: int
) -> tuple[Tensor, float]:
    """Return a run's vector, fitted to two thirds, and its accuracy on the rest.

    Parameters
    ----------
    solver
        See `vectors.fit`.
    concept, chance
        `(n, r)` features. The same tensor twice: random images taken as a concept, against others of them.
    size
        Images on each side, cut to what there is.
    seed, run
        The run's address: the same images for any order of the concepts.
    """
    order = permutation(seed, 2 * run, len(chance))
    if concept is chance:
        with_it, without = chance[order[:size]], chance[order[size : 2 * size]]
    else:
        size = min(size, len(concept), len(chance))
        with_it = concept[permutation(seed, 2 * run + 1, len(concept))[:size]]
        without = chance[order[:size]]
    held = max(1, round(size / 3))
    train = torch.cat([with_it[held:], without[held:]])
    test = torch.cat([with_it[:held], without[:held]])
    vector, threshold = fit(solver, train, torch.arange(len(train)) < size - held)
    return vector, accuracy(vector, threshold, test, torch.arange(len(test)) < held)
