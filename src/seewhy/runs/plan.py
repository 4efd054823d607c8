"""A plan: everything that decides the numbers of a benchmark, and nothing else.

It comes from a TOML file, from flags or from keywords, goes back into TOML, and has a hash. How the work is
done (engine, number of workers, how often it was interrupted) is no part of it, since that does not change a
bit of the table.

    model = "efficientnet-lite0"
    data = "photos"
    methods = ["grad_cam", {name = "rise", masks = 500}]
    metrics = ["insertion", {name = "deletion", steps = 16}]
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.methods.base import METHODS, Method
from seewhy.metrics.base import METRICS, Metric
from seewhy.metrics.baselines import BASELINES
from seewhy.registry import Registry
from seewhy.types import Json

Keep = Literal["none", "worst", "all"]
PlanPrecision = Literal["fp32", "fp16", "bf16"]
TRUTH = "truth"
"""The target rule that takes each sample's own class, as the data set has it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """A method or metric by name, with the parameters that differ from their defaults.

    Parameters
    ----------
    label
        How tables call it; the name where it is left out, numbered where that is taken.
    """

    name: str
    parameters: Json = field(default_factory=dict)
    label: str = ""

    @classmethod
    def of(cls, given: Any, kind: str) -> Choice:
        """Return the choice of a name, of `name?key=value&key=value`, or of a table with a name.

        Raises
        ------
        BadInput
            For anything else.
        """
        if isinstance(given, Choice):
            return given
        if isinstance(given, Method | Metric):
            return cls(given.name, given.parameters())
        if isinstance(given, str):
            name, _, tail = given.partition("?")
            pairs = [option.partition("=") for option in tail.split("&") if option]
            table: Json = {key: _value(text) for key, _, text in pairs}
            return cls(name.strip(), table)
        if isinstance(given, Mapping) and isinstance(given.get("name"), str):
            rest = {str(k): v for k, v in given.items() if k not in ("name", "label")}
            return cls(given["name"], rest, str(given.get("label", "")))
        raise BadInput(
            f"Asked for a {kind}", f"Found {given!r}", 'Write its name, or {name = "...", parameter = ...}'
        )

    def method(self) -> Method:
        """Return the method."""
        return _made(METHODS, self)

    def metric(self) -> Metric:
        """Return the metric."""
        return _made(METRICS, self)

    def to_json(self) -> Json:
        """Return a table with the name, the label if there is one, and the parameters."""
        return {"name": self.name, **({"label": self.label} if self.label else {}), **self.parameters}


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Parameters
    ----------
    model
        Spec of the model, as `seewhy.load` takes it.
    data
        Spec of the data, as `open_dataset` takes it.
    methods, metrics
        Names, `name?key=value`, tables or instances; at least one each.
    target
        For which score: "" the model's own answer to each sample, "truth" each sample's own class (the
        model's answer where the data do not know it), else one class index, label or "A vs B" for all.
    seed
        Of everything random.
    precision
        Arithmetic of forward-only passes. Not "auto", whose trials decide anew in every worker.
    device
        Where to run; "cuda" means every such device of the machine.
    samples
        How many of the data's samples, from the first; None for all.
    chunk
        Samples that go through a method or metric together, `chunk * k` to `chunk * k + chunk - 1`.
    batch_size
        Model inputs a forward pass; None lets the scorer choose.
    threads
        Threads of one worker on processors.
    keep_maps
        Which maps stay: "none", "all", or "worst": each method's four worst samples under each metric.
    """

    model: str
    data: str
    methods: tuple[Choice, ...]
    metrics: tuple[Choice, ...]
    target: str = ""
    seed: int = 0
    precision: PlanPrecision = "fp32"
    device: str = "cpu"
    samples: int | None = None
    chunk: int = 8
    batch_size: int | None = None
    threads: int = 1
    keep_maps: Keep = "worst"

    def __post_init__(self) -> None:
        for kind in ("method", "metric"):
            chosen: Sequence[Choice] = getattr(self, f"{kind}s")
            if not chosen:
                raise BadInput("Asked for a benchmark", f"No {kind} is named", f"Name at least one {kind}")
            object.__setattr__(self, f"{kind}s", _labelled(chosen, set(BASELINES)))

    @classmethod
    def make(cls, **given: Any) -> Plan:
        """Build a plan from keywords or the tables of a TOML file.

        Raises
        ------
        UnknownName
            For an unknown key, with the nearest ones.
        BadInput
            For a missing or wrong value.
        """
        known = {f.name: f for f in fields(cls)}
        for key in given:
            if key not in known:
                raise UnknownName("key of a plan", key, known)
        for key in ("model", "data", "methods", "metrics"):
            if not given.get(key):
                raise BadInput("Asked for a benchmark", f"The plan has no {key}", f"Say which {key}")
        for kind in ("method", "metric"):
            several = given[f"{kind}s"]
            listed = several.split(",") if isinstance(several, str) else several
            listed = listed if isinstance(listed, list | tuple) else [listed]
            given[f"{kind}s"] = tuple(Choice.of(one, kind) for one in listed if one)
        _check(given)
        if "target" in given:
            given["target"] = str(given["target"] if given["target"] is not None else "")
        return cls(**given)

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read a plan from a TOML file.

        Raises
        ------
        UnreadableInput
            For a file that is missing or no TOML.
        UnknownName, BadInput
            As `make` does.
        """
        return cls.make(**read_toml(path))

    def to_json(self) -> Json:
        """Return the plan as plain JSON; what is None is left out."""
        plain = {k: v for k, v in asdict(self).items() if v is not None}
        plain["methods"] = [c.to_json() for c in self.methods]
        plain["metrics"] = [c.to_json() for c in self.metrics]
        return plain

    def to_toml(self) -> str:
        """Return the plan as TOML, which `read` reads back."""
        lines = []
        for key, value in self.to_json().items():
            if key in ("methods", "metrics"):
                lines += [f"{key} = [", *(f"  {_toml(one)}," for one in value), "]"]
            else:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    @property
    def sha256(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the plan."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def difference(self, other: Plan) -> str:
        """Return how another plan differs, in words; "" for not at all."""
        here, there = self.to_json(), other.to_json()
        return "; ".join(
            f"{key} was {_toml(here.get(key, 'not given'))} and is {_toml(there.get(key, 'not given'))}"
            for key in {**here, **there}
            if here.get(key) != there.get(key)
        )


def read_toml(path: str | Path) -> Json:
    """Return the keys of a TOML file.

    Raises
    ------
    UnreadableInput
        For a file that is missing or no TOML.
    """
    path, asked = Path(path), f"Asked to read the plan {path}"
    if not path.is_file():
        raise UnreadableInput(asked, "There is no such file", "Check the path")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UnreadableInput(asked, f"It is no TOML: {error}", "Correct it") from error


def _check(given: Json) -> None:
    """Check the values of a plan's plain keys."""
    precision = given.get("precision", "fp32")
    if precision not in get_args(PlanPrecision):
        raise BadInput(
            f"Asked for a benchmark in the precision {precision!r}",
            "Workers must not choose for themselves, or numbers would depend on who made them",
            f"Choose one of {', '.join(get_args(PlanPrecision))}",
        )
    if (keep := given.get("keep_maps", "none")) not in get_args(Keep):
        raise UnknownName("choice of maps to keep", str(keep), get_args(Keep))
    for key in ("model", "data", "device"):
        value = given.get(key, "")
        if not isinstance(value, str) or not value.isprintable():
            raise BadInput(f"Asked for a benchmark with {key}", f"Found {value!r}", "Give a plain text")
    for key, least in (("seed", 0), ("samples", 1), ("chunk", 1), ("batch_size", 1), ("threads", 1)):
        value = given.get(key)
        if value is not None and (type(value) is not int or value < least):
            raise BadInput(
                f"Asked for a benchmark with {key}",
                f"Found {value!r}",
                f"Give a whole number of at least {least}",
            )


def _labelled(chosen: Sequence[Choice], taken: set[str]) -> tuple[Choice, ...]:
    """Return the choices, each with a label of its own."""
    named: list[Choice] = []
    for choice in chosen:
        wanted, count = choice.label or choice.name, 2
        label = wanted
        while label in taken:
            label, count = f"{wanted} ({count})", count + 1
        taken.add(label)
        named.append(Choice(choice.name, choice.parameters, label))
    return tuple(named)


def _made(registry: Registry[T], choice: Choice) -> T:
    cls = registry[choice.name]
    known = [f.name for f in fields(cast(Any, cls))]
    for key in choice.parameters:
        if key not in known:
            raise UnknownName(f"parameter of {choice.name}", key, known)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in choice.parameters.items()}
    try:
        return cls(**given)
    except TypeError as error:
        raise BadInput(
            f"Asked for {choice.name}", f"Its parameters do not fit: {error}", "Correct them"
        ) from error


def _value(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.casefold(), text)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    # Strings, numbers and booleans are written alike, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
