"""What relevance and activation maximisation have collected: settings, tables, profiles; kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from seewhy.concepts.references import Pooling, Profile, References, pooled, rated
from seewhy.concepts.tracing import Traced
from seewhy.errors import BadInput
from seewhy.files import write_atomically
from seewhy.methods.relevance.lrp import LRP
from seewhy.types import Json

Kind: TypeAlias = Literal["relevance", "activation"]
KINDS: tuple[Kind, ...] = ("relevance", "activation")
NO_CLASS, UNREAD = -1, -2
"""Target of an input whose score is not that of one class, and of one that could not be read."""
STATE, NAMES = "references.safetensors", "photos.json"


@dataclass(frozen=True)
class Collecting:
    """What to collect.

    Parameters
    ----------
    layers
        At least one layer with channels.
    count
        Inputs kept a channel, at least 1.
    per_class
        Inputs kept a channel and class, by relevance; 0 for none. Memory grows with the classes met.
    pooling
        From cells to a value: their "sum" or "max".
    normalised
        Whether values are parts of the input's whole.
    rules
        How relevance is propagated.
    """

    layers: tuple[str, ...]
    count: int = 8
    per_class: int = 0
    pooling: Pooling = "sum"
    normalised: bool = True
    rules: LRP = field(default_factory=LRP)

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise BadInput("Asked for reference samples", f"Found the layers {self.layers}", "Name each once")
        if self.count < 1 or self.per_class < 0:
            found = f"Found {self.count} a channel, {self.per_class} a class"
            raise BadInput("Asked for reference samples", found, "Keep at least 1 a channel")
        if self.pooling not in ("sum", "max"):
            raise BadInput("Asked how to pool cells", f"Found {self.pooling!r}", "Choose sum or max")

    def to_json(self) -> Json:
        """Return the settings as plain JSON."""
        own = {k: getattr(self, k) for k in ("count", "per_class", "pooling", "normalised")}
        return {"layers": list(self.layers), **own, "rules": self.rules.parameters()}


@dataclass(frozen=True, eq=False)
class Collected:
    """What was collected so far.

    Parameters
    ----------
    settings
        What was asked.
    names
        Of all inputs, collected or not.
    about
        Model, weights, preprocessing, target and inputs, as plain JSON.
    targets
        `(len(names),)` int64: the class whose score was explained; `NO_CLASS` and `UNREAD` as above.
    done
        Inputs that have been looked at: the first `done` of them.
    tables
        References by (kind, layer).
    by_class
        References by relevance, by (class, layer).
    profiles
        Mean part in the relevance by (class, or `NO_CLASS` for all inputs together; layer).
    failures
        Why inputs could not be read, by index.
    """

    settings: Collecting
    names: tuple[str, ...]
    about: Json
    targets: Tensor
    done: int = 0
    tables: dict[tuple[Kind, str], References] = field(default_factory=dict)
    by_class: dict[tuple[int, str], References] = field(default_factory=dict)
    profiles: dict[tuple[int, str], Profile] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether every input has been looked at."""
        return self.done == len(self.names)

    def classes(self) -> list[int]:
        """Return the classes that were explained, in order of index."""
        return sorted({c for c, _ in self.profiles if c != NO_CLASS})

    def leading(self, layer: str, count: int, of: int = NO_CLASS) -> list[int]:
        """Return the channels with the largest mean relevance, over all inputs or those of one class."""
        means = self.profiles[of, layer].means
        return means.argsort(dim=0, descending=True, stable=True)[:count].tolist()

    def to_rows(self) -> list[Json]:
        """Return every reference sample of every channel as plain dictionaries, for tables and parquet.

        `share` and its `margin` are the channel's over all inputs (see `Profile`), `target` is the explained
        class, None where the score was no class's, `cell` the flat index of the channel's strongest cell.
        """
        rows = []
        for (kind, layer), table in self.tables.items():
            profile = self.profiles[NO_CLASS, layer]
            shares, margins = profile.means.tolist(), profile.margins.tolist()
            for channel in range(table.values.shape[1]):
                for rank, (value, i, cell) in enumerate(table.of(channel), 1):
                    target = int(self.targets[i])
                    rows.append(
                        {
                            "layer": layer,
                            "channel": channel,
                            "share": shares[channel],
                            "margin": margins[channel],
                            "kind": kind,
                            "rank": rank,
                            "photo": self.names[i],
                            "value": value,
                            "cell": cell,
                            "target": target if target >= 0 else None,
                        }
                    )
        return rows

    def with_batch(self, seen: Traced, inputs: Tensor, classes: Tensor) -> Collected:
        """Return what it is with a followed batch, whose inputs have these indices and classes.

        A new object, so that a stop in the middle leaves none half done; `targets` is shared, whose entries
        are written the same again.
        """
        tables, by_class, profiles = dict(self.tables), dict(self.by_class), dict(self.profiles)
        relevance = seen.trace.reach([seen.trace.layers[name] for name in seen.places])
        setting, met = self.settings, sorted({c for c in classes.tolist() if c >= 0})
        for (name, place), r in zip(seen.places.items(), relevance, strict=True):
            for kind, t in zip(KINDS, (r, seen.trace.layers[name]), strict=True):
                rows = rated(place.cells(t), inputs, setting.pooling, normalised=setting.normalised)
                best = tables.get((kind, name)) or References.empty(setting.count, place.channels)
                tables[kind, name] = best.merged(rows)
                for c in met if kind == "relevance" and setting.per_class else ():
                    own = by_class.get((c, name)) or References.empty(setting.per_class, place.channels)
                    by_class[c, name] = own.merged(rows.take(classes == c))
            shares = pooled(place.cells(r).float().flatten(2).cpu(), "sum", normalised=True)
            for c in (NO_CLASS, *met):
                known = profiles.get((c, name)) or Profile.empty(place.channels)
                profiles[c, name] = known.with_values(shares if c == NO_CLASS else shares[classes == c])
        self.targets[inputs] = classes
        return replace(self, tables=tables, by_class=by_class, profiles=profiles)


def write_collected(folder: str | Path, collected: Collected) -> Path:
    """Write what was collected into a folder, over an earlier state of it; whole or not at all."""
    folder = Path(folder)
    names = json.dumps(collected.names, indent=0).encode()
    if not (folder / NAMES).is_file() or (folder / NAMES).read_bytes() != names:
        write_atomically(folder / NAMES, names)
    tensors = {"targets": collected.targets}
    counts: dict[str, int] = {}
    groups = (("table", collected.tables), ("class", collected.by_class))
    for group, tables in groups:
        for (of, layer), table in tables.items():
            for part in ("values", "inputs", "cells"):
                tensors[f"{group}/{of}/{part}/{layer}"] = getattr(table, part)
    for (of, layer), profile in collected.profiles.items():
        counts[f"{of}/{layer}"] = profile.count
        tensors[f"profile/{of}/sums/{layer}"] = profile.sums
        tensors[f"profile/{of}/squares/{layer}"] = profile.squares
    notes = {
        "about": collected.about,
        "done": collected.done,
        "counts": counts,
        "failures": collected.failures,
    }
    content = save({k: t.contiguous() for k, t in tensors.items()}, {"seewhy": json.dumps(notes)})
    write_atomically(folder / STATE, content)
    return folder / STATE


def read_collected(folder: str | Path, about: Json | None = None) -> Collected | None:
    """Read what `write_collected` wrote; None where there is nothing yet.

    Parameters
    ----------
    folder
        Of the run.
    about
        What the run must have been about.

    Raises
    ------
    BadInput
        When it was about something else, or the files are damaged.
    """
    folder = Path(folder)
    asked = f"Asked to go on in {folder}"
    if not (folder / STATE).is_file():
        return None
    try:
        names = tuple(json.loads((folder / NAMES).read_bytes()))
        with safe_open(folder / STATE, "pt") as file:
            notes = json.loads(file.metadata()["seewhy"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadInput(asked, f"Its files cannot be read: {error}", "Delete it, or choose another") from error
    if about is not None and about != notes["about"]:
        other = ", ".join(sorted(k for k in about if about[k] != notes["about"].get(k)))
        raise BadInput(
            asked, f"It holds a run with other {other}", "Choose another folder, or delete that one"
        )
    return _put_together(names, notes, tensors)


def _put_together(names: tuple[str, ...], notes: Json, tensors: Mapping[str, Tensor]) -> Collected:
    own = dict(notes["about"]["settings"])
    rules = LRP(**own.pop("rules"))
    settings = Collecting(**{**own, "layers": tuple(own["layers"]), "rules": rules})
    tables: dict[tuple[Kind, str], References] = {}
    by_class: dict[tuple[int, str], References] = {}
    profiles: dict[tuple[int, str], Profile] = {}
    for key in tensors:
        group, _, rest = key.partition("/")
        of, _, rest = rest.partition("/")
        part, _, layer = rest.partition("/")
        if part == "values":
            table = References(*(tensors[f"{group}/{of}/{p}/{layer}"] for p in ("values", "inputs", "cells")))
            if group == "class":
                by_class[int(of), layer] = table
            else:
                tables[next(kind for kind in KINDS if kind == of), layer] = table
        elif part == "sums":
            squares = tensors[f"{group}/{of}/squares/{layer}"]
            profiles[int(of), layer] = Profile(notes["counts"][f"{of}/{layer}"], tensors[key], squares)
    failures = {int(i): why for i, why in notes["failures"].items()}
    targets = tensors["targets"]
    return Collected(
        settings, names, notes["about"], targets, notes["done"], tables, by_class, profiles, failures
    )
