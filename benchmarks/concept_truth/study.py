"""What each network really does without the tags, and what concepts say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.concept_truth.nets import LAYERS, logits
from benchmarks.concept_truth.pictures import CLASSES, CONTROLS, LETTERS, other, plain, tagged
from seewhy.concepts import TCAV, ImageSet, VisualTCAV, VisualTcavResult
from seewhy.concepts.references import student
from seewhy.concepts.visual_result import WIDE, GlobalRow
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.types import Json

EXAMPLES, RANDOM = 60, 150
"""Images of each concept, and random ones."""
EXPLAINED, TWINS = 100, 30
"""Test pictures of each class that are explained, and of those that are again with each control."""


@dataclass(frozen=True)
class Finding:
    """One network at one layer. Lists hold a value a class, unless said.

    Parameters
    ----------
    rate
        How often the tag told the class in training.
    drop, drop_low, drop_high
        Accuracy on tagged test pictures less that on their untagged twins, with 95 % intervals.
    mean_drop
        The same over all classes: the drop and the ends of its interval.
    accuracy
        On pictures with the class's tag, with a control's and without any.
    visual, visual_low, visual_high
        Global attribution of each class's own tag to it, with its interval.
    random, random_low, random_high
        Attribution of random images taken as a concept, mean; interval of the tag's excess over it.
    control, excess, excess_low, excess_high
        Attribution of the control tags in the same pictures, mean; the own tag's excess over it; interval.
    tcav, tcav_low, tcav_high, tcav_excess
        TCAV score of the own tag, its interval, and its excess over the mean score of the control tags.
    energy, area, iou, pointing, shown
        Of the concept maps against the tags: energy inside, area share, overlap at 0.5, peak inside; a photo
        without a map counts as 0. Share of photos with a map.
    values
        By picture: class, attribution, random attribution, fall of the logit.
    """

    rate: float
    accuracy: tuple[float, float, float]
    drop: list[float]
    drop_low: list[float]
    drop_high: list[float]
    mean_drop: tuple[float, float, float]
    visual: list[float]
    visual_low: list[float]
    visual_high: list[float]
    random: list[float]
    random_low: list[float]
    random_high: list[float]
    control: list[float]
    excess: list[float]
    excess_low: list[float]
    excess_high: list[float]
    tcav: list[float]
    tcav_low: list[float]
    tcav_high: list[float]
    tcav_excess: list[float]
    energy: float
    area: float
    iou: float
    pointing: float
    shown: float
    values: dict[str, list[float]]

    def to_json(self) -> Json:
        """Return it as plain JSON."""
        return asdict(self)

    @property
    def pearson(self) -> float:
        """Correlation of attribution and fall of the logit over this network's pictures."""
        return correlation(self.values["attribution"], self.values["fall"])


def examined(
    model: Model, rate: float, tests: int, seed: int, execution: Execution
) -> tuple[dict[str, Finding], VisualTcavResult]:
    """Ask one network about its tags; the findings are those of its layers.

    Parameters
    ----------
    model, rate
        The network, and how often its tags told the class.
    tests
        Test pictures.
    seed
        Of test pictures (`seed`), concept images (`seed + 1`) and random images (`seed + 2`).
    execution
        Where to run, what to report to.
    """
    bare = plain(seed, tests, training=False)
    marked = tagged(bare, [LETTERS[k] for k in bare.classes], seed)
    controlled = {c: tagged(bare, [c] * tests, seed).inputs() for c in CONTROLS}
    x, y = marked.inputs(), torch.from_numpy(bare.classes)
    with_tag, without = logits(model, x), logits(model, bare.inputs())
    right = torch.stack([(with_tag.argmax(1) == y), (without.argmax(1) == y)]).double()
    otherwise = [float((logits(model, z).argmax(1) == y).double().mean()) for z in controlled.values()]
    fall = (with_tag - without).gather(1, y[:, None])[:, 0].clamp_min(0)
    drops = [_drop(right[:, y == k]) for k in range(len(CLASSES))]

    base = other(seed + 1, EXAMPLES)
    tags = {
        c: ImageSet(f"tag {c}", tagged(base, [c] * EXAMPLES, seed + 1).inputs()) for c in LETTERS + CONTROLS
    }
    own = [tags[c] for c in LETTERS]
    random = other(seed + 2, RANDOM).inputs()
    rows = [(y == k).nonzero()[:EXPLAINED, 0] for k in range(len(CLASSES))]
    by_class: dict[int | str, Tensor] = {k: x[r] for k, r in enumerate(rows)}
    result = VisualTCAV(layers=tuple(LAYERS))(model, own, random, by_class, execution=execution)
    tested = TCAV(layers=tuple(LAYERS))(model, list(tags.values()), random, by_class, execution)
    once = VisualTCAV(layers=tuple(LAYERS), resamples=0, random_concepts=2)
    control: dict[tuple[str, int], list[float]] = {}
    for c, z in controlled.items():
        twins: dict[int | str, Tensor] = {k: z[r[:TWINS]] for k, r in enumerate(rows)}
        for row in once(model, [tags[c]], random, twins, execution=execution).global_rows():
            control.setdefault((row.layer, row.index), []).append(row.attribution)

    classes, order = result.classes[:, 0], torch.cat(rows)
    findings = {}
    for layer, f in result.layers.items():
        found = [r for r in result.global_rows() if r.layer == layer and r.concept == own[r.index].name]
        over = [over_controls(r, control[layer, r.index]) for r in found]
        scores = {(r.concept, r.index): r for r in tested.rows if r.layer == layer}
        tcav = [scores[own[k].name, k] for k in range(len(CLASSES))]
        chance = [np.mean([scores[tags[c].name, k].score for c in CONTROLS]) for k in range(len(CLASSES))]
        maps = [result.concept_map(i, own[k].name, layer) for i, k in enumerate(classes.tolist())]
        findings[layer] = Finding(
            rate=rate,
            accuracy=(float(right[0].mean()), float(np.mean(otherwise)), float(right[1].mean())),
            drop=[d[0] for d in drops],
            drop_low=[d[1] for d in drops],
            drop_high=[d[2] for d in drops],
            mean_drop=_drop(right),
            visual=[r.attribution for r in found],
            visual_low=[r.low for r in found],
            visual_high=[r.high for r in found],
            random=[r.random for r in found],
            random_low=[r.excess_low for r in found],
            random_high=[r.excess_high for r in found],
            control=[float(np.mean(control[layer, r.index])) for r in found],
            excess=[o[0] for o in over],
            excess_low=[o[1] for o in over],
            excess_high=[o[2] for o in over],
            tcav=[r.score for r in tcav],
            tcav_low=[r.low for r in tcav],
            tcav_high=[r.high for r in tcav],
            tcav_excess=[float(r.score - c) for r, c in zip(tcav, chance, strict=True)],
            values={
                "class": classes.tolist(),
                "attribution": f.attributions[torch.arange(len(classes)), 0, classes].tolist(),
                "random": f.random[:, 0].mean(1).tolist(),
                "fall": fall[order].tolist(),
            },
            **located(torch.stack(maps).double().numpy(), marked.masks[order.numpy()]),
        )
    return findings, result


def over_controls(row: GlobalRow, controls: Sequence[float]) -> tuple[float, float, float]:
    """Return the excess of an attribution over those of control concepts, and its 95 % interval.

    The interval holds the attribution's own uncertainty and the spread of the controls, of which this concept
    would be one more if it mattered as little: `t sqrt(se^2 + var (1 + 1 / r))`, Student's t of r - 1.
    """
    c = np.asarray(controls)
    excess = row.attribution - float(c.mean())
    error = ((row.high - row.attribution) / WIDE) ** 2
    half = student(len(c) - 1) * (error + float(c.var(ddof=1)) * (1 + 1 / len(c))) ** 0.5
    return excess, excess - half, excess + half


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
        "shown": float(shown.mean()),
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
