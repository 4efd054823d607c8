"""Feature visualisation: images that a channel, a neuron, a class or a direction answers to most.

An image is moved, step by step, towards a higher score. Free pixels would end as noise that no photo holds;
here the image is written by its frequencies and by colours that vary independently, both weighted as photos
hold them, and must please in randomly moved, scaled and turned views. Several images of one target may be
kept different from each other. A picture shows what *can* drive the score, not what does: beside it belongs
its score among those of photos, and the photos that score highest.

Formula
    maximise the mean score of views of x = sigmoid(M irfft2(z sqrt(h w) / f) / 4) over the spectra z, with
    Adam from normal numbers of deviation 0.01; f: frequency in cycles a pixel, M: the colours' correlation in
    photos. With n images: each score less `diversity` |score| times the mean cosine of its Gram matrix over a
    layer's channels with those of the others.
Needs
    gradients; a preprocessing for single images.
Cost
    `steps` x `views` forward and backward passes an image.
Papers
    Olah, Mordvintsev, Schubert: Feature Visualization, 2017, https://doi.org/10.23915/distill.00007; its
    frequencies, colours and transforms as in Lucid, https://github.com/tensorflow/lucid.
Departures
    padding, moving, scaling and turning are drawn together, scale and angle evenly instead of from lists, and
    are one turn and one interpolation; lengths are parts of 224 pixels. Diversity is relative to the score,
    so that its weight means the same in every layer, and compares equal views. While no ReLU lets a score's
    slope through, the positive part of the slope passes all of them (deconvnet's rule). Scores are those of
    the final image at 8 bits, shown as it is. With photos: the percentile of that score among theirs; for a
    channel also the photos with the strongest cell, what that cell sees, and its projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seewhy.concepts.ascent import Ascent, check_settings
from seewhy.concepts.canvas import FourierCanvas
from seewhy.concepts.views import Transforms
from seewhy.concepts.visualised import Plan, Visualised, visualise
from seewhy.execution import Execution
from seewhy.models.model import Model


@dataclass(frozen=True)
class FeatureVisualisation:
    """Images optimised by their frequencies.

    Parameters
    ----------
    images
        Of each target, at least 1.
    steps
        Of the optimiser, at least 1.
    views
        Views of each image a step, at least 1.
    learning_rate
        Of Adam, above 0.
    decay
        Exponent of the frequency by which the spectrum is divided: above 1 smoother images, 0 none.
    transforms
        Factor of the views' movement, scaling and turning; 0 shows the image as it is.
    diversity
        Part of its size that a score loses where an image is in another's style in all; 0: they may be alike.
    """

    images: int = 1
    steps: int = 256
    views: int = 1
    learning_rate: float = 0.05
    decay: float = 1.0
    transforms: float = 1.0
    diversity: float = 0.5

    def __post_init__(self) -> None:
        check_settings("Asked to visualise features", self, ("decay", "transforms", "diversity"))

    def __call__(
        self,
        model: Model | nn.Module,
        targets: Any,
        photos: Sequence[str | Path] | None = None,
        execution: Execution | None = None,
    ) -> Visualised:
        """Visualise targets.

        Parameters
        ----------
        model
            With a preprocessing for single images.
        targets
            A class index or label, a `Target` (`Neuron`, `Along`, sums and differences ...), a `Direction` as
            `CAV` finds them, or a sequence of them.
        photos
            Paths; their scores are what the images' scores are held against.
        execution
            Seed, batch size, progress, cancelling, device.

        Raises
        ------
        BadInput
            For a target that depends on an input, as a model's own answer does; for photos none of which can
            be read.
        DoesNotFit
            For models without gradients or preprocessing and of clips; for a score without a gradient.
        Cancelled
            When the execution says so.
        """
        how = Ascent(
            lambda z: torch.optim.Adam([z], lr=self.learning_rate),
            Transforms(self.transforms), self.images, self.steps, self.views, self.diversity,
        )  # fmt: skip
        plan = Plan("feature visualisation", self, how, lambda c, size, _: FourierCanvas(c, size, self.decay))
        return visualise(model, targets, plan, photos, execution)
