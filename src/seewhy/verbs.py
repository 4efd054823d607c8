"""What a user does: explain, evaluate, list, open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.base import METHODS, Cost, Method
from seewhy.metrics.evaluation import evaluate, list_metrics
from seewhy.models.loading import as_model
from seewhy.models.model import Model
from seewhy.runs.run import benchmark
from seewhy.targets import TargetLike

__all__ = ["Fit", "benchmark", "evaluate", "explain", "list_methods", "list_metrics", "open"]

_RUN = {f.name for f in fields(Execution)}


def explain(
    model: Model | nn.Module | str,
    inputs: Any,
    method: Method | type[Method] | str = "grad_cam",
    target: TargetLike | Sequence[TargetLike] = None,
    **options: Any,
) -> Attribution:
    """Say where the model looked.

    Parameters
    ----------
    model
        A `Model`, a bare network, or a spec string for `seewhy.load`.
    inputs
        A path, PIL image or normalised tensor `(n, c, h, w)` / `(n, c, t, h, w)`, or a list of paths and
        images.
    method
        A name from `list_methods()`, or a method with its parameters.
    target
        A class index, label, `"A vs B"`, `Target`, function of the raw output; None is the model's own
        answer. A sequence holds one a sample.
    **options
        Fields of `Execution` (seed, batch_size, precision, device, progress ...) and, when `method` is a
        name, the method's parameters.

    Returns
    -------
    Attribution
        With `values` of shape `(n, *size)` at input resolution.

    Raises
    ------
    BadInput
        For anything that does not go together; the message says what to do.

    Examples
    --------
    >>> import torch, seewhy
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(),
    ...                           torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5))
    >>> seewhy.explain(net, torch.rand(2, 3, 16, 16), method="gradient", target=1).values.shape
    torch.Size([2, 16, 16])
    """
    run = {k: options.pop(k) for k in list(options) if k in _RUN}
    return as_method(method, **options)(as_model(model), inputs, target, Execution(**run))


def as_method(method: Method | type[Method] | str, **parameters: Any) -> Method:
    """Return the method that a name, class or instance means."""
    if isinstance(method, Method):
        if parameters:
            raise BadInput(
                f"Asked for {method.name} with {', '.join(parameters)}",
                "The method has its parameters already",
                "Give them where the method is made",
            )
        return method
    cls = METHODS[method] if isinstance(method, str) else method
    return cls.make(**parameters)


@dataclass(frozen=True)
class Fit:
    """One line of the capability table.

    Parameters
    ----------
    name, title
        Of the method.
    fits
        Whether it can explain the model; `reason` says why not.
    cost
        Passes for one sample at the model's input size, where known.
    """

    name: str
    title: str
    fits: bool
    reason: str
    needs: tuple[str, ...]
    cost: Cost | None


def list_methods(model: Model | nn.Module | str | None = None) -> list[Fit]:
    """Return every method: with a model, whether it fits, why not, and what it costs."""
    known = as_model(model) if model is not None else None
    size = (known.input_size() if known is not None else None) or (224, 224)
    table = []
    for cls in METHODS:
        method = cls()
        reason = method.unfit(known) if known is not None else ""
        table.append(
            Fit(cls.name, cls.title, not reason, reason, tuple(sorted(cls.needs)), method.cost(size))
        )
    return table


def open(path: str | Path) -> Attribution:
    """Read an attribution that `Attribution.save` wrote."""
    return Attribution.open(path)
