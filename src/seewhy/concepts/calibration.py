"""All concepts of a layer at once: vectors and emblems, drawn again for intervals, random ones beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.concepts.concept_maps import Calibrated, emblems, strengths
from seewhy.concepts.draws import key, permutation
from seewhy.concepts.runs import run_of
from seewhy.concepts.vectors import Solver, Span, fit, flat
from seewhy.perturb.counters import uniform
from seewhy.types import Json

RUNS = 10
"""Splits that the held-out accuracy is a mean of."""


@dataclass(frozen=True)
class ConceptBank:
    """The concepts of a layer.

    Parameters
    ----------
    concepts
        As given: `(k, c)` vectors and emblems.
    again
        `resamples * k`: each concept from images drawn again, draw after draw.
    random
        `(r, c)`: random images taken as concepts.
    accuracy
        `(k,)` held-out accuracy of the concepts, 0 to 1. One below the gate is not known, with all its draws.
    """

    concepts: Calibrated
    again: Calibrated
    random: Calibrated
    accuracy: Tensor

    @classmethod
    def of(
        cls,
        solver: Solver,
        concepts: Mapping[str, Tensor],
        chance: Tensor,
        resamples: int,
        random_concepts: int,
        gate: float,
        seed: int,
    ) -> ConceptBank:
        """Fit everything.

        Parameters
        ----------
        solver
            See `vectors.fit`.
        concepts, chance
            Name to `(n, c, *cells)` features of the concept's images; those of the random ones.
        resamples, random_concepts, gate, seed
            As in `VisualTCAV`; the gate is its `accuracy_gate`.
        """
        pooled = [flat(f, "mean") for f in (*concepts.values(), chance)]
        span = Span.of(torch.cat(pooled))
        *parts, random = span.coordinates.split([len(p) for p in pooled])
        exact, again, right = [], [], []
        for (name, images), samples in zip(concepts.items(), parts, strict=True):
            own = key(seed, "resamples", name)
            rows = [torch.arange(len(samples)), *_drawn(own, resamples, len(samples))]
            others = [torch.arange(len(random)), *_drawn(own ^ 1, resamples, len(random))]
            right.append(_accuracy(solver, samples, random, len(samples), key(seed, "runs", name)))
            known = torch.full((len(rows),), right[-1] >= gate)
            found = _calibrated(solver, span, samples, random, rows, others, images, chance, known)
            exact.append(found.at(slice(0, 1)))
            again.append(found.at(slice(1, None)))
        most = min(max(len(p) for p in parts), len(random) // 2)
        orders = [permutation(key(seed, "null"), t, len(random)) for t in range(random_concepts)]
        rows, others = [o[:most] for o in orders], [o[most : 2 * most] for o in orders]
        passed = [
            _accuracy(solver, random[r], random[o], most, key(seed, "null runs", str(i))) >= gate
            for i, (r, o) in enumerate(zip(rows, others, strict=True))
        ]
        null = _calibrated(solver, span, random, random, rows, others, chance, chance, torch.tensor(passed))
        return cls(_joined(exact), _interleaved(again), null, torch.tensor(right))

    def attribute(self, features: Tensor, evidence: Tensor) -> Json:
        """Return maps and attributions of a batch.

        Parameters
        ----------
        features
            `(n, c, *cells)`.
        evidence
            `(n, k, c, *cells)` for k classes.

        Returns
        -------
        dict
            "maps" `(n, concepts, *cells)`; "attributions" `(n, k, concepts)`; "again" `(n, k, resamples,
            concepts)`; "random" `(n, k, random concepts)`; all on the CPU.
        """
        maps, exact = attributions(self.concepts, features, evidence)
        _, again = attributions(self.again, features, evidence)
        _, random = attributions(self.random, features, evidence)
        count = len(self.concepts.vectors)
        return {
            "maps": maps.cpu(),
            "attributions": exact.cpu(),
            "again": again.unflatten(2, (-1, count)).cpu(),
            "random": random.cpu(),
        }


def attributions(concepts: Calibrated, features: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
    """Return `(n, q, *cells)` concept maps and `(n, k, q)` attributions of `(n, k, c, *cells)` evidence."""
    here = concepts.to(features)
    maps = here.maps(features)
    weights = here.channel_weights(features, maps)
    inside = torch.einsum("nkcs,nqs->nkqc", evidence.flatten(3), maps.flatten(2))
    return maps, torch.einsum("nkqc,nqc->nkq", inside, weights)


def _calibrated(
    solver: Solver,
    span: Span,
    samples: Tensor,
    random: Tensor,
    rows: list[Tensor],
    others: list[Tensor],
    images: Tensor,
    chance: Tensor,
    known: Tensor,
) -> Calibrated:
    """Return one vector with its emblems for each choice of rows of the two sets."""
    fitted = []
    for with_it, without in zip(rows, others, strict=True):
        both = torch.cat([samples[with_it], random[without]])
        fitted.append(fit(solver, both, torch.arange(len(both)) < len(with_it))[0])
    vectors = span.lift(torch.stack(fitted)).float()
    own, other = strengths(vectors, images), strengths(vectors, chance)
    high = [emblems(own[r, i : i + 1]) for i, r in enumerate(rows)]
    low = [emblems(other[r, i : i + 1]) for i, r in enumerate(others)]
    return Calibrated(vectors, torch.cat(low), torch.cat(high), known)


def _drawn(seed: int, many: int, count: int) -> list[Tensor]:
    if not many:
        return []
    return list((uniform(seed, torch.arange(many), count).double() * count).long())


def _accuracy(solver: Solver, concept: Tensor, chance: Tensor, size: int, seed: int) -> float:
    """Return the mean held-out accuracy over splits."""
    return sum(run_of(solver, concept, chance, size, seed, t)[1] for t in range(RUNS)) / RUNS


def _joined(parts: list[Calibrated]) -> Calibrated:
    return Calibrated(
        torch.cat([p.vectors for p in parts]),
        torch.cat([p.low for p in parts]),
        torch.cat([p.high for p in parts]),
        torch.cat([p.known for p in parts]),
    )


def _interleaved(parts: list[Calibrated]) -> Calibrated:
    """Return the concepts' draws in the order (draw, concept)."""
    return Calibrated(
        torch.stack([p.vectors for p in parts], 1).flatten(0, 1),
        torch.stack([p.low for p in parts], 1).flatten(),
        torch.stack([p.high for p in parts], 1).flatten(),
        torch.stack([p.known for p in parts], 1).flatten(),
    )
