"""`seewhy methods`, `metrics` and `layers`: what there is, and what fits."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, AsJson, ModelSpec
from seewhy.cli.output import note, print_json, print_table
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from seewhy.methods.base import Cost
    from seewhy.models.model import Model
    from seewhy.types import Json, Size


def methods(*, model: ModelSpec | None = None, as_json: AsJson = False) -> None:
    """List the methods; with a model, which of them fit it, why not, and what they cost."""
    from seewhy.methods import METHODS
    from seewhy.verbs import list_methods

    table = list_methods(load_model(model) if model is not None else None)
    if as_json:
        print_json(
            [
                {
                    "name": m.name,
                    "title": m.title,
                    "summary": _summary(METHODS[m.name]),
                    "needs": list(m.needs),
                    "fits": m.fits,
                    "reason": m.reason,
                    "cost": _passes(m.cost),
                    "parameters": METHODS[m.name]().parameters(),
                }
                for m in table
            ]
        )
        return
    print_table(
        ("name", "what it does", "needs", "passes a photo", *(["fits"] if model is not None else [])),
        [
            (
                m.name,
                _summary(METHODS[m.name]),
                ", ".join(m.needs) or "-",
                _cost(m.cost),
                *([("yes" if m.fits else f"no: {m.reason}")] if model is not None else []),
            )
            for m in table
        ],
    )
    note("passes: forward + backward. For a method's parameters: seewhy explain --method NAME --help")


def metrics(*, as_json: AsJson = False) -> None:
    """List the metrics that `evaluate` and `compare` know."""
    from seewhy.metrics import METRICS

    if as_json:
        print_json(
            [
                {
                    "name": m.name,
                    "title": m.title,
                    "summary": _summary(m),
                    "higher_is_better": m.higher_is_better,
                    "bounds": [b if isfinite(b) else None for b in m.bounds],
                    "parameters": m().parameters(),
                }
                for m in METRICS
            ]
        )
        return
    print_table(
        ("name", "what it measures", "better", "between"),
        [
            (
                m.name,
                _summary(m),
                "higher" if m.higher_is_better else "lower",
                "{:g} and {:g}".format(*m.bounds),
            )
            for m in METRICS
        ],
    )


def layers(*, model: ModelSpec = DEFAULT_MODEL, size: str | None = None, as_json: AsJson = False) -> None:
    """List the layers of a model in order of execution, with the one that Grad-CAM takes by default.

    Parameters
    ----------
    size
        Height and width of the input, as in 192x320; the model's own when left out.
    """
    from seewhy.errors import DoesNotFit
    from seewhy.models.layers import default_layer, survey

    wanted = _size(size)
    network = load_model(model)
    shape = _input_shape(network, wanted)
    found = survey(network, shape)
    try:
        default = default_layer(network, shape).name
    except DoesNotFit as error:
        default = ""
        note(str(error))
    if as_json:
        print_json(
            [
                {
                    "name": layer.name,
                    "type": layer.type,
                    "shape": list(layer.shape),
                    "grid": list(layer.grid.cells) if layer.grid is not None else None,
                    "layout": layer.grid.layout if layer.grid is not None else None,
                    "prefix": layer.grid.prefix if layer.grid is not None else None,
                    "fits": layer.fits,
                    "reason": layer.reason,
                    "default": layer.name == default,
                }
                for layer in found
            ]
        )
        return
    print_table(
        ("layer", "type", "output", "grid", "fits"),
        [
            (
                layer.name,
                layer.type,
                _times(layer.shape),
                _times(layer.grid.cells) if layer.grid is not None else "-",
                ("yes, the default" if layer.name == default else "yes")
                if layer.fits
                else f"no: {layer.reason}",
            )
            for layer in found
        ],
        title=f"{network.name}, input {_times(shape)}; default: {default or 'none'}",
    )


def _size(text: str | None) -> Size | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (2, 3) or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise BadInput(
            f"Asked for the input size {text!r}", "It is no size", "Give height x width, as in 224x224"
        )
    return tuple(int(p) for p in parts)


def _input_shape(network: Model, size: Size | None) -> Size:
    channels = len(network.preprocess.mean) if network.preprocess is not None else 3
    return (channels, *(size or network.input_size() or (224, 224)))


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _passes(cost: Cost | None) -> Json | None:
    return {"forward": cost.forward, "backward": cost.backward} if cost is not None else None


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "unknown"
    return " + ".join("?" if n < 0 else f"{n:,}" for n in (cost.forward, cost.backward))


def _times(numbers: Size) -> str:
    return " x ".join(map(str, numbers))
