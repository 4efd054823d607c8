"""Routes about models: their states, labels, layers, and the methods and metrics that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

import seewhy
from seewhy.studio import describe, schema
from seewhy.studio.packing import pixels_url
from seewhy.studio.session import Studio
from seewhy.studio.sources import MAX_UPLOAD

if TYPE_CHECKING:
    from pathlib import Path

    from seewhy.models.model import Model

router = APIRouter(prefix="/api")
TOP = 5
LATER = 2


@router.get("/about")
def about(studio: Studio) -> schema.About:
    """What the page needs before anything else."""
    from seewhy.show import colour

    maps = colour.colour_maps()
    return schema.About(
        version=seewhy.__version__,
        models=studio.networks.states(),
        roots=[name for name, _ in studio.sources.roots],
        max_upload=MAX_UPLOAD,
        colour_maps={name: schema.ColourMap(**colour.facts(name)) for name in maps},
        device=studio.device or "cpu",
    )


@router.get("/models/{model}")
def state(studio: Studio, model: str) -> schema.ModelState:
    """Whether a model is ready."""
    return studio.networks[model].state()


@router.get("/models/{model}/labels")
async def labels(studio: Studio, model: str) -> list[str]:
    """The names of all classes, in order."""
    return list((await studio.networks[model].ready()).labels or ())


@router.get("/models/{model}/layers")
async def layers(studio: Studio, model: str) -> list[schema.LayerEntry]:
    """All layers in order of execution; a map that is waited for goes before them."""
    return await studio.networks[model].call(describe.layer_entries, priority=LATER)


@router.get("/models/{model}/methods")
async def methods(studio: Studio, model: str) -> list[schema.MethodEntry]:
    """All methods, and how they go with a model."""
    network = studio.networks[model]

    def described(known: Model) -> list[schema.MethodEntry]:
        from seewhy.methods import METHODS

        return [describe.method_entry(cls, known, network.rate) for cls in METHODS]

    return await network.call(described, priority=1)


@router.get("/metrics")
def metrics() -> list[schema.MetricEntry]:
    """All metrics."""
    from seewhy.metrics import METRICS

    return [describe.metric_entry(cls) for cls in METRICS]


@router.get("/models/{model}/predictions/{image}")
async def predictions(studio: Studio, model: str, image: str) -> schema.Predictions:
    """A model's answer to a photo, and the photo as the model sees it."""
    network, path = studio.networks[model], studio.sources.path(image)
    return await network.call(lambda known: answered(known, path))


def answered(model: Model, path: Path) -> schema.Predictions:
    """Return the answer of a model. On its thread."""
    import torch

    from seewhy.provenance import display_pixels

    batch = model.prepare([path])
    with model.untouched(), torch.inference_mode():
        output = model.answer(batch.tensor).output
    top = model.predictions(output, TOP)[0]
    pixels = display_pixels(model, batch)[0]
    return schema.Predictions(
        top=[
            schema.Prediction(
                index=p.index, label=p.label, probability=p.probability, logit=float(output[0, p.index])
            )
            for p in top
        ],
        seen=pixels_url(pixels),
        width=pixels.shape[2],
        height=pixels.shape[1],
    )
