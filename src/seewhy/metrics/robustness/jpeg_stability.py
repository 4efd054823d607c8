"""JPEG stability: whether the map survives compression that nobody sees.

The input is stored as a JPEG of ever lower quality, read back and explained again. At quality 90 and 75 the
pictures look the same, so a map that means something should, too; at 50 the blocks begin to show. Read it
beside a metric of faithfulness: the random and the centre baseline score 1.

Formula
    mean over qualities q of Spearman's rank correlation of map(x) and map(JPEG_q(x)), equal values at their
    mean rank; q = 90, 75, 50 by default, in Pillow's scale with its usual subsampling of colours.
Needs
    the method that made the map (rebuilt from what the attribution remembers); photos of one or three
    channels and the model's preprocessing.
Cost
    a map for each quality.
Paper
    Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju: Rethinking stability for
    attribution-based explanations, 2022, https://arxiv.org/abs/2203.06877
Departures
    The paper perturbs by noise and compares ratios of changes; here the change is the codec's, and maps are
    compared by their ranks. Compressed is what the model sees, after resizing and cropping, rounded to 8
    bits; frames of a clip one by one. A map that has become constant has nothing in common with any: 0. One
    that is constant or not finite to begin with is undefined.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import averaged, likeness, maker
from seewhy.question import Question
from seewhy.types import Batch, Maps, Size


@METRICS.register
@dataclass(frozen=True)
class JPEGStability(Metric):
    """Rank correlation of the map and those of compressed copies; higher is better.

    Parameters
    ----------
    qualities
        Of the JPEGs, 1 to 95.
    """

    name: ClassVar[str] = "jpeg_stability"
    title: ClassVar[str] = "JPEG stability"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "Rethinking stability for attribution-based explanations",
        "Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik, Lakkaraju",
        2022,
        "https://arxiv.org/abs/2203.06877",
    )

    qualities: tuple[int, ...] = (90, 75, 50)

    def __post_init__(self) -> None:
        require(
            len(self.qualities) > 0 and all(1 <= q <= 95 for q in self.qualities),
            "Asked for JPEGs of some quality",
            self.qualities,
            "Give at least one, each from 1 to 95",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known, found = maker(question, "JPEG stability"), usable(question, maps), []
        for i, quality in enumerate(self.qualities):
            question.execution.step(i, len(self.qualities), "JPEG stability")
            found.append(likeness(known.maps, again(question.model, compressed(question, quality))))
        question.execution.step(len(self.qualities), len(self.qualities), "JPEG stability")
        return averaged(known, found, {})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)


def compressed(question: Question, quality: int) -> Batch:
    """Return the `(n, c, *size)` inputs as a model sees them that were stored as JPEGs.

    Raises
    ------
    DoesNotFit
        When there is no preprocessing that leads to and from photos of one or three channels.
    """
    x, look = question.x, question.model.preprocess
    if look is None or len(look.mean) != x.shape[1]:
        raise DoesNotFit(
            "Asked to store the inputs as JPEGs",
            f"{question.model.name} has no preprocessing for {x.shape[1]} channels",
            "Give Model(module, preprocess=Preprocessing(...))",
        )
    shape = (-1, *[1] * (x.ndim - 2))
    mean, std = torch.tensor(look.mean).reshape(shape), torch.tensor(look.std).reshape(shape)
    stored = [(_stored(look.display(one), quality).float() * look.scale - mean) / std for one in x]
    return torch.stack(stored).to(x)


def _stored(pixels: Tensor, quality: int) -> Tensor:
    """Return `(c, *size)` uint8 pixels, or those of each frame, read back from a JPEG."""
    if pixels.ndim == 4:
        return torch.stack([_stored(frame, quality) for frame in pixels.unbind(1)], 1)
    picture = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if len(pixels) == 1 else picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        array = np.array(read)
    return torch.from_numpy(array.reshape(picture.shape)).permute(2, 0, 1)
