"""Photos in which it is known where each concept is, read once: their features kept, their masks packed.

A data set names one concept a sample; samples that show the same photo, pixel for pixel, are one photo here.
A mask takes one bit a cell of the raster on which it will be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.batching import default_batch_size
from seewhy.concepts.store import Features, digest_of_pixels
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.inputs.datasets import Dataset
from seewhy.models.grids import Grid
from seewhy.models.model import Model
from seewhy.types import Size

UNNAMED = "evidence"
"""What the masks of a data set without categories show."""


@dataclass(eq=False)
class Annotated:
    """Photos, and where concepts are in them.

    Parameters
    ----------
    raster
        `(rows, columns)` of the masks.
    names, samples
        Of each photo: the name and number of the first sample that shows it.
    digests
        Of each photo's pixels: its row in a feature store.
    concepts
        Their names, in alphabetical order.
    failures
        Why samples were left out.
    """

    raster: Size = ()
    names: list[str] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    concepts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _masks: list[dict[str, NDArray[np.uint8]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def masks(self, i: int) -> tuple[list[int], Tensor]:
        """Return the concepts in photo `i`, and `(their number, rows * columns)` bool of where they are."""
        found, size = self._masks[i], self.raster[0] * self.raster[1]
        here = [k for k, name in enumerate(self.concepts) if name in found]
        packed = [np.unpackbits(found[self.concepts[k]], count=size) for k in here]
        return here, torch.from_numpy(np.stack(packed) if packed else np.zeros((0, size))).bool()

    def add(self, i: int, name: str, digest: str, concept: str, mask: Tensor) -> None:
        """Take in a sample: its number, name, the digest of its pixels, and its mask at the raster."""
        packed = np.packbits(mask.flatten().numpy())
        place = self._places.setdefault(digest, len(self.names))
        if place == len(self.names):
            self.names.append(name)
            self.samples.append(i)
            self.digests.append(digest)
            self._masks.append({})
        known = self._masks[place].get(concept)
        self._masks[place][concept] = packed if known is None else packed | known

    _places: dict[str, int] = field(default_factory=dict)


def raster_of(size: Size, rows: int) -> Size:
    """Return the raster of inputs of `(height, width)`: as many rows, at most their own, in proportion."""
    rows = min(rows, size[0])
    return rows, max(1, round(rows * size[1] / size[0]))


def annotate(
    model: Model,
    dataset: Dataset,
    layers: Mapping[str, tuple[Features, Grid]],
    rows: int,
    execution: Execution,
) -> Annotated:
    """Read a data set once, and keep what layers put out for photos that are not yet kept.

    Parameters
    ----------
    model
        Inside `model.untouched()`.
    dataset
        With masks of its concepts.
    layers
        Where to keep the features of each layer, and its grid.
    rows
        Of the raster.
    execution
        Batch size, progress, cancelling.

    Raises
    ------
    BadInput
        For photos that are prepared to different sizes, or when no sample can be used.
    """
    found, shape = Annotated(), None
    waiting: dict[str, Tensor] = {}

    def pass_() -> None:
        x = torch.cat(list(waiting.values())).to(model.device, model.dtype)
        activations = model.answer(x, list(layers)).activations
        for layer, (features, grid) in layers.items():
            features.add(list(waiting), grid.read(activations[layer]))
        waiting.clear()

    for i in range(len(dataset)):
        try:
            sample = dataset.load(i)
            if sample.truth is None:
                raise BadInput(f"Asked where the concept is in {dataset.name(i)}", "It has no mask")
            x = model.prepare(sample.image).tensor
        except BadInput as error:
            found.failures.append(str(error))
            continue
        assert model.preprocess is not None
        shape = shape or tuple(x.shape)
        if tuple(x.shape) != shape:
            raise BadInput(
                "Asked to compare a layer with masks",
                f"Photos are prepared to {tuple(x.shape[2:])} and {shape[2:]} pixels",
                "Prepare all at one size",
            )
        found.raster = found.raster or raster_of(tuple(x.shape[2:]), rows)
        seen = model.preprocess.mask(sample.truth)[None, None].float()
        mask = interpolate(seen, found.raster, mode="nearest-exact")[0, 0] > 0
        digest, category = digest_of_pixels(sample.image), dataset.category(i)
        concept = UNNAMED if category is None else category.name
        found.add(i, dataset.name(i).removesuffix(f" ({concept})"), digest, concept, mask)
        if not all(digest in features for features, _ in layers.values()):
            waiting[digest] = x
        if len(waiting) >= (execution.batch_size or default_batch_size(x.to(model.device))):
            pass_()
        execution.step(i + 1, len(dataset), "photos and masks")
    if waiting:
        pass_()
    if not found.names:
        why = found.failures[0] if found.failures else "There is none"
        raise BadInput("Asked for photos with masks", f"None can be used. {why}", "Check the data")
    found.concepts = sorted({name for masks in found._masks for name in masks})
    return found


def parts(annotated: Annotated, features: Features, size: int) -> Iterator[tuple[range, Tensor]]:
    """Yield ranges of photos and their `(n, channels, rows, columns)` features."""
    for start in range(0, len(annotated), size):
        chosen: Sequence[str] = annotated.digests[start : start + size]
        yield range(start, start + len(chosen)), features.get(chosen)
