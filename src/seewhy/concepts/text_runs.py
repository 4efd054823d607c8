"""Vectors of texts from parts of the photos: runs with a part held out, draws for intervals, random ones."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.concepts.alignment import weights
from seewhy.concepts.calibration import RUNS, ConceptBank
from seewhy.concepts.concept_maps import Calibrated, emblems, strengths
from seewhy.concepts.draws import key, permutation
from seewhy.concepts.texts import TextConcepts
from seewhy.concepts.vectors import flat
from seewhy.perturb.counters import uniform


def text_vectors(told: TextConcepts, features: Tensor, ridge: float, rows: Tensor | None = None) -> Tensor:
    """Return `(q, r)` vectors of the texts from `(n, r)` features, or some rows of them."""
    rows = torch.arange(len(features)) if rows is None else rows
    return weights(told.vectors[rows], told.directions, ridge).T @ features[rows]


def run_of_texts(
    told: TextConcepts, features: Tensor, ridge: float, seed: int, run: int
) -> tuple[Tensor, Tensor]:
    """Return a run's vectors, fitted to two thirds of the photos, and their accuracy on the rest.

    The accuracy is the share of pairs of photos held out, one of those nearest to the text and one other, of
    which the nearest lies further along the vector: 0.5 by chance. A threshold from the photos that a vector
    was fitted to would be too far out for others.

    Parameters
    ----------
    told
        Texts and photos.
    features
        `(n, r)` in the photos' order; in another order: features that the texts know nothing about.
    ridge
        See `alignment`.
    seed, run
        The run's address.

    Returns
    -------
    tuple
        `(q, r)` and `(q,)`.
    """
    order = permutation(seed, run, len(features))
    held = len(order) // 3
    test, train = order[:held], order[held:]
    found = text_vectors(told, features, ridge, train)
    along, scores = features[test] @ found.T, told.scores()[test]
    right = [
        in_order(a, _nearest(s, told, held)) for a, s in zip(along.unbind(1), scores.unbind(1), strict=True)
    ]
    return found, torch.tensor(right, dtype=torch.float64)


def in_order(values: Tensor, marked: Tensor) -> float:
    """Return the share of pairs of a marked value and another that the marked one leads; a tie is half."""
    apart = values[marked][:, None] - values[~marked][None]
    return float(((apart.sign() + 1) / 2).mean())


def null_run(told: TextConcepts, features: Tensor, ridge: float, seed: int, run: int) -> tuple[Tensor, float]:
    """Return the `(r,)` vector of a run and its accuracy after photos changed places; texts take turns."""
    moved = features[permutation(seed, run, len(features))]
    vectors, right = run_of_texts(told, moved, ridge, seed ^ 1, run)
    q = turn(told, run)
    return vectors[q], float(right[q])


def turn(told: TextConcepts, run: int) -> int:
    """Return the text whose turn it is, by name, so that the order of the texts does not matter."""
    return sorted(range(len(told.names)), key=told.names.__getitem__)[run % len(told.names)]


def text_bank(
    told: TextConcepts,
    maps: Tensor,
    ridge: float,
    resamples: int,
    random_concepts: int,
    gate: float,
    seed: int,
) -> ConceptBank:
    """Return the texts' vectors with emblems, drawn again, and random ones beside; see `ConceptBank.of`.

    Parameters
    ----------
    told
        Texts and photos.
    maps
        `(n, c, *cells)` features of the photos.
    ridge, resamples, random_concepts, gate, seed
        See `Fit` and `VisualTCAV`.
    """
    features, count = flat(maps, "mean"), len(maps)
    everything = torch.arange(count)
    address = key(seed, "runs", "texts")
    runs = [run_of_texts(told, features, ridge, address, t)[1] for t in range(RUNS)]
    right = torch.stack(runs).mean(0)
    known = right >= gate
    exact = _calibrated(told, maps, ridge, everything, everything, known)
    drawn = [uniform(key(seed, "resamples", "texts"), torch.tensor([i]), count)[0] for i in range(resamples)]
    again = [_calibrated(told, maps, ridge, everything, (u.double() * count).long(), known) for u in drawn]
    null = []
    for i in range(random_concepts):
        moved = permutation(key(seed, "null"), i, count)
        address = key(seed, "null runs", str(i))
        q = turn(told, i)
        own = [run_of_texts(told, features[moved], ridge, address, t)[1][q] for t in range(RUNS)]
        passed = torch.full_like(known, bool(torch.stack(own).mean() >= gate))
        null.append(_calibrated(told, maps, ridge, moved, everything, passed).at(slice(q, q + 1)))
    return ConceptBank(exact, _joined(again, exact), _joined(null, exact), right.float())


def _calibrated(
    told: TextConcepts, maps: Tensor, ridge: float, places: Tensor, rows: Tensor, known: Tensor
) -> Calibrated:
    """Return the vectors of some rows, with the emblems of the photos nearest to each text and of the rest.

    `places` says whose maps each row has: its own, or those of another photo.
    """
    vectors = text_vectors(told, flat(maps, "mean")[places], ridge, rows).float()
    values, scores = strengths(vectors, maps)[places[rows]], told.scores()[rows]
    low, high = [], []
    for q in range(len(vectors)):
        near = _nearest(scores[:, q], told, len(rows))
        high.append(emblems(values[near, q : q + 1]))
        low.append(emblems(values[~near, q : q + 1]))
    return Calibrated(vectors, torch.cat(low), torch.cat(high), known)


def _nearest(scores: Tensor, told: TextConcepts, count: int) -> Tensor:
    """Return a `(count,)` mask of the photos with the largest scores, `top` of all or their share."""
    best = max(1, round(told.top * count / len(told.vectors)))
    mask = torch.zeros(count, dtype=torch.bool)
    mask[scores.argsort(descending=True, stable=True)[:best]] = True
    return mask


def _joined(parts: list[Calibrated], like: Calibrated) -> Calibrated:
    none = like.at(slice(0, 0))
    return Calibrated(
        torch.cat([none.vectors, *(p.vectors for p in parts)]),
        torch.cat([none.low, *(p.low for p in parts)]),
        torch.cat([none.high, *(p.high for p in parts)]),
        torch.cat([none.known, *(p.known for p in parts)]),
    )
