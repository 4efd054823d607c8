"""MACO: feature visualisation that moves phases only; the magnitudes of all frequencies stay those of photos.

Where magnitudes are free, an optimiser piles up energy in a few frequencies, and large modern networks give
images that no longer look like anything. A photo's phases carry what it shows, its magnitudes hardly more
than that it is a photo. With magnitudes held at photos' mean, only what is shown can change. Where the score
never pushed, the image is noise: it is drawn transparent there.

Formula
    maximise the mean score of crops of x = sigmoid(M irfft2(r exp(i phi))) over the phases phi, with NAdam;
    r: mean magnitudes of photos in independent colours, M: the colours' correlation in photos. Opacity: sum
    over all steps of |d score / d x|, mean over the channels, divided by its 80th percentile, at most 1.
Needs
    gradients; a preprocessing for single images; best some dozens of photos.
Cost
    `steps` x `views` forward and backward passes an image; one pass over the photos' pixels.
Paper
    Fel et al.: Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization,
    2023, https://arxiv.org/abs/2306.06805.
Departures
    the magnitudes are those of the photos given, as the model sees them, behind a logit (so that the sigmoid
    gives photos' contrast back); without photos they are 1 / frequency, of deviation 1. Phases are as free as
    a real image allows, so that magnitudes are held exactly: they are not standardised in every step, and
    neither is the image, whose mean and deviation follow from the magnitudes. A smaller step and fewer crops
    than published (8 for 32): a processor must bear it. Crops have sides of at least a 20th.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seewhy.concepts.ascent import Ascent, check_settings
from seewhy.concepts.canvas import PhaseCanvas
from seewhy.concepts.photo_spectrum import MeanSpectrum, power_law
from seewhy.concepts.views import Crops
from seewhy.concepts.visualised import Plan, Visualised, visualise
from seewhy.execution import Execution
from seewhy.methods.base import require
from seewhy.models.model import Model
from seewhy.types import Size


@dataclass(frozen=True)
class MACO:
    """Images optimised by their phases.

    Parameters
    ----------
    images
        Of each target, at least 1.
    steps
        Of the optimiser, at least 1.
    views
        Crops of each image a step, at least 1.
    learning_rate
        Of NAdam, in radians, above 0.
    first_crop, last_crop
        Mean side of the crops at the first and last step, as a part of the image's; above 0, at most 1.
    noise
        Factor of the noise that crops get; 0 or more.
    """

    images: int = 1
    steps: int = 256
    views: int = 8
    learning_rate: float = 0.1
    first_crop: float = 0.5
    last_crop: float = 0.05
    noise: float = 1.0

    def __post_init__(self) -> None:
        asked = "Asked to visualise features by MACO"
        check_settings(asked, self, ("noise",))
        for name in ("first_crop", "last_crop"):
            require(0 < getattr(self, name) <= 1, asked, f"{name} {getattr(self, name)}", "Give 0 to 1")

    def __call__(
        self,
        model: Model | nn.Module,
        targets: Any,
        photos: Sequence[str | Path] | None = None,
        execution: Execution | None = None,
    ) -> Visualised:
        """Visualise targets; as `FeatureVisualisation.__call__`, and the photos also give the magnitudes."""
        views = Crops(self.first_crop, self.last_crop, 0.08 * self.noise, 0.04 * self.noise)

        def optimiser(phases: torch.Tensor) -> torch.optim.Optimizer:
            return torch.optim.NAdam([phases], lr=self.learning_rate)

        def canvas(channels: int, size: Size, spectrum: MeanSpectrum | None) -> PhaseCanvas:
            held = spectrum or power_law(channels, size)
            return PhaseCanvas(held.magnitudes, held.size)

        how = Ascent(optimiser, views, self.images, self.steps, self.views)
        plan = Plan("MACO", self, how, canvas, held=True)
        return visualise(model, targets, plan, photos, execution)
