"""What Visual-TCAV found: concept maps and attributions, a layer at a time; it saves, opens, draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seewhy.concepts.calibration import ConceptBank
from seewhy.concepts.record import open_record
from seewhy.concepts.record import save as save_record
from seewhy.concepts.text_picture import NEAREST, text_note
from seewhy.errors import BadInput, UnknownName
from seewhy.resize import resize
from seewhy.show.bars import Bar, bars
from seewhy.show.drawing import overlay
from seewhy.show.sheet import Panel, Row, contact_sheet
from seewhy.show.words import number
from seewhy.types import Json

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 6
"""Images in a picture of many."""
WIDE = 2.0
"""Standard errors on either side of a mean: the published interval."""
LEVEL = 0.05


@dataclass(frozen=True)
class LayerFindings:
    """One layer; n images, k classes each, q concepts.

    Parameters
    ----------
    maps
        `(n, q, *cells)` concept maps, 0 to 1.
    attributions
        `(n, k, q)`, 0 to the gain.
    again
        `(n, k, resamples, q)`: from concept and random images drawn again.
    random
        `(n, k, r)`: of random images taken as a concept.
    gains
        `(n, k)`: the class's rise over the largest of any class, 0 to 1.
    errors
        `(n, k)`: completeness error of the integration, a fraction of the rise.
    vectors, low, high, accuracy, separable
        Of the concepts: `(q, c)`, emblems `(q,)`, held-out accuracy `(q,)` and `(q,)` bool: whether that
        passes the gate and the concept's own images show more of it than random ones.
    """

    maps: Tensor
    attributions: Tensor
    again: Tensor
    random: Tensor
    gains: Tensor
    errors: Tensor
    vectors: Tensor
    low: Tensor
    high: Tensor
    accuracy: Tensor
    separable: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Json], bank: ConceptBank) -> LayerFindings:
        """Return batches as one, with the concepts that they were made with."""
        several = ("maps", "attributions", "again", "random", "gains", "errors")
        return cls(
            **{name: torch.cat([p[name] for p in parts]) for name in several},
            vectors=bank.concepts.vectors,
            low=bank.concepts.low,
            high=bank.concepts.high,
            accuracy=bank.accuracy,
            separable=bank.concepts.separable,
        )


@dataclass(frozen=True)
class GlobalRow:
    """One concept in one layer for one class, over images.

    Parameters
    ----------
    concept, layer, target, index
        Which; `target` is the class's label, `index` its number.
    attribution, low, high
        Mean over the images, 0 to 1; 95 % interval (two standard errors) over images and concept images.
    random
        Mean of random images taken as a concept.
    excess, excess_low, excess_high
        Attribution less that of a random concept; its interval also holds the spread of the random ones.
    p
        Share of random concepts, this one counted, that reach the attribution: 1 / (r + 1) at least.
    gain
        Mean relative rise of the class, the most that an attribution can be.
    accuracy
        Held-out accuracy of the concept's vector.
    separable
        Whether the concept is told from random images here; attributions are 0 otherwise.
    images
        How many.
    """

    concept: str
    layer: str
    target: str
    index: int
    attribution: float
    low: float
    high: float
    random: float
    excess: float
    excess_low: float
    excess_high: float
    p: float
    gain: float
    accuracy: float
    separable: bool
    images: int


@dataclass(frozen=True, eq=False)
class VisualTcavResult:
    """Everything, for all images, classes, layers and concepts.

    Parameters
    ----------
    concepts
        Names.
    layers
        Layer to its findings.
    classes
        `(n, k)` int64: the classes that each image is explained for.
    pixels
        `(n, c, *size)` uint8: the images as the model saw them.
    provenance
        JSON-serialisable: model, weights' hash, parameters, images with predictions, passes; for concepts
        from texts also "texts": encoder, fit of each layer, nearest photos.
    nearest
        `(concepts, m, c, *size)` uint8: the photos nearest to each text; None for concepts from examples.
    """

    concepts: tuple[str, ...]
    layers: dict[str, LayerFindings]
    classes: Tensor
    pixels: Tensor
    provenance: Json
    nearest: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return (
            f"VisualTcavResult({len(self)} images, {len(self.concepts)} concepts, layers {list(self.layers)})"
        )

    # -- numbers -------------------------------------------------------------------------------------------

    def label(self, index: int) -> str:
        """Return the name of a class."""
        return str(self.provenance["labels"].get(str(index), f"class {index}"))

    def global_rows(self) -> list[GlobalRow]:
        """Return a row for each layer, class and concept, over the images explained for the class."""
        rows = []
        for layer, f in self.layers.items():
            for index in self.classes.unique().tolist():
                chosen = self.classes == index
                values, again, random = f.attributions[chosen], f.again[chosen], f.random[chosen].mean(0)
                for q, name in enumerate(self.concepts):
                    rows.append(self._global(layer, index, q, name, values, again, random, chosen))
        return rows

    def _global(
        self,
        layer: str,
        index: int,
        q: int,
        name: str,
        values: Tensor,
        again: Tensor,
        random: Tensor,
        chosen: Tensor,
    ) -> GlobalRow:
        f, v = self.layers[layer], values[:, q].double()
        mean, n = float(v.mean()), len(v)
        error = float(v.var(correction=0)) / n
        if again.shape[1] > 1:
            error += float(again[:, :, q].double().mean(0).var())
        chance = random.double()
        excess = mean - float(chance.mean())
        spread = (error + float(chance.var()) * (1 + 1 / len(chance))) ** 0.5
        return GlobalRow(
            name,
            layer,
            self.label(index),
            index,
            mean,
            max(0.0, mean - WIDE * error**0.5),
            mean + WIDE * error**0.5,
            float(chance.mean()),
            excess,
            excess - WIDE * spread,
            excess + WIDE * spread,
            float((1 + (chance >= mean).sum()) / (1 + len(chance))),
            float(f.gains[chosen].mean()),
            float(f.accuracy[q]),
            bool(f.separable[q]),
            n,
        )

    def local_rows(self) -> list[Json]:
        """Return a row for each layer, image, class and concept: attribution, interval, gain, p."""
        rows = []
        for layer, f in self.layers.items():
            low, high = self.intervals(layer)
            reach = (f.random[..., None] >= f.attributions[:, :, None]).sum(2)
            p = (1 + reach) / (1 + f.random.shape[2])
            for i, fact in enumerate(self.provenance["images"]):
                for k, index in enumerate(self.classes[i].tolist()):
                    for q, name in enumerate(self.concepts):
                        rows.append(
                            {
                                "image": fact["path"],
                                "layer": layer,
                                "target": self.label(index),
                                "index": index,
                                "concept": name,
                                "attribution": float(f.attributions[i, k, q]),
                                "low": float(low[i, k, q]),
                                "high": float(high[i, k, q]),
                                "random": float(f.random[i, k].mean()),
                                "p": float(p[i, k, q]),
                                "gain": float(f.gains[i, k]),
                                "separable": bool(f.separable[q]),
                                "completeness_error": float(f.errors[i, k]),
                            }
                        )
        return rows

    def intervals(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return the ends of local intervals, `(n, k, q)`: two standard deviations over the draws."""
        f = self.layers[layer]
        if f.again.shape[2] < 2:
            return f.attributions, f.attributions
        spread = WIDE * f.again.double().std(2).float()
        return (f.attributions - spread).clamp_min(0), f.attributions + spread

    # -- files ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` (maps, attributions, pixels) and `path.json`; return both paths."""
        tensors = {
            f"{layer}/{f.name}": getattr(found, f.name)
            for layer, found in self.layers.items()
            for f in fields(found)
        }
        tensors |= {"classes": self.classes, "pixels": self.pixels}
        tensors |= {} if self.nearest is None else {NEAREST: self.nearest}
        notes = {
            "concept_names": list(self.concepts),
            "global": [asdict(r) for r in self.global_rows()],
            **self.provenance,
        }
        return save_record(path, "visual_tcav", tensors, notes)

    @classmethod
    def open(cls, path: str | Path) -> VisualTcavResult:
        """Read what `save` wrote, bit for bit.

        Raises
        ------
        UnreadableInput
            For missing or damaged files.
        """
        tensors, notes = open_record(path, "visual_tcav")
        names = notes.pop("concept_names")
        notes.pop("global")
        layers = {
            layer: LayerFindings(**{f.name: tensors[f"{layer}/{f.name}"] for f in fields(LayerFindings)})
            for layer in notes["parameters"]["layers"]
        }
        notes = {"kind": "visual_tcav", **notes}
        pixels, nearest = tensors["pixels"], tensors.get(NEAREST)
        return cls(tuple(names), layers, tensors["classes"], pixels, notes, nearest)

    # -- pictures ------------------------------------------------------------------------------------------

    def concept_map(self, image: int, concept: str, layer: str | None = None) -> Tensor:
        """Return one `(h, w)` concept map at the image's size, 0 to 1.

        Raises
        ------
        BadInput
            For an image, concept or layer that is not there.
        """
        f = self.layers[self._layer(layer)]
        if concept not in self.concepts:
            raise UnknownName("concept", concept, self.concepts)
        if not 0 <= image < len(self):
            raise BadInput(f"Asked for image {image}", f"There are {len(self)}", "Images count from 0")
        q = self.concepts.index(concept)
        return resize(f.maps[image, q][None], self.pixels.shape[2:])[0]

    def overlay(self, image: int, concept: str, layer: str | None = None) -> Image:
        """Return a picture of one concept map over its image."""
        values = self.concept_map(image, concept, layer).numpy()
        return overlay(self._photo(image), values, False, unit=f"{concept}: 1 as in its own images")

    def maps_picture(self, layer: str | None = None, images: Sequence[int] | None = None) -> Image:
        """Return images with a map for each concept, the attribution with its interval below."""
        name = self._layer(layer)
        f = self.layers[name]
        low, high = self.intervals(name)
        chosen = list(range(min(len(self), SHOWN))) if images is None else list(images)
        rows = []
        for i in chosen:
            target = self.label(int(self.classes[i, 0]))
            panels: list[Panel | None] = []
            for q, concept in enumerate(self.concepts):
                a, lo, hi = (float(t[i, 0, q]) for t in (f.attributions, low, high))
                note = f"to {target}: {number(a)} [{number(lo)}, {number(hi)}]"
                shown = Panel(self.concept_map(i, concept, name).numpy(), False, note)
                panels.append(shown if bool(f.separable[q]) else None)
            gain = float(f.gains[i, 0])
            rows.append(Row(f"{self._short(i)}; {target}, gain {number(gain)}", self._photo(i), panels))
        return contact_sheet(
            rows,
            [c if bool(f.separable[q]) else f"{c}: not separable" for q, c in enumerate(self.concepts)],
            share="all",
            title=f"Concepts at {name} of {self.provenance['model']}",
            caption="Maps: 0 as in random images, 1 as in the concept's own. Below: attribution to the "
            "class, 95 % interval over concept images drawn again." + text_note(self.provenance, name),
        )

    def bars_picture(self) -> Image:
        """Return bars of the global attributions with intervals, those of random concepts as dots."""
        groups: dict[tuple[str, str], list[Bar]] = {}
        for r in self.global_rows():
            f = self.layers[r.layer]
            dots = f.random[self.classes == r.index].mean(0).tolist()
            told = f"p = {number(r.p)}; accuracy {r.accuracy:.2f}"
            shown = (
                Bar(r.concept, r.attribution, r.low, r.high, told, dots, faint=r.p > LEVEL)
                if r.separable
                else Bar(r.concept, note=f"not separable here; accuracy {r.accuracy:.2f}", faint=True)
            )
            groups.setdefault((f"{r.target}, {r.images} images", r.layer), []).append(shown)
        return bars(
            [(f"{target} at {layer}", group) for (target, layer), group in groups.items()],
            title=f"Visual-TCAV of {self.provenance['model']}",
            across="attribution of the concept to the class (share of the largest rise in logit)",
            caption="Whiskers: 95 % intervals over images and concept images. Dots: random images taken as a "
            "concept. p: share of random concepts, this one counted, that reach the attribution; pale above "
            "0.05. Attributions of concepts that overlap count twice." + text_note(self.provenance),
        )

    def _photo(self, image: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        photo: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.moveaxis(
            self.pixels[image].numpy(), 0, -1
        )
        return photo

    def _short(self, image: int) -> str:
        return str(self.provenance["images"][image]["path"]).replace("\\", "/").rpartition("/")[2]

    def _layer(self, layer: str | None) -> str:
        if layer is None:
            return next(iter(self.layers))
        if layer not in self.layers:
            raise UnknownName("layer", layer, self.layers)
        return layer
