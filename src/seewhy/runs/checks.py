"""Before a benchmark starts: whether all that the plan names exists, and fits the model and the data.

Reasons that only show when a method runs are found by letting it begin on one photo: it is cancelled at its
first step.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib import metadata

import torch

import seewhy
from seewhy import provenance
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.batch import Inputs
from seewhy.inputs.datasets.base import Dataset, fingerprint
from seewhy.metrics.base import Metric
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.remembered import unmoved
from seewhy.metrics.truth import TRUTHS, needed
from seewhy.models.model import Model
from seewhy.question import ask
from seewhy.runs.plan import TRUTH, Plan
from seewhy.types import Json

_LOOKED_AT = 16
"""Samples of which one must be readable, for the methods to be tried on it."""


def rests_on(plan: Plan, model: Model, data: Dataset, count: int) -> Json:
    """Return what the numbers of a run rest on: see `folder.RESTS_ON`."""
    return {
        "model": model.name,
        "weights_sha256": model.weights_hash,
        "preprocessing": model.preprocess.to_json() if model.preprocess is not None else None,
        "data_sha256": fingerprint(data, count),
        "samples": count,
        "seewhy": seewhy.__version__,
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "plan_sha256": plan.sha256,
    }


def unfit(plan: Plan, model: Model, data: Dataset) -> dict[str, str]:
    """Return, by label, why methods and metrics of a plan do not fit; {} when all do.

    Raises
    ------
    UnknownName, BadInput
        For names, parameters and targets that do not exist.
    """
    methods = {c.label: c.method() for c in plan.methods}
    metrics = {c.label: c.metric() for c in plan.metrics}
    if plan.target == TRUTH and "target" not in data.offers:
        raise BadInput(
            "Asked to explain each sample's own class",
            f"{plan.data} does not say the classes of its samples",
            "Leave target out for the model's own answers",
        )
    sample = _readable(model, data)
    reasons = {label: method.unfit(model) for label, method in methods.items()}
    reasons |= {label: _no_truth(metric, data) for label, metric in metrics.items()}
    if sample is None:
        return {label: why for label, why in reasons.items() if why}
    execution = Execution(
        seed=plan.seed,
        batch_size=plan.batch_size,
        precision=plan.precision,
        compiled=False,
        cancelled=lambda: True,
    )
    rule = "" if plan.target == TRUTH else plan.target
    target = (int(rule) if rule.lstrip("-").isdigit() else rule) if rule else None
    with model.untouched():
        ask(
            model, sample.tensor, target, replace(execution, cancelled=None), "logit"
        )  # is there such a target?
    for label, method in methods.items():
        if not reasons[label]:
            try:
                method(model, sample, target, execution)
            except Cancelled:
                continue
            except BadInput as error:
                reasons[label] = str(error)
            except Exception:  # of this sample alone, perhaps; it will stand in its rows
                continue
    for label, metric in metrics.items():
        if not reasons[label]:
            reasons[label] = _trial(metric, model, sample, target, execution)
    return {label: why for label, why in reasons.items() if why}


def refuse(reasons: dict[str, str], model: Model) -> None:
    """Refuse a plan with methods or metrics that do not fit.

    Raises
    ------
    DoesNotFit
        If there are any.
    """
    if reasons:
        listed = "; ".join(f"{label}: {why.rstrip('.')}" for label, why in reasons.items())
        raise DoesNotFit(
            f"Asked for a benchmark of {model.name}",
            f"Not everything fits. {listed}",
            "Leave them out, or give --skip-unfit",
        )


def _readable(model: Model, data: Dataset) -> Inputs | None:
    """Return the first of some samples that can be read, as the model takes it."""
    if model.preprocess is None:
        model.prepare(data.name(0))  # says what to do
    for i in range(min(len(data), _LOOKED_AT)):
        try:
            return model.prepare([data.load(i).image])
        except BadInput:
            continue
    return None


def _no_truth(metric: Metric, data: Dataset) -> str:
    need = needed(metric)
    if need is None or need in data.offers:
        return ""
    return f"it compares maps with {TRUTHS[need].against}, and the data do not say that"


def _trial(metric: Metric, model: Model, sample: Inputs, target: object, execution: Execution) -> str:
    """Return why a metric does not fit, found by beginning with it; "" where it fits."""
    pixels = provenance.display_pixels(model, sample)
    values = BASELINES["edges"](pixels, execution.seed)
    truth = None
    if needed(metric) is not None:
        truth = torch.zeros(values.shape, dtype=torch.bool)
        height, width = values.shape[-2:]
        truth[..., height // 4 : 3 * height // 4 + 1, width // 4 : 3 * width // 4 + 1] = True
    try:
        with model.untouched():
            question = ask(model, sample.tensor, target, replace(execution, cancelled=None), metric.prefers)  # type: ignore[arg-type]
            again = unmoved("edges", values, sample, execution.seed)
            metric.measure(replace(question, execution=execution, truth=truth, again=again), values)
    except Cancelled:
        return ""
    except BadInput as error:
        return str(error)
    except Exception:  # as above
        return ""
    return ""
