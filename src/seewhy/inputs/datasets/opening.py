"""`open_dataset`: from a spec string to a `Dataset`.

A spec is a folder of photos (`photos/`) or `family:WHERE` (`voc:VOC2007?split=test`), with options
`?key=value&key=value`. These work everywhere; every family has its own besides, see its module:

- `classes=FILE`: which class of the model each category is, where their names differ (see `classes`);
- `unknown=skip|top|refuse`: what becomes of samples whose category is no class of the model;
- `margin=15`: the evidence reaches this many pixels of the photo further (strictly nearer counts). With
  `pointing_game` at tolerance 0 this is the published pointing game, whose tolerance is one of the photo, not
  of what the model sees.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

from seewhy.errors import BadInput, UnknownName, did_you_mean, nearest
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample
from seewhy.inputs.datasets.classes import Class, Names, Unknown, class_of, read_classes
from seewhy.inputs.datasets.regions import as_mask, grown, of_mask
from seewhy.specs import Options, parse


def open_dataset(spec: str) -> Adapted:
    """Return the data set of a spec.

    Raises
    ------
    UnknownName
        For a family or option that does not exist, with suggestions.
    MissingExtra
        When a package that the family needs is not installed.
    BadInput
        For a folder, listing or photo that is missing, a damaged listing, or a data set without samples.
    """
    asked = f"Asked for the data {spec!r}"
    head, values = parse(spec, "data")
    options = Options(spec, values, "data")
    family, where = _family(head)
    classes, unknown = options.take("classes", ""), options.take("unknown", "skip")
    margin = options.take("margin", 0.0)
    if unknown not in get_args(Unknown):
        raise UnknownName("choice for unknown categories", unknown, get_args(Unknown))
    if not 0 <= margin < float("inf"):
        raise BadInput(asked, f"The margin is {margin}", "Give a number of pixels, 0 for none")
    opened = DATASETS[family].open
    keywords = list(inspect.signature(opened).parameters.values())[1:]
    own: dict[str, Any] = {
        k.name: options.take(k.name, k.default) for k in keywords if k.kind is not k.VAR_KEYWORD
    }
    if any(k.kind is k.VAR_KEYWORD for k in keywords):
        own |= options.rest()
    options.done()
    told = read_classes(Path(classes)) if classes else {}
    dataset = opened(where, **own)
    if not len(dataset):
        raise BadInput(asked, "There is no sample", f"As in {DATASETS[family].example}")
    twice = [name for name, n in Counter(map(dataset.name, range(len(dataset)))).items() if n > 1]
    if twice:
        raise BadInput(asked, f"Two samples are called {twice[0]!r}", "Correct the listing")
    return Adapted(dataset, told, cast(Unknown, unknown), margin)


def for_model(dataset: Dataset, labels: Names | None) -> Dataset:
    """Return the same samples with classes of a model as targets, less those that have none (see `classes`).

    Raises
    ------
    BadInput
        When no sample is left, or, if so asked for, when a category has no class.
    """
    told, unknown = (dataset.classes, dataset.unknown) if isinstance(dataset, Adapted) else ({}, "skip")
    categories = [dataset.category(i) for i in range(len(dataset))]
    found = {c: class_of(c, told, labels) for c in dict.fromkeys(categories) if c is not None}
    strange = [c.name for c, index in found.items() if index is None]
    if strange and (unknown == "refuse" or (unknown == "skip" and len(strange) == len(set(categories)))):
        near = nearest(strange[0], labels) if labels is not None else []
        raise BadInput(
            f"Asked for the classes of {len(found)} categories",
            f"{len(strange)} of them are no class of the model: {', '.join(sorted(strange)[:5])}",
            did_you_mean(near)
            if unknown == "refuse" and near
            else "Say which are with ?classes=FILE, or explain the model's own answer with ?unknown=top",
        )
    kept = tuple(
        i for i, c in enumerate(categories) if unknown != "skip" or c is None or found[c] is not None
    )
    return Asked(dataset, kept, tuple(None if (c := categories[i]) is None else found[c] for i in kept))


@dataclass(frozen=True)
class Adapted:
    """A data set with the options that work everywhere."""

    of: Dataset
    classes: Mapping[str, Class]
    unknown: Unknown = "skip"
    margin: float = 0.0

    @property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        return self.of.offers

    def __len__(self) -> int:
        return len(self.of)

    def name(self, i: int) -> str:
        """See `Dataset.name`."""
        return self.of.name(i)

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        return self.of.category(i)

    def load(self, i: int) -> Sample:
        """See `Dataset.load`."""
        sample = self.of.load(i)
        if sample.truth is None or not self.margin:
            return sample
        return replace(sample, truth=as_mask(grown(of_mask(sample.truth), self.margin)))


@dataclass(frozen=True)
class Asked:
    """Samples of a data set with the classes of a model as their targets.

    Parameters
    ----------
    kept
        Which samples of the data set.
    targets
        The class of each; None for the model's own answer.
    """

    of: Dataset
    kept: tuple[int, ...]
    targets: tuple[int | None, ...]

    @cached_property
    def skipped(self) -> dict[str, int]:
        """How many samples of each category are left out, by its name."""
        kept = set(self.kept)
        lost = (self.of.category(i) for i in range(len(self.of)) if i not in kept)
        return dict(sorted(Counter(c.name for c in lost if c is not None).items()))

    @cached_property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        known = frozenset[Offer](["target"] if any(t is not None for t in self.targets) else [])
        return self.of.offers - {"target"} | known

    def __len__(self) -> int:
        return len(self.kept)

    def name(self, i: int) -> str:
        """See `Dataset.name`."""
        return self.of.name(self.kept[i])

    def category(self, i: int) -> Category | None:
        """Return the category with the class of the model as its number."""
        known = self.of.category(self.kept[i])
        return None if known is None else Category(known.name, self.targets[i])

    def load(self, i: int) -> Sample:
        """See `Dataset.load`."""
        return replace(self.of.load(self.kept[i]), target=self.targets[i])


def _family(head: str) -> tuple[str, str]:
    """Return the family and what stands behind it; a folder needs none."""
    family, colon, where = head.partition(":")
    if not colon or len(family) < 2 or "/" in family or (family not in DATASETS and Path(head).is_dir()):
        return "folder", head  # also one on a drive of Windows
    if family not in DATASETS:
        raise UnknownName("kind of data set", family, DATASETS.names())
    return family, where
