"""TCAV: how consistently a concept raises the score of a class.

A concept is a folder of example images. In a layer, a concept activation vector points from random images
towards the concept's. Moving the activations of a class's images along it raises or lowers their score; TCAV
is the share of images whose score it raises. A direction drawn at random often scores 0 or 1 too, since the
gradients of one class are nearly parallel: every score stands beside those of random images taken as a
concept, with an interval and a test.

Formula
    S(x) = grad_a s_k(x) . v / |v|;  TCAV = share of x with S(x) > 0, mean over `runs` vectors v, each fitted
    to two thirds of the concept and of a random counterpart of its own; the rest measures its accuracy.
Needs
    gradients of class logits at a layer; example images of the concepts and classes, random images.
Cost
    one forward pass for each concept and random image; one forward and one backward for each class image,
    whatever the number of concepts, layers and runs.
Paper
    Kim et al.: Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation
    Vectors (TCAV), 2018, https://arxiv.org/abs/1711.11279.
Departures
    two tests are reported. `p_t` is the paper's two-sided t-test of the runs' scores against those of random
    concepts; it takes runs for independent though they share the concept's images, so that it rejects random
    concepts too often. `p` decides: a permutation test, exact for any sample size, of whether the concept's
    images lie further along the mean gradient of the class than random ones, corrected over all (concept,
    layer, class). Both say that an effect is there, not that it is large: `cliffs_delta` and `sensitivity`
    do. Vectors are differences of means of pooled features by default (the paper: linear classifiers on flat
    ones, which also encode position). A concept that is not told from random images better than
    `accuracy_gate` is marked, and its score not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seewhy import provenance
from seewhy.batching import in_batches
from seewhy.concepts import significance as tests
from seewhy.concepts.alignment import Fit
from seewhy.concepts.draws import key
from seewhy.concepts.given import given_as
from seewhy.concepts.layers import Probed, class_index, class_logits, probe
from seewhy.concepts.runs import Candidate, run_of
from seewhy.concepts.sets import ImageSet
from seewhy.concepts.tcav_result import TcavResult, TcavRow
from seewhy.concepts.text_runs import null_run, run_of_texts, text_vectors
from seewhy.concepts.texts import TextConcepts
from seewhy.concepts.vectors import SOLVERS, Pool, Solver, Span, fit, flat, flat_gradient
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.base import Paper, require
from seewhy.models.model import Model


@dataclass(frozen=True)
class TCAV:
    """Share of a class's images whose score a concept raises, tested.

    Parameters
    ----------
    layers
        Names of layers; None: the last one that fits.
    solver
        How vectors are fitted: "difference_of_means", "lda" or "logistic" (the last two need scikit-learn).
    pool
        "mean" over the cells of a layer, or "none": every cell has its own features.
    runs
        Vectors a concept, each with a random counterpart of its own, at least 2.
    permutations
        Of the test, at least 19; the smallest p is 1 / (permutations + 1).
    correction
        For the number of tests: "holm", "bonferroni", "benjamini_hochberg" or "none".
    accuracy_gate
        Held-out accuracy below which a concept counts as not separable in a layer, 0.5 to 1.
    """

    name: ClassVar[str] = "tcav"
    title: ClassVar[str] = "TCAV"
    paper: ClassVar[Paper] = Paper(
        "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation Vectors "
        "(TCAV)",
        "Kim et al.",
        2018,
        "https://arxiv.org/abs/1711.11279",
    )

    layers: tuple[str, ...] | None = None
    solver: Solver = "difference_of_means"
    pool: Pool = "mean"
    runs: int = 20
    permutations: int = 1999
    correction: tests.Correction = "holm"
    accuracy_gate: float = 0.7

    def __post_init__(self) -> None:
        for value, known, asked in (
            (self.solver, tuple(SOLVERS), "a way to fit concept vectors"),
            (self.pool, ("mean", "none"), "a way to pool"),
            (self.correction, tests.CORRECTIONS, "a correction"),
        ):
            require(value in known, f"Asked for {asked}", repr(value), f"Choose one of {', '.join(known)}")
        require(self.runs >= 2, "Asked for runs", self.runs, "Give at least 2")
        require(self.permutations >= 19, "Asked for permutations", self.permutations, "Give at least 19")
        require(
            0.5 <= self.accuracy_gate <= 1, "Asked for an accuracy gate", self.accuracy_gate, "Give 0.5 to 1"
        )

    def __call__(
        self,
        model: Model | nn.Module,
        concepts: Mapping[str, Any] | Sequence[ImageSet] | TextConcepts,
        random: Any,
        images: Mapping[int | str, Any],
        execution: Execution | None = None,
    ) -> TcavResult:
        """Test concepts against classes.

        Parameters
        ----------
        model
            A classifier, or one whose single output speaks for class 1 against class 0.
        concepts
            Name to images (a folder, tensor, paths or PIL images), or `ImageSet`s; or `text_concepts`.
        random
            Images of nothing in particular, likewise; several sets are pooled. At least twice as many as a
            concept has are best. None for concepts from texts, which have photos of their own.
        images
            Class, as index or label, to images of it.
        execution
            Options of the run.

        Raises
        ------
        BadInput
            For too few images, classes and layers that are not there, or layers that texts do not reach.
        """
        model = model if isinstance(model, Model) else Model(model)
        execution = execution or Execution()
        given = given_as(concepts, random)
        told = given if isinstance(given, TextConcepts) else None
        members = {named: ImageSet.of(str(named), source) for named, source in images.items()}
        if not members:
            raise BadInput("Asked for TCAV", "There is no class", "Give {class: images of it}")
        first = next(iter(members.values()))
        with model.untouched(execution.device):
            hashed = model.check_weights()
            probed, _ = probe(model, self.layers, first, execution, resumed=False)
            activations = probed.activations(given.sets, "TCAV")
            slopes = {named: self._slopes(probed, named, of) for named, of in members.items()}
            notes = provenance.of_model(model, first.prepared(model, 0, 1), hashed)
            pictures = None if told is None else told.pictures(model)
        rows: list[TcavRow] = []
        vectors: dict[str, Tensor] = {}
        fits: dict[str, Fit] = {}
        for layer in probed.grids:
            features = [flat(a[layer], self.pool) for a in activations]
            span = Span.of(torch.cat(features))
            if told is not None:
                fits[layer] = told.fit(layer, span.coordinates, execution.seed)
                tested, null = self._by_text(told, span.coordinates, fits[layer].ridge, execution.seed)
            else:
                parts = span.coordinates.split([len(f) for f in features])
                tested, null = self._by_examples(given.names, parts, execution.seed)
            known = {index: span.project(g[layer]) for index, g in slopes.values()}
            rows += self._layer(layer, model, tested, null, known, execution.seed)
            vectors[layer] = span.lift(torch.stack([c.vector for c in tested])).float()
        adjusted = tests.corrected([r.p for r in rows], self.correction)
        return TcavResult(
            tuple(r.with_p(p) for r, p in zip(rows, adjusted, strict=True)),
            vectors,
            {
                **notes,
                "kind": "tcav",
                "parameters": {**asdict(self), "layers": list(probed.grids)},
                **given.notes(fits),
                "passes": {"forward": probed.passes.forward, "backward": probed.passes.backward},
                "execution": provenance.of_run(execution),
            },
            pictures,
        )

    def _slopes(self, probed: Probed, named: int | str, images: ImageSet) -> tuple[int, dict[str, Tensor]]:
        """Return a class's index, and for each layer the `(n, d)` gradients of its logit."""
        model = probed.model
        index = -1

        def run(start: int, stop: int) -> dict[str, Tensor]:
            nonlocal index
            with torch.enable_grad():
                answer = probed.answer(images.prepared(model, start, stop).tensor, differentiable=True)
                logits = class_logits(model, answer.output)
                index = class_index(model, named, logits.shape[1])
                taps = [answer.activations[layer] for layer in probed.grids]
                found = torch.autograd.grad(logits[:, index].sum(), taps, allow_unused=True)
            probed.passes.backward += stop - start
            return {
                layer: flat_gradient(grid.read(torch.zeros_like(tap) if g is None else g).cpu(), self.pool)
                for (layer, grid), tap, g in zip(probed.grids.items(), taps, found, strict=True)
            }

        size = probed.batch_size(images, differentiated=True)
        parts = list(in_batches(len(images), size, probed.execution, run, f"TCAV: class {named}"))
        return index, {layer: torch.cat([p[layer] for p in parts]) for layer in probed.grids}

    def _by_examples(
        self, names: Sequence[str], parts: Sequence[Tensor], seed: int
    ) -> tuple[list[Candidate], list[Tensor]]:
        """Return the concepts, and the vectors of random images taken as one."""
        *concepts, chance = parts
        most = min(max(len(c) for c in concepts), len(chance) // 2)
        null = [run_of(self.solver, chance, chance, most, key(seed, "null"), t)[0] for t in range(self.runs)]
        found = []
        for name, concept in zip(names, concepts, strict=True):
            own = key(seed, "runs", name)
            runs = [run_of(self.solver, concept, chance, len(concept), own, t) for t in range(self.runs)]
            both = torch.cat([concept, chance])
            marked = torch.arange(len(both)) < len(concept)

            def p(slope: Tensor, name: str = name, both: Tensor = both, marked: Tensor = marked) -> float:
                drawn = key(seed, "permutations", name)
                return tests.permutation_test(drawn, both @ slope, marked, self.permutations)

            found.append(Candidate(name, fit(self.solver, both, marked)[0], runs, p))
        return found, null

    def _by_text(
        self, told: TextConcepts, features: Tensor, ridge: float, seed: int
    ) -> tuple[list[Candidate], list[Tensor]]:
        """Return the same for texts; random concepts are texts whose photos changed places."""
        null = [null_run(told, features, ridge, key(seed, "null"), t)[0] for t in range(self.runs)]
        runs = [run_of_texts(told, features, ridge, key(seed, "runs", "texts"), t) for t in range(self.runs)]
        whole, scores = text_vectors(told, features, ridge), told.scores()
        found = []
        for q, name in enumerate(told.names):

            def p(slope: Tensor, name: str = name, score: Tensor = scores[:, q]) -> float:
                drawn = key(seed, "permutations", name)
                return tests.weights_test(drawn, features @ slope, score, self.permutations)

            own = [(vectors[q], float(right[q])) for vectors, right in runs]
            found.append(Candidate(name, whole[q], own, p))
        return found, null

    def _layer(
        self,
        layer: str,
        model: Model,
        tested: Sequence[Candidate],
        null: Sequence[Tensor],
        slopes: Mapping[int, Tensor],
        seed: int,
    ) -> list[TcavRow]:
        """Return the rows of one layer."""
        rows = []
        for concept in tested:
            vectors, right = [v for v, _ in concept.runs], [a for _, a in concept.runs]
            for index, g in slopes.items():
                table = _signs(g, vectors)
                scores, random = table.mean(1).tolist(), _signs(g, null).mean(1).tolist()
                slope = sensitivities(g, torch.stack(vectors)).T
                drawn = key(seed, "bootstrap", layer, concept.name)
                low, high = tests.mean_interval(drawn, table, 1000)
                s_low, s_high = tests.mean_interval(drawn, slope, 1000)
                t, p_t = tests.t_test(scores, random)
                rows.append(
                    TcavRow(
                        concept=concept.name,
                        layer=layer,
                        target=model.label(index),
                        index=index,
                        score=float(table.mean()),
                        low=low,
                        high=high,
                        random=float(torch.tensor(random).mean()),
                        sensitivity=float(slope.mean()),
                        sensitivity_low=s_low,
                        sensitivity_high=s_high,
                        cliffs_delta=tests.cliffs_delta(scores, random),
                        t=t,
                        p_t=p_t,
                        p=concept.p(g.mean(0)),
                        p_corrected=nan,
                        accuracy=sum(right) / len(right),
                        separable=sum(right) / len(right) >= self.accuracy_gate,
                        images=len(g),
                        scores=tuple(scores),
                        random_scores=tuple(random),
                    )
                )
        return rows


def sensitivities(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Return `(n, k)`: the slope of `(n, d)` gradients along `(k, d)` vectors of any length, per unit of it.

    A vector of zeros gives zeros.
    """
    lengths = vectors.norm(dim=1).clamp_min(torch.finfo(vectors.dtype).tiny)
    slopes: Tensor = gradients @ (vectors / lengths[:, None]).T
    return slopes


def tcav_scores(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Return `(k,)`: the share of gradients that rise along each vector. A slope of 0 does not rise."""
    return (sensitivities(gradients, vectors) > 0).double().mean(0)


def _signs(gradients: Tensor, vectors: Sequence[Tensor]) -> Tensor:
    """Return `(runs, n)` 1.0 where the slope is above 0."""
    return (sensitivities(gradients, torch.stack(list(vectors))) > 0).double().T
