"""What photos hold of each frequency and colour: the mean magnitudes that MACO keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seewhy.concepts.fourier import natural_scale, spectrum_of, to_independent
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.types import Size


@dataclass(frozen=True, eq=False)
class MeanSpectrum:
    """Magnitudes of independent colours.

    Parameters
    ----------
    magnitudes
        `(c, h, w // 2 + 1)` float32; the frequency 0 holds the signed mean.
    size
        `(h, w)` of the images.
    photos
        How many they were measured on; 0 for the power law.
    """

    magnitudes: Tensor
    size: Size
    photos: int


def power_law(channels: int, size: Size) -> MeanSpectrum:
    """Return magnitudes of 1 / frequency; images of mean 0 and deviation 1 in every independent colour."""
    scale = natural_scale(size, 1.0).double()
    scale[0, 0] = 0
    twice = torch.full_like(scale, 2.0)  # every wave but those of the outer columns stands for its mirror too
    twice[:, 0] = 1
    if size[1] % 2 == 0:
        twice[:, -1] = 1
    power = (twice * scale.square()).sum() / (size[0] * size[1]) ** 2
    return MeanSpectrum((scale / power.sqrt()).float().expand(channels, -1, -1).clone(), size, 0)


def measured(model: Model, photos: Sequence[str | Path], execution: Execution | None = None) -> MeanSpectrum:
    """Return the mean magnitudes of photos as the model sees them; photos that cannot be read are left out.

    Raises
    ------
    BadInput
        When none can be read.
    """
    execution, look = execution or Execution(), model.preprocess
    if look is None:
        raise BadInput(f"Asked for the spectrum of what {model.name} sees", "It has no preprocessing")
    total, count, why = torch.zeros(()), 0, ""
    for done, photo in enumerate(photos):
        try:
            x = model.prepare(photo).tensor
        except BadInput as error:
            why = why or str(error)
        else:
            pixels = look.display(x[0]).float()[None] / 255
            spectrum = spectrum_of(to_independent(pixels)[0].double())
            magnitudes = spectrum.abs()
            magnitudes[:, 0, 0] = spectrum[:, 0, 0].real
            if count and magnitudes.shape != total.shape:
                raise BadInput("Asked for a spectrum of photos", "The model keeps their sizes, which differ")
            total, count = total + magnitudes, count + 1
            size: Size = tuple(x.shape[2:])
        execution.step(done + 1, len(photos), "spectrum of photos")
    if not count:
        raise BadInput("Asked for a spectrum of photos", f"None can be read. {why}".strip(), "Give photos")
    return MeanSpectrum((total / count).float(), size, count)
