"""Evaluate: every metric on every attribution of the same inputs, the baselines beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from seewhy import provenance
from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.execution import Execution, Passes
from seewhy.methods.base import Cost
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.remembered import again, target_of, unmoved
from seewhy.metrics.table import Row, Table
from seewhy.metrics.truth import check_truth
from seewhy.metrics.variants import labels as label_variants
from seewhy.metrics.variants import metric_of
from seewhy.models.loading import as_model
from seewhy.models.model import Model
from seewhy.question import Again, ask
from seewhy.targets import Target, TargetLike
from seewhy.types import Json, Size


@dataclass(frozen=True)
class Measure:
    """One line of `list_metrics`: a metric, and what it costs for one sample."""

    name: str
    title: str
    higher_is_better: bool
    bounds: tuple[float, float]
    cost: Cost


def list_metrics(size: Size = (224, 224)) -> list[Measure]:
    """Return every metric, with its cost for one sample of `size`."""
    return [
        Measure(cls.name, cls.title, cls.higher_is_better, cls.bounds, cls().cost(size)) for cls in METRICS
    ]


def evaluate(
    model: Model | nn.Module | str,
    inputs: Any,
    attributions: Attribution | Iterable[Attribution],
    metrics: Metric | str | Sequence[Metric | str] = ("deletion", "insertion"),
    target: TargetLike | Sequence[TargetLike] = None,
    *,
    truth: Tensor | None = None,
    baselines: bool = True,
    **options: Any,
) -> Table:
    """Measure how far attributions can be believed.

    Parameters
    ----------
    model
        A `Model`, a bare network or a spec string: the one that was explained.
    inputs
        What was explained, in the same order.
    attributions
        One or several attributions of all these inputs.
    metrics
        Names from `list_metrics()`, as they are or with parameters, "average_drop?keep=15"; or metrics. Of
        several variants of one metric the table names the parameters.
    target
        The score; by default the classes that the attributions explain, as each metric prefers to score them.
    truth
        `(n, *size)`, at input resolution, what metrics of localisation or gaze compare with: bool, True
        where the evidence is known to be or where people looked; or floating-point, how often they looked
        there.
    baselines
        Whether to measure the maps of `seewhy.metrics.baselines` too.
    **options
        Fields of `Execution`: seed, batch_size, precision, device, progress ...

    Returns
    -------
    Table
        Print it, ask for its `mean()` or `to_json()`.

    Raises
    ------
    BadInput
        When attributions and inputs do not belong together, or explain different targets; when a metric makes
        maps again and the method cannot be rebuilt from what an attribution remembers;
        when a metric needs a truth and there is none, or one of another kind.
    """
    model = as_model(model)
    listed = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not listed:
        raise BadInput("Asked to evaluate attributions", "The list is empty", "Give at least one")
    chosen = [
        metric_of(m) if isinstance(m, str) else m
        for m in ([metrics] if isinstance(metrics, Metric | str) else metrics)
    ]
    if not chosen:
        raise BadInput(
            "Asked to evaluate attributions", "No metric is named", "Choose from seewhy.list_metrics()"
        )
    names = label_variants(chosen)
    if truth is None:
        check_truth(chosen, None, ())
    execution = Execution(**options)
    batch = model.prepare(inputs)
    check_truth(chosen, truth, (len(batch), *batch.tensor.shape[2:]))
    pixels = provenance.display_pixels(model, batch).cpu()
    for attribution in listed:
        _belongs(attribution, pixels)
    wanted = _targets(listed) if target is None else target

    labels, repeated = _labels(listed), Passes()
    maps = dict(zip(labels, (a.values for a in listed), strict=True))
    clash = maps.keys() & BASELINES.keys()
    assert not clash, f"methods named like baselines: {clash}"
    if baselines:
        maps |= {name: make(pixels, execution.seed) for name, make in BASELINES.items()}
    repeats: dict[str, Again] = {}
    if any("again" in metric.needs for metric in chosen):
        repeats = {
            name: unmoved(name, maps[name], batch, execution.seed) for name in BASELINES if name in maps
        }
        repeats |= {
            name: again(a, batch, execution, repeated, target) for name, a in zip(labels, listed, strict=True)
        }
    measured: dict[tuple[str, str], Scored] = {}
    notes: Json = {}
    with model.untouched(execution.device):
        questions = {}
        for kind in dict.fromkeys(metric.prefers for metric in chosen):
            questions[kind] = replace(ask(model, batch.tensor, wanted, execution, kind), truth=truth)
        for label, metric in zip(names, chosen, strict=True):
            for name, values in maps.items():
                question = questions[metric.prefers]
                if "again" in metric.needs:
                    question = replace(question, again=repeats[name])
                scored = metric.measure(question, values)
                measured[label, name] = scored
                notes.setdefault(label, {})[name] = scored.notes or {}
    rows = tuple(
        _row(sample, name, label, measured[label, name], i, baselines and name in BASELINES)
        for i, sample in enumerate(batch.names)
        for name in maps
        for label in names
    )
    first = next(iter(questions.values()))
    return Table(
        rows,
        {label: metric.higher_is_better for label, metric in zip(names, chosen, strict=True)},
        {
            **provenance.of_model(model, batch, first.weights),
            "inputs": provenance.of_inputs(model, batch, first),
            "metrics": {label: metric.parameters() for label, metric in zip(names, chosen, strict=True)},
            "notes": notes,
            "passes": {
                "forward": (sum(q.passes.forward for q in questions.values()) + repeated.forward)
                // len(batch)
            },
            "execution": provenance.of_run(execution),
        },
    )


def _row(sample: str, method: str, metric: str, scored: Scored, i: int, baseline: bool) -> Row:
    at: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    if scored.at is not None and scored.curve is not None and not bool(scored.curve[i].isnan().any()):
        at, curve = tuple(scored.at.tolist()), tuple(scored.curve[i].tolist())
    return Row(sample, method, metric, float(scored.values[i]), baseline, at, curve)


def _labels(attributions: list[Attribution]) -> list[str]:
    """Return one name each: the method's, numbered where it occurs again."""
    seen: dict[str, int] = {}
    labels = []
    for attribution in attributions:
        name = str(attribution.provenance["method"])
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return labels


def _belongs(attribution: Attribution, pixels: Tensor) -> None:
    asked = f"Asked to evaluate the attribution of {attribution.provenance['method']}"
    if attribution.pixels.shape != pixels.shape:
        raise BadInput(
            asked,
            f"It explains {len(attribution)} inputs of size {tuple(attribution.pixels.shape[2:])}; "
            f"given are {len(pixels)} of size {tuple(pixels.shape[2:])}",
            "Give the inputs that were explained",
        )
    # Two grey levels of slack: another device may round the way back to pixels differently.
    if bool(((attribution.pixels.int() - pixels.int()).abs() > 2).any()):
        raise BadInput(
            asked,
            "It explains other inputs than the given ones",
            "Give those, in the order of the explanation",
        )


def _targets(attributions: list[Attribution]) -> list[Target]:
    """Rebuild the targets from what the attributions remember; all must remember the same."""
    remembered = [[entry["target"] for entry in a.provenance["inputs"]] for a in attributions]
    named = [[(t["label"], t.get("index")) for t in each] for each in remembered]
    if any(other != named[0] for other in named):
        raise BadInput(
            "Asked to compare attributions",
            "They explain different targets",
            "Give target=..., or evaluate them apart",
        )
    return [target_of(t) for t in remembered[0]]
