"""What there is to choose from: methods, metrics and layers, described from their own classes."""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Iterable
from dataclasses import MISSING, Field, asdict, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from seewhy.errors import BadInput, SeeWhyError, UnknownName
from seewhy.studio import schema

if TYPE_CHECKING:
    from seewhy.methods.base import Method, Paper
    from seewhy.metrics.base import Metric
    from seewhy.models.model import Model

GROUPS: dict[str, schema.Group] = {
    "cam": "layer",
    "gradient": "gradient",
    "masking": "black box",
    "relevance": "relevance",
    "attention": "attention",
    "optimised": "optimised",
    "learned": "learned",
}
"""Heading in the picker, by the room in which a method lies."""
QUICK = 1.0
"""Seconds below which a method runs by itself."""
BACKWARD = 2.0
"""Forward passes that a backward pass takes the time of."""


def method_entry(cls: type[Method], model: Model, rate: float | None) -> schema.MethodEntry:
    """Return what the page shows of a method beside a model."""
    method = cls()
    try:
        reason = method.unfit(model)
    except SeeWhyError as error:
        reason = str(error)
    forward, backward, seconds = price(method, model, rate)
    return schema.MethodEntry(
        name=cls.name,
        title=cls.title,
        summary=summary(cls),
        group=GROUPS[cls.__module__.split(".")[2]],
        signed=method.signed,
        streams=cls.streams,
        targeted=method.targeted,
        takes_layer=any(f.name == "layer" for f in fields(cls)),
        fits=not reason,
        reason=reason,
        forward=forward,
        backward=backward,
        seconds=seconds,
        autorun=not reason and seconds is not None and seconds < QUICK,
        parameters=parameters(cls),
        page=cls.page(),
        paper=cited(cls.name, cls.paper),
    )


def price(method: Method, model: Model, rate: float | None) -> tuple[int | None, int | None, float | None]:
    """Return passes forward and backward and the seconds of one map; None for what is not known before."""
    cost = method.cost(model.input_size() or (224, 224))
    forward, backward = (None if n < 0 else n for n in (cost.forward, cost.backward))
    if rate is None or forward is None or backward is None:
        return forward, backward, None
    return forward, backward, (forward + BACKWARD * backward) / rate


def metric_entry(cls: type[Metric]) -> schema.MetricEntry:
    """Return what the page shows of a metric."""
    from seewhy.metrics.truth import TRUTHS, needed
    from seewhy.metrics.variants import metric_of

    metric = metric_of(cls.name, steps=schema.STEPS)
    forward, need = metric.cost((224, 224)).forward, needed(metric)
    lacking = f"It compares maps with {TRUTHS[need].against}, which nobody told here" if need else ""
    return schema.MetricEntry(
        name=cls.name,
        title=cls.title,
        summary=summary(cls),
        higher_is_better=cls.higher_is_better,
        bounds=[b if math.isfinite(b) else None for b in cls.bounds],
        forward=None if forward < 0 else forward,
        parameters=parameters(cls),
        page=inspect.cleandoc(inspect.getmodule(cls).__doc__ or ""),
        reason=lacking,
    )


def layer_entries(model: Model) -> list[schema.LayerEntry]:
    """Return the layers of a model in order of execution."""
    from seewhy.models.layers import default_layer, survey

    shape = (3, *(model.input_size() or (224, 224)))
    if model.preprocess is not None:
        shape = (len(model.preprocess.mean), *shape[1:])
    try:
        default = default_layer(model, shape).name
    except SeeWhyError:
        default = ""
    return [
        schema.LayerEntry(
            name=layer.name,
            type=layer.type,
            shape=list(layer.shape),
            grid=list(layer.grid.cells) if layer.grid is not None else None,
            default=layer.name == default,
            reason=layer.reason,
        )
        for layer in survey(model, shape)
    ]


def summary(cls: type) -> str:
    """Return the first line of a class' docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]


def cited(name: str, paper: Paper) -> dict[str, Any]:
    """Return a paper with its BibTeX entry."""
    key = f"{re.sub(r'[^a-z]', '', paper.authors.split(',')[0].split()[-1].casefold())}{paper.year}{name}"
    lines = (
        f"  title = {{{paper.title}}}",
        f"  author = {{{' and '.join(a.strip() for a in paper.authors.split(','))}}}",
        f"  year = {{{paper.year}}}",
        f"  url = {{{paper.url}}}",
    )
    return {**asdict(paper), "bibtex": f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"}


# -- parameters ------------------------------------------------------------------------------------------


def parameters(cls: type) -> list[schema.Parameter]:
    """Return the fields of a dataclass as fields of a form."""
    hints, words = get_type_hints(cls), described(cls)
    return [_parameter(f, hints[f.name], words.get(f.name, "")) for f in fields(cls) if f.init]


Form: TypeAlias = Literal["list", "string", "number", "integer", "boolean"]
_FORMS: dict[Form, type] = {"list": tuple, "string": str, "number": float, "integer": int, "boolean": bool}


def _parameter(field: Field[Any], hint: Any, words: str) -> schema.Parameter:
    kinds, optional, choices = _kinds(hint)
    default = field.default
    if default is MISSING:
        default = field.default_factory() if field.default_factory is not MISSING else None
    name: Form = next((name for name, kind in _FORMS.items() if kind in kinds), "string")
    return schema.Parameter(
        name=field.name,
        type=name,
        default=list(default) if isinstance(default, tuple) else default,
        optional=optional,
        choices=choices,
        help=words,
    )


def _kinds(hint: Any) -> tuple[set[type], bool, list[str] | None]:
    """Return the types that a field takes, whether it takes None, and its choices if it has any."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        parts = [_kinds(a) for a in get_args(hint) if a is not type(None)]
        choices = next((c for *_, c in parts if c is not None), None)
        return set().union(*(k for k, *_ in parts)), type(None) in get_args(hint), choices
    if origin is Literal:
        return {type(a) for a in get_args(hint)}, False, [str(a) for a in get_args(hint)]
    return {origin or hint}, False, None


def described(cls: type) -> dict[str, str]:
    """Return the texts of the section "Parameters" of a class' docstring, by name."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", doc, re.M | re.S)
    words: dict[str, list[str]] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        if line and not line[0].isspace():
            names = [n.strip() for n in line.partition(":")[0].split(",")]
        elif line.strip():
            for name in names:
                words.setdefault(name, []).append(line.strip())
    return {name: " ".join(lines) for name, lines in words.items()}


def values(cls: type, given: dict[str, Any], what: str) -> dict[str, Any]:
    """Return parameters from JSON as a dataclass takes them.

    Raises
    ------
    BadInput
        For an unknown name, or a value of another type.
    """
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls) if f.init]
    for key in given:
        if key not in known:
            raise UnknownName(f"parameter of {what}", key, known)
    return {key: _value(hints[key], value, f"{key} of {what}") for key, value in given.items()}


def _value(hint: Any, value: Any, what: str) -> Any:
    kinds, optional, choices = _kinds(hint)
    if value is None and optional:
        return None
    if choices is not None:
        if str(value) not in choices:
            raise UnknownName(what, str(value), choices)
        return next(kind(value) for kind in kinds)
    whole = isinstance(value, int) and not isinstance(value, bool)
    real = isinstance(value, float) and math.isfinite(value)
    if bool in kinds and isinstance(value, bool):
        return value
    if int in kinds and (whole or (real and value == int(value))):
        return int(value)
    if float in kinds and (whole or real):
        return float(value)
    if str in kinds and isinstance(value, str) and len(value) <= 4096:
        return value
    if tuple in kinds and isinstance(value, list) and len(value) <= 256:
        return tuple(_value(_item(hint), v, what) for v in value)
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}
    raise BadInput(
        f"Asked for {what} = {value!r}"[:300],
        f"Found {type(value).__name__}",
        f"Give {' or '.join(_said(kinds, wanted))}",
    )


def _item(hint: Any) -> Any:
    for part in (hint, *get_args(hint)):
        if get_origin(part) is tuple:
            return get_args(part)[0]
    return float


def _said(kinds: Iterable[type], wanted: dict[type, str]) -> list[str]:
    return [text for kind, text in wanted.items() if kind in kinds]
