"""`torchvision:NAME`: image and video classifiers, with the preprocessing of their DEFAULT weights."""

from __future__ import annotations

from typing import Any

from seewhy.errors import BadInput, UnknownName
from seewhy.extras import optional
from seewhy.models.labels import Labels, imagenet_labels
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources.base import FAMILIES, MODELS, Family, from_network
from seewhy.specs import Options

CLIP = 16
"""Frames of a clip for video models: what torchvision's were trained and rated with."""


@FAMILIES.register
class Torchvision(Family):
    """torchvision's classifiers."""

    name = "torchvision"
    example = "torchvision:resnet50"

    def load(self, which: str, options: Options) -> Model:
        """See `Family.load`."""
        asked = f"Asked for the model {options.spec!r}"
        models = optional("torchvision.models", "torchvision", asked, MODELS)
        pretrained = options.take("pretrained", True)
        frames = options.take("frames", CLIP)
        names = _names(models)
        if which not in names:
            raise UnknownName("torchvision model", which, names)
        weights = models.get_model_weights(which).DEFAULT
        extra: dict[str, Any] = {}
        if not pretrained and which in ("googlenet", "inception_v3"):
            extra["init_weights"] = False  # their own initialisation takes minutes and warns that it will go
        with from_network(
            asked, "Connect to the network once, or add ?pretrained=false for untrained weights"
        ):
            try:
                module = models.get_model(which, weights=weights if pretrained else None, **extra)
            except RuntimeError as error:  # torch.hub's check of the file's hash
                raise BadInput(
                    asked, f"Its weights are damaged: {error}", "Delete the file and load again"
                ) from error
        video = which in models.list_models(module=models.video)
        categories = weights.meta["categories"]
        labels = (imagenet_labels() if len(categories) == 1000 and not video else None) or Labels(categories)
        return Model(
            module,
            preprocess=preprocessing(weights.transforms(), frames if video else None),
            labels=labels,
            kind="classes",
            notes=() if pretrained else ("Its weights are untrained.",),
        )

    def names(self) -> list[str]:
        """See `Family.names`."""
        try:
            return _names(optional("torchvision.models", "torchvision", "", MODELS))
        except (BadInput, ImportError, RuntimeError):
            return []


def _names(models: Any) -> list[str]:
    return [*models.list_models(module=models), *models.list_models(module=models.video)]


def preprocessing(preset: Any, frames: int | None) -> Preprocessing:
    """Return what a `weights.transforms()` of torchvision does."""
    crop, resize = list(preset.crop_size), list(preset.resize_size)
    size = (crop[0], crop[-1])
    # Two numbers are met as they are, aspect ratio lost; one is the length of the shorter edge.
    return Preprocessing(
        size,
        "squash" if len(resize) == 2 else "crop",
        tuple(resize) if len(resize) == 2 else resize[0],
        preset.interpolation.value,
        tuple(preset.mean),
        tuple(preset.std),
        antialias=getattr(preset, "antialias", False) is not False,
        frames=frames,
    )
