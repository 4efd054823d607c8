"""Metrics by name and parameters, `average_drop?keep=15`, and the labels that tell variants apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from seewhy.errors import BadInput, UnknownName
from seewhy.metrics.base import METRICS, Metric
from seewhy.specs import parse


def metric_of(text: str, **parameters: Any) -> Metric:
    """Return the metric that a name with parameters means.

    Parameters
    ----------
    text
        `name` or `name?key=value&key=value`; several numbers for one parameter are joined by `+`.
    **parameters
        Taken where the text does not say otherwise; those that the metric does not have are left out.

    Raises
    ------
    UnknownName
        For a metric or parameter that does not exist, with the nearest ones.
    BadInput
        For a value of the wrong kind or out of range.
    """
    name, given = parse(text)
    cls = METRICS[name]
    known = {f.name: f.default for f in fields(cls)}
    chosen: dict[str, Any] = {k: v for k, v in parameters.items() if k in known}
    for key, value in given.items():
        if key not in known:
            raise UnknownName(f"parameter of {name}", key, known)
        chosen[key] = _fitted(text, key, value, known[key])
    return cls(**chosen)


def class_of(label: str) -> type[Metric]:
    """Return the class of the metric that a label of `labels` stands for."""
    return METRICS[label.partition("?")[0]]


def labels(metrics: Sequence[Metric]) -> list[str]:
    """Return one label each: the name, and where it occurs again, what differs from the defaults.

    Raises
    ------
    BadInput
        When two are the same.
    """
    names = [m.name for m in metrics]
    found = [m.name if names.count(m.name) == 1 else _label(m) for m in metrics]
    twice = next((label for label in found if found.count(label) > 1), None)
    if twice is not None:
        raise BadInput(
            "Asked to evaluate attributions", f"The metric {twice!r} is named twice", "Name each once"
        )
    return found


def _label(metric: Metric) -> str:
    usual = type(metric)().parameters()
    differing = {k: v for k, v in metric.parameters().items() if v != usual[k]}
    said = "&".join(f"{k}={_said(v)}" for k, v in differing.items())
    return f"{metric.name}?{said}" if said else metric.name


def _said(value: object) -> str:
    if isinstance(value, tuple | list):
        return "+".join(_said(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fitted(text: str, key: str, value: Any, usual: Any) -> Any:
    """Return a value in the type of the default; raise `BadInput` where it cannot be."""
    if usual is None or isinstance(usual, str):
        return str(value)
    try:
        if isinstance(usual, tuple):
            return tuple(type(usual[0])(part) for part in str(value).split("+"))
        if isinstance(usual, bool) is not isinstance(value, bool) or (
            isinstance(usual, int) and value != int(value)
        ):
            raise ValueError
        return type(usual)(value)
    except (ValueError, TypeError):
        raise BadInput(
            f"Asked for the metric {text!r}",
            f"Found {str(value)!r} for {key}",
            f"Give {key} as in {key}={_said(usual)}",
        ) from None
