"""Visualised targets: their optimised images, how high these score, and where that lies among photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy import provenance
from seewhy.concepts.along import Along
from seewhy.concepts.ascent import Ascended, Ascent, climb
from seewhy.concepts.canvas import Canvas
from seewhy.concepts.cav import Direction
from seewhy.concepts.photo_scores import PhotoScores, score_photos
from seewhy.concepts.photo_spectrum import MeanSpectrum, measured
from seewhy.concepts.projections import Patches, project
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.batch import Inputs
from seewhy.models.model import Model
from seewhy.targets import Class, Custom, Neuron, Target, Top, parse
from seewhy.types import Json, Size

SHOWN = 9
"""Photos kept of each target."""
_OPAQUE = 0.8
"""Quantile of what was accumulated at a pixel from which on it is fully seen."""


@dataclass(frozen=True)
class Standing:
    """Scores of photos for one target.

    Parameters
    ----------
    photos
        How many were scored.
    low, median, high
        Their smallest, middle and largest score.
    percentiles, percentiles_in_views
        For each image, the percentage of the photos that score below it, 0 to 100; shown as it is, in views.
    best
        (photo, score) of the highest ones, best first.
    """

    photos: int
    low: float
    median: float
    high: float
    percentiles: tuple[float, ...]
    percentiles_in_views: tuple[float, ...]
    best: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Visualisation:
    """One target.

    Parameters
    ----------
    description
        The target; at least `label`.
    images
        `(n, c, h, w)` float32 in [0, 1], at 8 bits.
    opacity
        `(n, h, w)` float32 in [0, 1]: how much the score pushed there, by its 80th percentile.
    start, reached
        Scores of the random image before the first step and of each image, shown as they are.
    start_in_views, reached_in_views
        The same in random views, on average: what was optimised.
    standing
        Among photos, where there are some.
    patches
        Of a channel: where photos have their strongest cells.
    """

    description: Json
    images: Tensor
    opacity: Tensor
    start: tuple[float, ...]
    reached: tuple[float, ...]
    start_in_views: tuple[float, ...]
    reached_in_views: tuple[float, ...]
    standing: Standing | None
    patches: Patches | None

    @property
    def label(self) -> str:
        """The target in words."""
        return str(self.description["label"])

    def pictures(self, *, transparent: bool = False) -> list[Image.Image]:
        """Return the images as RGB (one channel: L), or with their opacity as RGBA (LA)."""
        found = []
        for one, alpha in zip(self.images, self.opacity, strict=True):
            pixels = (one * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
            if transparent:
                picture.putalpha(Image.fromarray(np.rint(alpha.numpy() * 255).astype(np.uint8)))
            found.append(picture)
        return found

    def words(self, image: int, *, in_views: bool = False) -> str:
        """Return how high an image scores: "scores 3.1 (noise 0.2), above all of 40 photos (highest 1.9)".

        Parameters
        ----------
        image
            Which.
        in_views
            Whether in its views, on average, or shown as it is.
        """
        start, reached = self.start[image], self.reached[image]
        if in_views:
            start, reached = self.start_in_views[image], self.reached_in_views[image]
        said = f"scores {reached:.3g}{' in its crops' * in_views} (noise {start:.2g})"
        if self.standing is None:
            return said
        s = self.standing
        share = (s.percentiles_in_views if in_views else s.percentiles)[image]
        part = "all" if share == 100 else "none" if share == 0 else f"{share:.3g} %"
        return f"{said}, above {part} of {s.photos} photos (highest {s.high:.3g})"

    def to_json(self) -> Json:
        """Return the numbers."""
        standing = None if self.standing is None else asdict(self.standing)
        if standing is not None:
            standing["best"] = [{"photo": name, "score": score} for name, score in standing["best"]]
        patches = None if self.patches is None else self.patches.to_json()
        return {
            "target": self.description,
            "start": list(self.start),
            "reached": list(self.reached),
            "start_in_views": list(self.start_in_views),
            "reached_in_views": list(self.reached_in_views),
            "among_photos": standing,
            "patches": patches,
        }


@dataclass(frozen=True, eq=False)
class Visualised:
    """Visualisations.

    Parameters
    ----------
    visualisations
        In the order of the targets.
    provenance
        What made them, as plain JSON.
    failures
        Why photos could not be read.
    transparent
        Whether images are meant to be seen with their opacity, and their scores in views.
    """

    visualisations: tuple[Visualisation, ...]
    provenance: Json
    failures: tuple[str, ...]
    transparent: bool

    def to_json(self) -> Json:
        """Return everything but the pictures."""
        return {
            **self.provenance,
            "failures": list(self.failures),
            "visualisations": [v.to_json() for v in self.visualisations],
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """One way to visualise.

    Parameters
    ----------
    method, settings
        Its name and dataclass.
    how
        The images are moved.
    canvas
        From channels, size and the photos' mean spectrum to what images are written on.
    held
        Whether magnitudes are held at the photos' mean spectrum, and images shown with their opacity.
    """

    method: str
    settings: Any
    how: Ascent
    canvas: Callable[[int, Size, MeanSpectrum | None], Canvas]
    held: bool = False


def visualise(
    model: Model | nn.Module,
    targets: Any,
    plan: Plan,
    photos: Sequence[str | Path] | None,
    execution: Execution | None,
) -> Visualised:
    """Visualise targets by a plan; parameters and errors as in `FeatureVisualisation.__call__`."""
    model = model if isinstance(model, Model) else Model(model)
    execution = execution or Execution()
    channels, size = _image_shape(model)
    wanted = _targets(targets, model)
    with model.untouched(execution.device):
        weights = model.check_weights()
        scores = spectrum = None
        if photos is not None:
            with torch.no_grad():
                scores = score_photos(model, photos, wanted, execution, SHOWN)
            spectrum = measured(model, photos, execution) if plan.held else None
            size = size if spectrum is None else spectrum.size
        canvas = plan.canvas(channels, size, spectrum)
        made, patches = [], []
        for k, target in enumerate(wanted):
            made.append(climb(model, target, canvas, plan.how, execution))
            known = None if scores is None else scores.strongest.get(k)
            assert scores is not None or known is None
            patches.append(
                project(model, target, known, scores.names, execution)
                if known is not None and scores is not None and isinstance(target, Neuron)
                else None
            )
    notes = {
        **provenance.of_model(model, Inputs(made[0].pixels, ("",)), weights),
        "kind": "visualisation",
        "method": plan.method,
        "parameters": asdict(plan.settings),
        "magnitudes": None if not plan.held else "1 / frequency" if spectrum is None else "photos' mean",
        "photos": None if scores is None else len(scores.read),
        "passes": {
            "forward": sum(m.passes.forward for m in made) + (0 if scores is None else len(scores.read)),
            "backward": sum(m.passes.backward for m in made),
        },
        "execution": provenance.of_run(execution),
    }
    found = tuple(
        _visualisation(m, p, None if scores is None else _standing(scores, k, m))
        for k, (m, p) in enumerate(zip(made, patches, strict=True))
    )
    return Visualised(found, notes, () if scores is None else scores.failures, plan.held)


def _visualisation(made: Ascended, patches: Patches | None, standing: Standing | None) -> Visualisation:
    most = torch.quantile(made.touched.flatten(1), _OPAQUE, dim=1).clamp_min(1e-30)
    opacity = (made.touched / most[:, None, None]).clamp(0, 1)
    each = (made.start, made.reached, made.start_in_views, made.reached_in_views)
    a, b, c, d = (tuple(scores.tolist()) for scores in each)
    return Visualisation(made.description, made.pixels, opacity, a, b, c, d, standing, patches)


def _standing(scores: PhotoScores, k: int, made: Ascended) -> Standing:
    own = scores.scores[:, k]
    plain, viewed = (
        tuple(scores.percentile(k, s) for s in t.tolist()) for t in (made.reached, made.reached_in_views)
    )
    low, median, high = (float(f(own)) for f in (torch.min, torch.median, torch.max))
    return Standing(len(own), low, median, high, plain, viewed, tuple(scores.best(k, SHOWN)))


def _image_shape(model: Model) -> tuple[int, Size]:
    asked, look = f"Asked {model.name} what images it answers to", model.preprocess
    if not model.differentiable:
        raise DoesNotFit(asked, "It only runs forward", "Give the PyTorch network")
    if look is None:
        do = "Give Model(module, preprocess=Preprocessing(...))"
        raise DoesNotFit(asked, "It has no preprocessing: which numbers are black and white is unknown", do)
    if look.frames is not None:
        raise DoesNotFit(asked, "It sees clips", "Give a model of single images")
    return len(look.mean), look.size


def _targets(targets: Any, model: Model) -> list[Target]:
    each = targets if isinstance(targets, list | tuple) else [targets]
    if not each:
        raise BadInput("Asked to visualise features", "No target is named", "Name at least one")
    return [_target(t, model) for t in each]


def _target(target: Any, model: Model) -> Target:
    asked = "Asked to visualise features"
    match target:
        case Direction():
            return Along(target.layer, target.vector, target.concept)
        case None | Top():
            found = "The target is a model's answer to an input, and there is none"
            raise BadInput(asked, found, "Name a class, a Neuron or a Direction")
        case Target():
            return target
        case bool():
            pass
        case int():
            return Class(target)
        case str():
            return _target(parse(target, model), model)
        case _ if callable(target):
            return Custom(target)
    raise BadInput(asked, f"Found {type(target).__name__}", "Give a class, a Target or a Direction")
