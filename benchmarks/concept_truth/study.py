"""What each network really does without the tags, and what concepts say about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.concept_truth.nets import LAYERS, logits
from benchmarks.concept_truth.pictures import CLASSES, LETTERS, other, plain, tagged
from seewhy.concepts import TCAV, ImageSet, VisualTCAV, VisualTcavResult
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.types import Json

EXAMPLES, RANDOM = 60, 150
"""Images of each concept, and random ones."""


@dataclass(frozen=True)
class Finding:
    """One network.

    Parameters
    ----------
    rate
        How often the tag told the class in training.
    drop, drop_low, drop_high
        Accuracy on tagged test pictures less that on their untagged twins, by class, with 95 % intervals.
    accuracy
        On tagged and on untagged pictures.
    visual, visual_low, visual_high
        Global attribution of each class's own tag to it, with its interval.
    excess_low, excess_high
        Interval of the attribution less that of random concepts.
    random
        Attribution of random images taken as a concept, mean.
    tcav, tcav_low, tcav_high, tcav_p
        TCAV score of the same, its interval and corrected p.
    energy, area, iou, pointing
        Of the concept maps against the tags: energy inside, area share, overlap at 0.5, peak inside.
    values
        By picture: class, attribution, random attribution, fall of the logit.
    """

    rate: float
    accuracy: tuple[float, float]
    drop: list[float]
    drop_low: list[float]
    drop_high: list[float]
    visual: list[float]
    visual_low: list[float]
    visual_high: list[float]
    excess_low: list[float]
    excess_high: list[float]
    random: list[float]
    tcav: list[float]
    tcav_low: list[float]
    tcav_high: list[float]
    tcav_p: list[float]
    energy: float
    area: float
    iou: float
    pointing: float
    values: dict[str, list[float]]

    def to_json(self) -> Json:
        """Return it as plain JSON."""
        return asdict(self)

    @property
    def pearson(self) -> float:
        """Correlation of attribution and fall of the logit over this network's pictures."""
        return correlation(self.values["attribution"], self.values["fall"])


def examined(
    model: Model, rate: float, tests: int, execution: Execution
) -> tuple[dict[str, Finding], VisualTcavResult]:
    """Ask one network about its tags; the findings are those of its layers."""
    bare = plain(2, tests, training=False)
    marked = tagged(bare, bare.classes, 2)
    x, y = marked.inputs(), torch.from_numpy(bare.classes)
    with_tag, without = logits(model, x), logits(model, bare.inputs())
    right = torch.stack([(with_tag.argmax(1) == y), (without.argmax(1) == y)]).double()
    fall = (with_tag - without).gather(1, y[:, None])[:, 0].clamp_min(0)
    drops = [_drop(right[:, y == k]) for k in range(len(CLASSES))]

    base = other(3, EXAMPLES)
    concepts = [
        ImageSet(f"tag {letter}", tagged(base, np.full(EXAMPLES, k), 3).inputs())
        for k, letter in enumerate(LETTERS)
    ]
    random = other(4, RANDOM).inputs()
    by_class: dict[int | str, Tensor] = {k: x[y == k] for k in range(len(CLASSES))}
    result = VisualTCAV(layers=tuple(LAYERS))(model, concepts, random, by_class, execution=execution)
    tested = TCAV(layers=tuple(LAYERS))(model, concepts, random, by_class, execution)

    classes = result.classes[:, 0]
    order = torch.cat([(y == k).nonzero()[:, 0] for k in range(len(CLASSES))])
    findings = {}
    for layer, f in result.layers.items():
        own = {
            r.index: r
            for r in result.global_rows()
            if r.layer == layer and r.concept == concepts[r.index].name
        }
        rows = {r.index: r for r in tested.rows if r.layer == layer and r.concept == concepts[r.index].name}
        maps = [result.concept_map(i, concepts[k].name, layer) for i, k in enumerate(classes.tolist())]
        findings[layer] = Finding(
            rate=rate,
            accuracy=(float(right[0].mean()), float(right[1].mean())),
            drop=[d[0] for d in drops],
            drop_low=[d[1] for d in drops],
            drop_high=[d[2] for d in drops],
            visual=[own[k].attribution for k in own],
            visual_low=[own[k].low for k in own],
            visual_high=[own[k].high for k in own],
            excess_low=[own[k].excess_low for k in own],
            excess_high=[own[k].excess_high for k in own],
            random=[own[k].random for k in own],
            tcav=[rows[k].score for k in own],
            tcav_low=[rows[k].low for k in own],
            tcav_high=[rows[k].high for k in own],
            tcav_p=[rows[k].p_corrected for k in own],
            values={
                "class": classes.tolist(),
                "attribution": f.attributions[torch.arange(len(classes)), 0, classes].tolist(),
                "random": f.random[:, 0].mean(1).tolist(),
                "fall": fall[order].tolist(),
            },
            **located(torch.stack(maps).double().numpy(), marked.masks[order.numpy()]),
        )
    return findings, result


def located(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Return how well `(n, h, w)` maps find the masks: mean energy inside, area, overlap, peak inside.

    Pictures without any map count as 0.
    """
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    total = flat.sum(1)
    shown = total > 0
    energy = np.where(shown, (flat * inside).sum(1) / np.where(shown, total, 1), 0)
    strong = flat > 0.5
    union = (strong | inside).sum(1)
    peak = inside[np.arange(len(flat)), flat.argmax(1)] & shown
    return {
        "energy": float(energy.mean()),
        "area": float(inside.mean()),
        "iou": float(((strong & inside).sum(1) / union).mean()),
        "pointing": float(peak.mean()),
    }


def _drop(right: Tensor) -> tuple[float, float, float]:
    """Return the mean difference of two rows of outcomes, with its interval over pictures."""
    d = right[0] - right[1]
    error = 1.96 * float(d.std()) / len(d) ** 0.5
    return float(d.mean()), float(d.mean()) - error, float(d.mean()) + error


def correlation(a: list[float], b: list[float]) -> float:
    """Return Pearson's correlation; NaN where one does not vary."""
    x, y = np.asarray(a), np.asarray(b)
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else float("nan")


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Return Spearman's correlation, ties sharing their rank."""
    return correlation(_ranks(a), _ranks(b))


def _ranks(values: list[float]) -> list[float]:
    v = np.asarray(values)
    return [float((v < x).sum() + ((v == x).sum() - 1) / 2) for x in v]
