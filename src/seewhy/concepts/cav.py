"""Concept activation vectors: a direction for each concept and layer, and how well it tells the concept.

Formula
    v = mean of pooled concept features - mean of random ones, or the normal of a linear classifier.
Needs
    a layer with a grid; example images of the concepts, random images.
Cost
    one forward pass for each image.
Paper
    Kim et al.: Interpretability Beyond Feature Attribution, 2018, https://arxiv.org/abs/1711.11279.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seewhy import provenance
from seewhy.concepts.draws import key
from seewhy.concepts.layers import probe
from seewhy.concepts.record import open_record
from seewhy.concepts.record import save as save_record
from seewhy.concepts.runs import run_of
from seewhy.concepts.sets import ImageSet, named_sets, random_set
from seewhy.concepts.significance import mean_interval
from seewhy.concepts.vectors import SOLVERS, Pool, Solver, Span, fit, flat
from seewhy.execution import Execution
from seewhy.methods.base import require
from seewhy.models.model import Model
from seewhy.types import Json


@dataclass(frozen=True)
class Direction:
    """One concept in one layer.

    Parameters
    ----------
    concept, layer
        Which.
    vector
        `(d,)` float32 in the layer's channels (or channels and cells), towards the concept.
    accuracy, low, high
        Held-out accuracy, mean over runs; 95 % interval over them. 0.5 is chance.
    """

    concept: str
    layer: str
    vector: Tensor
    accuracy: float
    low: float
    high: float

    def to_json(self) -> Json:
        """Return everything but the vector."""
        return {k: getattr(self, k) for k in ("concept", "layer", "accuracy", "low", "high")}


@dataclass(frozen=True, eq=False)
class ConceptVectors:
    """Directions, layers outermost, and what made them."""

    directions: tuple[Direction, ...]
    provenance: Json

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` (vectors) and `path.json` (all else); return both paths."""
        tensors = {f"{d.layer}/{d.concept}": d.vector for d in self.directions}
        notes = {"directions": [d.to_json() for d in self.directions], **self.provenance}
        return save_record(path, "cav", tensors, notes)

    @classmethod
    def open(cls, path: str | Path) -> ConceptVectors:
        """Read what `save` wrote.

        Raises
        ------
        UnreadableInput
            For missing or damaged files.
        """
        tensors, notes = open_record(path, "cav")
        facts = notes.pop("directions")
        found = tuple(Direction(vector=tensors[f"{f['layer']}/{f['concept']}"], **f) for f in facts)
        return cls(found, {"kind": "cav", **notes})


@dataclass(frozen=True)
class CAV:
    """Directions of concepts in layers.

    Parameters
    ----------
    layers
        Names of layers; None: the last one that fits.
    solver
        How vectors are fitted: "difference_of_means", "lda" or "logistic".
    pool
        "mean" over the cells of a layer, or "none": every cell has its own features.
    runs
        Splits for the accuracy, at least 2.
    """

    layers: tuple[str, ...] | None = None
    solver: Solver = "difference_of_means"
    pool: Pool = "mean"
    runs: int = 20

    def __post_init__(self) -> None:
        known = tuple(SOLVERS)
        require(
            self.solver in known,
            "Asked for a way to fit concept vectors",
            repr(self.solver),
            f"Choose one of {', '.join(known)}",
        )
        require(self.runs >= 2, "Asked for runs", self.runs, "Give at least 2")

    def __call__(
        self,
        model: Model | nn.Module,
        concepts: Mapping[str, Any] | Sequence[ImageSet],
        random: Any,
        execution: Execution | None = None,
    ) -> ConceptVectors:
        """Fit the vectors to all images of each concept; parameters as in `TCAV`."""
        model = model if isinstance(model, Model) else Model(model)
        execution = execution or Execution()
        examples, chance = named_sets(concepts), random_set(random)
        with model.untouched(execution.device):
            weights = model.check_weights()
            probed, _ = probe(model, self.layers, chance, execution, resumed=False)
            activations = probed.activations([*examples, chance], "concept vectors")
            notes = provenance.of_model(model, chance.prepared(model, 0, 1), weights)
        found = []
        for layer in probed.grids:
            features = [flat(a[layer], self.pool) for a in activations]
            span = Span.of(torch.cat(features))
            *parts, others = span.coordinates.split([len(f) for f in features])
            for images, part in zip(examples, parts, strict=True):
                own = key(execution.seed, "runs", images.name)
                runs = [run_of(self.solver, part, others, len(part), own, t)[1] for t in range(self.runs)]
                low, high = mean_interval(own, torch.tensor(runs)[:, None], 1000)
                both = torch.cat([part, others])
                vector, _ = fit(self.solver, both, torch.arange(len(both)) < len(part))
                lifted = span.lift(vector[None])[0].float()
                found.append(Direction(images.name, layer, lifted, sum(runs) / len(runs), low, high))
        return ConceptVectors(
            tuple(found),
            {
                **notes,
                "kind": "cav",
                "parameters": {**asdict(self), "layers": list(probed.grids)},
                "concepts": {c.name: len(c) for c in examples},
                "random": len(chance),
                "passes": {"forward": probed.passes.forward},
                "execution": provenance.of_run(execution),
            },
        )
