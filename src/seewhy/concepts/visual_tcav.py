"""Visual-TCAV: where a network recognises a concept in an image, and how much that adds to a class.

The concept's vector in a layer gives each cell a strength; two emblems, the typical strengths in the
concept's own images and in random ones, put it on a scale from 0 to 1: the concept map, which knows no class.
Integrated gradients on the layer hand the rise of a class's logit to cells and channels; what of it lies in
the concept's channels, where its map is, is the concept's attribution. Over the images of a class their mean
is the global attribution. They depend on no concept: one integration serves all.

Formula
    v = mean of pooled concept features - mean of random ones;  M = clip((relu(v . F) - e-) / (e+ - e-), 0,
    1), 0 where e+ <= e-; emblems e: median over images of sum m^2 / sum m of m = relu(v . F).
    A = relu(IG of logit k on F), scaled to sum to d = relu(rise of logit k) / largest rise of any class;
    attribution = sum over channels c and cells of relu(v_c) / max relu(v) * A * M, between 0 and d.
Needs
    gradients of class logits at a layer that everything passes through; example images, random images.
Cost
    one forward pass for every image; from the layer on, `steps` + 1 passes forward and back for each
    explained image and class, or one where the rest of the network is linear.
Paper
    De Santis et al.: Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc Explainability in
    Image Classification, 2024, https://arxiv.org/abs/2411.05698.
Departures
    intervals of local attributions come from concept and random images drawn again (`resamples`), those of
    global ones from images and concepts together; the published code has the images' part only. Beside every
    attribution stand those of random images taken as a concept, and `p` is the share of them (itself
    counted) that reach it. Concepts, random ones too, below `accuracy_gate` get none: emblems of sets that do
    not differ are nearly equal, and whatever lies above both is then all of the concept. Medians of an even
    number of images take the lower middle one; the published code takes either, by rounding. Networks with
    one output: both signs of its integrated gradients, scaled by the larger of their sums, as published.
    Vision transformers are ours: patch tokens are the cells, the baseline is the mean activation of the
    random images (zeros tell layer norms nothing), and what class tokens hold belongs to no concept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seewhy import provenance
from seewhy.batching import in_batches
from seewhy.concepts.alignment import Fit
from seewhy.concepts.asked import Asked, asked_of
from seewhy.concepts.calibration import ConceptBank
from seewhy.concepts.concept_maps import EPSILON
from seewhy.concepts.feature_gradients import FeatureGradients, Integrated, head_of
from seewhy.concepts.given import Given, given_as
from seewhy.concepts.layers import Probed, class_index, class_logits, is_binary, probe
from seewhy.concepts.sets import ImageSet
from seewhy.concepts.text_runs import text_bank
from seewhy.concepts.texts import TextConcepts
from seewhy.concepts.vectors import SOLVERS, Solver, flat
from seewhy.concepts.visual_result import LayerFindings, VisualTcavResult
from seewhy.execution import Execution
from seewhy.methods.base import Paper, require
from seewhy.models.grids import Grid
from seewhy.models.model import Model
from seewhy.types import Json

Baseline = Literal["auto", "zero", "random"]
BASELINES: tuple[Baseline, ...] = ("auto", "zero", "random")


@dataclass(frozen=True)
class VisualTCAV:
    """Concept maps, and attributions of concepts to classes.

    Parameters
    ----------
    layers
        Names of layers; None: the last one that everything passes through.
    solver
        How vectors are fitted: "difference_of_means" as published, "lda" or "logistic".
    steps
        Of the integration, at least 2.
    baseline
        Activation without evidence: "zero", "random" (the mean of the random images), or "auto": zero, and
        random for tokens.
    resamples
        Times that concept and random images are drawn again for the intervals; 0 for none.
    random_concepts
        Random images taken as a concept that many times, at least 2.
    accuracy_gate
        Held-out accuracy of a concept's vector below which it counts as not separable in a layer: no map, no
        attribution; 0 to 1. The same holds for random concepts. 0, as published, lets all pass.
    tolerance
        Largest completeness error, as a fraction of the rise in logit, before an image's batch is integrated
        again with twice the steps; None never does.
    """

    name: ClassVar[str] = "visual_tcav"
    title: ClassVar[str] = "Visual-TCAV"
    paper: ClassVar[Paper] = Paper(
        "Visual-TCAV: Concept-based Attribution and Saliency Maps for Post-hoc Explainability in Image "
        "Classification",
        "De Santis et al.",
        2024,
        "https://arxiv.org/abs/2411.05698",
    )

    layers: tuple[str, ...] | None = None
    solver: Solver = "difference_of_means"
    steps: int = 50
    baseline: Baseline = "auto"
    resamples: int = 20
    random_concepts: int = 20
    accuracy_gate: float = 0.7
    tolerance: float | None = None

    def __post_init__(self) -> None:
        for value, known, asked in (
            (self.solver, tuple(SOLVERS), "a way to fit concept vectors"),
            (self.baseline, BASELINES, "a baseline"),
        ):
            require(value in known, f"Asked for {asked}", repr(value), f"Choose one of {', '.join(known)}")
        require(self.steps >= 2, "Asked for steps", self.steps, "Give at least 2")
        require(self.resamples >= 0, "Asked for resamples", self.resamples, "Give 0 or more")
        require(
            self.random_concepts >= 2, "Asked for random concepts", self.random_concepts, "Give 2 or more"
        )
        gate = self.accuracy_gate
        require(0 <= gate <= 1, "Asked for an accuracy gate", gate, "Give 0 to 1")
        tolerable = self.tolerance is None or self.tolerance > 0
        require(tolerable, "Asked for a tolerance", self.tolerance, "Give a number above 0, or None")

    def __call__(
        self,
        model: Model | nn.Module,
        concepts: Mapping[str, Any] | Sequence[ImageSet] | TextConcepts,
        random: Any,
        images: Any,
        targets: Sequence[int | str] | None = None,
        execution: Execution | None = None,
    ) -> VisualTcavResult:
        """Locate and attribute concepts.

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
            To be explained: a folder, tensor, paths or PIL images; or class to such, each explained for its
            class.
        targets
            Classes, as indices or labels, that every image is explained for; None is the model's own answer.
        execution
            Options of the run.

        Raises
        ------
        DoesNotFit
            For layers that the network goes around.
        BadInput
            For too few images, classes and layers that are not there, or layers that texts do not reach.
        """
        model = model if isinstance(model, Model) else Model(model)
        execution = execution or Execution()
        given = given_as(concepts, random)
        asked = asked_of(images, targets)
        first = asked[0].images
        with model.untouched(execution.device):
            weights = model.check_weights()
            probed, resumptions = probe(model, self.layers, first, execution, resumed=True)
            activations = probed.activations(given.sets, self.title)
            banks, fits = self._banks(given, probed, activations, execution.seed)
            pictures = given.pictures(model) if isinstance(given, TextConcepts) else None
            del activations
            integrals = {
                layer: FeatureGradients(
                    head_of(resumptions[layer]),
                    self._baseline(probed.grids[layer], probed.means[layer], model),
                    self.steps,
                    self.tolerance,
                    probed.batch_size(first, differentiated=True),
                    probed.suffix_passes,
                )
                for layer in probed.grids
            }
            parts = [p for part in asked for p in self._explained(probed, banks, integrals, part)]
            notes = provenance.of_model(model, first.prepared(model, 0, 1), weights)
        return VisualTcavResult(
            given.names,
            {layer: LayerFindings.joined([p[0][layer] for p in parts], banks[layer]) for layer in banks},
            torch.cat([p[1] for p in parts]),
            torch.cat([p[2] for p in parts]),
            {
                **notes,
                "kind": "visual_tcav",
                "parameters": {**asdict(self), "layers": list(probed.grids)},
                **given.notes(fits),
                "images": [fact for p in parts for fact in p[3]],
                "labels": {str(i): model.label(i) for p in parts for i in p[1].unique().tolist()},
                "linear": {layer: bool(integrals[layer].linear) for layer in integrals},
                "passes": {
                    "forward": probed.passes.forward,
                    "forward_from_layer": probed.suffix_passes.forward,
                    "backward_to_layer": probed.suffix_passes.backward,
                },
                "execution": provenance.of_run(execution),
            },
            pictures,
        )

    def _banks(
        self, given: Given, probed: Probed, activations: Sequence[Mapping[str, Tensor]], seed: int
    ) -> tuple[dict[str, ConceptBank], dict[str, Fit]]:
        """Return each layer's concepts, and for texts how well the layer follows the encoder."""
        banks, fits = {}, {}
        drawn = self.resamples, self.random_concepts, self.accuracy_gate, seed
        for layer in probed.grids:
            *own, others = [a[layer] for a in activations]
            if isinstance(given, TextConcepts):
                fits[layer] = given.fit(layer, flat(others, "mean"), seed)
                banks[layer] = text_bank(given, others, fits[layer].ridge, *drawn)
            else:
                named = dict(zip(given.names, own, strict=True))
                banks[layer] = ConceptBank.of(self.solver, named, others, *drawn)
        return banks, fits

    def _baseline(self, grid: Grid, mean: Tensor, model: Model) -> Tensor:
        random = self.baseline == "random" or (self.baseline == "auto" and grid.layout == "tokens")
        start = mean if random else torch.zeros_like(mean)
        return start.to(model.device, model.dtype)

    def _explained(
        self,
        probed: Probed,
        banks: Mapping[str, ConceptBank],
        integrals: Mapping[str, FeatureGradients],
        asked: Asked,
    ) -> list[tuple[dict[str, Json], Tensor, Tensor, list[Json]]]:
        """Return, batch by batch, what each layer shows, the classes asked for, the pixels, the facts."""
        model = probed.model

        def run(start: int, stop: int) -> tuple[dict[str, Json], Tensor, Tensor, list[Json]]:
            batch = asked.images.prepared(model, start, stop)
            with torch.no_grad():
                answer = probed.answer(batch.tensor)
                logits = class_logits(model, answer.output)
            if asked.classes is None:
                classes = logits.argmax(1, keepdim=True)
            else:
                named = [class_index(model, c, logits.shape[1]) for c in asked.classes]
                classes = torch.tensor(named, device=logits.device).expand(len(logits), -1)
            found = {}
            for layer, grid in probed.grids.items():
                activation = answer.activations[layer].detach()
                whole = integrals[layer](activation, classes, logits)
                evidence, gains = normalised(whole, classes, grid, binary=is_binary(answer.output))
                found[layer] = {
                    **banks[layer].attribute(grid.read(activation).float(), evidence),
                    "gains": gains.cpu(),
                    "errors": whole.error.cpu(),
                }
            predictions = model.predictions(answer.output, 1)
            facts = [
                {"path": name, "prediction": vars(top[0]) if top else None}
                for name, top in zip(batch.names, predictions, strict=True)
            ]
            return found, classes.cpu(), provenance.display_pixels(model, batch), facts

        size = probed.batch_size(asked.images, differentiated=True)
        what = f"{self.title}: {asked.images.name}"
        return list(in_batches(len(asked.images), size, probed.execution, run, what))


def normalised(
    whole: Integrated, classes: Tensor, grid: Grid, *, binary: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the evidence for each class on the grid, and how much there is of it.

    Returns
    -------
    tuple
        `(n, k, c, *cells)` evidence, at least 0, that sums to the gain (prefix tokens keep their part); and
        `(n, k)` gains in [0, 1]: the class's rise over the largest rise of any class.
    """
    n, k = classes.shape
    positive = whole.values.clamp_min(0)
    totals = positive.flatten(2).sum(2)
    if binary:  # the integrals of -z are those of z with the other sign
        against = (-whole.values).clamp_min(0).flatten(2).sum(2)
        gains = totals / torch.maximum(totals, against).clamp_min(EPSILON)
    else:
        rise = whole.rise.clamp_min(0)
        rise = rise / rise.amax(1, keepdim=True).clamp_min(torch.finfo(rise.dtype).tiny)
        gains = rise.gather(1, classes)
    scale = gains / (totals + EPSILON)
    cells = grid.read(positive.flatten(0, 1))
    return (cells * scale.flatten().reshape(-1, *[1] * (cells.ndim - 1))).unflatten(0, (n, k)), gains
