"""What a dissection found: a row for each channel; it saves, counts its detectors and shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seewhy.concepts.record import save as save_record
from seewhy.concepts.references import References
from seewhy.models.layers import grid_of
from seewhy.resize import resize
from seewhy.show.gallery import Chapter, Strip, Tile, focused, gallery
from seewhy.show.words import number
from seewhy.types import Json

if TYPE_CHECKING:
    from PIL.Image import Image

    from seewhy.inputs.datasets import Dataset
    from seewhy.models.model import Model

READING = (
    "A channel is on where its activation is among its strongest in the whole data set. IoU is what these "
    "places and the concept's have in common, as a part of both, over all photos, with its 95 % interval "
    "over them; chance is the best that any concept reaches when masks change photos, p how often that is as "
    "good. "
    "Photos are those that activate the channel most; it is on where they are seen."
)


@dataclass(frozen=True)
class Unit:
    """One channel and the concept that it agrees with best.

    Parameters
    ----------
    layer, channel
        Which.
    concept
        Its name; the first in the alphabet where all agree equally.
    iou, low, high
        Agreement, 0 to 1, and its 95 % interval over photos.
    stable
        Share of the resamples in which this concept is still the best, 0 to 1.
    chance
        Largest agreement with any concept when masks change photos, the mean over shuffles, 0 to 1.
    p
        Share of the shuffles, the true order counted, whose largest agreement reaches `iou`.
    on
        Share of the raster, over all photos, where the channel is on.
    detector
        Whether `iou` exceeds the threshold and p is below 0.05.
    """

    layer: str
    channel: int
    concept: str
    iou: float
    low: float
    high: float
    stable: float
    chance: float
    p: float
    on: float
    detector: bool

    def words(self) -> str:
        """Return "IoU 0.21 [0.18, 0.24], chance 0.03, p = 0.025, the same name in 97 % of resamples"."""
        return (
            f"IoU {number(self.iou)} [{number(self.low)}, {number(self.high)}], "
            f"chance {number(self.chance)}, p = {number(self.p)}, "
            f"the same name in {100 * self.stable:.0f} % of resamples"
        )


@dataclass(frozen=True, eq=False)
class Dissection:
    """All channels of the layers, and what made them.

    Parameters
    ----------
    units
        Layer by layer, in order of channel.
    tables
        Layer to `(channels, concepts)` float32 IoU.
    thresholds
        Layer to `(channels,)` float32: above which a channel is on.
    examples
        Layer to the photos that activate each channel most.
    concepts
        Name to the number of photos that show it.
    photos, samples
        Of each photo: its name, and a sample of the data set that shows it.
    failures
        Why samples were left out.
    about
        JSON-serialisable: model, weights, settings, seed, version.
    """

    units: tuple[Unit, ...]
    tables: Mapping[str, Tensor]
    thresholds: Mapping[str, Tensor]
    examples: Mapping[str, References]
    concepts: Mapping[str, int]
    photos: tuple[str, ...]
    samples: tuple[int, ...]
    failures: tuple[str, ...]
    about: Json

    def __repr__(self) -> str:
        return f"Dissection({len(self.detectors())} detectors among {len(self.units)} channels)"

    def detectors(self, layer: str | None = None) -> list[Unit]:
        """Return the detectors, of one layer where named, the largest IoU first."""
        found = [u for u in self.units if u.detector and layer in (None, u.layer)]
        return sorted(found, key=lambda u: -u.iou)

    def counts(self, layer: str) -> dict[str, int]:
        """Return how many detectors of each concept a layer has, most first; none for those without."""
        return dict(Counter(u.concept for u in self.detectors(layer)).most_common())

    def summary(self, layer: str) -> str:
        """Return one sentence about a layer."""
        found = self.counts(layer)
        silent = sum(u.on == 0 for u in self.units if u.layer == layer)
        return (
            f"{sum(found.values())} of {len(self.thresholds[layer])} channels of {layer} detect "
            f"{len(found)} of {len(self.concepts)} concepts" + (f"; {silent} never on" if silent else "")
        )

    def to_rows(self) -> list[Json]:
        """Return the units as plain dictionaries, for tables and parquet."""
        return [asdict(u) for u in self.units]

    def to_json(self) -> Json:
        """Return everything but tables, thresholds and pictures as plain JSON."""
        return {
            **self.about,
            "photos": len(self.photos),
            "concepts": dict(self.concepts),
            "detectors": {layer: self.counts(layer) for layer in self.tables},
            "failures": list(self.failures),
            "units": self.to_rows(),
        }

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` (tables and thresholds) and `path.json` (all else); return both paths."""
        tensors = {f"iou/{layer}": table for layer, table in self.tables.items()}
        tensors |= {f"thresholds/{layer}": values for layer, values in self.thresholds.items()}
        return save_record(path, "dissection", tensors, self.to_json())

    def chapters(
        self, model: Model, dataset: Dataset, units: Sequence[Unit], count: int = 8, cell: int = 128
    ) -> list[Chapter]:
        """Return some channels with the photos that activate them most, at most `count` each.

        Parameters
        ----------
        model, dataset
            What was dissected, on what.
        units
            Of this dissection.
        count, cell
            Photos a channel, and pixels of their longer side.
        """
        return [
            Chapter(
                f"{u.concept}: {u.layer}, channel {u.channel}",
                f"{u.words()[0].upper()}{u.words()[1:]}." + ("" if u.detector else " No detector."),
                [Strip("strongest", self._tiles(model, dataset, u, count, cell), "never on")],
            )
            for u in units
        ]

    def picture(self, model: Model, dataset: Dataset, units: Sequence[Unit], count: int = 8) -> Image:
        """Return some channels as one picture; parameters as in `chapters`."""
        said = "; ".join(self.summary(layer) for layer in self.tables)
        return gallery(
            self.chapters(model, dataset, units, count),
            title=f"What {self.about['model']} detects: {said} ({len(self.photos)} photos)",
            caption=READING,
        )

    def _tiles(self, model: Model, dataset: Dataset, unit: Unit, count: int, cell: int) -> list[Tile]:
        tiles = []
        limit = float(self.thresholds[unit.layer][unit.channel])
        for value, photo, _ in self.examples[unit.layer].of(unit.channel)[:count]:
            if value <= limit:
                break
            sample = dataset.load(self.samples[photo])
            x = model.prepare(sample.image).tensor
            with model.untouched(), torch.inference_mode():
                activation = model.answer(x, [unit.layer]).activations[unit.layer]
            grid = grid_of(model, unit.layer, tuple(x.shape[1:])).read(activation)[:, unit.channel]
            on = (resize(grid.float().cpu(), x.shape[2:])[0] > limit).float()
            assert model.preprocess is not None
            frame = model.preprocess.frame(sample.image)
            whole = ((0, x.shape[2]), (0, x.shape[3]))
            tiles.append(Tile(focused(frame, on.numpy(), whole, cell=cell), self.photos[photo]))
        return tiles
