"""What a data set knows of a sample, brought to where the model saw the photo."""

from __future__ import annotations

from seewhy.errors import BadInput
from seewhy.inputs.datasets.base import Sample
from seewhy.models.model import Model
from seewhy.types import Masks


def mask_of(sample: Sample, model: Model) -> Masks:
    """Return the `(1, height, width)` mask of the evidence, resized and cut as the photo was.

    Raises
    ------
    BadInput
        When the sample has none, it is of another size than the photo, or nothing of the object is in the
        part of the photo that the model sees.
    """
    asked, mask = "Asked to compare a map with the place of the evidence", sample.truth
    if mask is None:
        raise BadInput(asked, "The data do not say it for this sample", "Leave the sample out")
    if mask.size != sample.image.size:
        sizes = [f"{i.width} x {i.height}" for i in (mask, sample.image)]
        raise BadInput(
            asked,
            f"The mask measures {sizes[0]} pixels, the photo {sizes[1]}",
            "Give masks of the photos' size",
        )
    look = model.preprocess
    assert look is not None, "photos have been prepared"
    seen = look.mask(mask)[None]
    if not bool(seen.any()):
        raise BadInput(
            asked,
            "None of the object is in the part of the photo that the model sees",
            "Leave the sample out",
        )
    return seen
