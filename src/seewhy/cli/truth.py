"""Masks of the evidence, or people's gaze, from a folder, brought to where the model saw each photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.output import note
from seewhy.errors import BadInput, DoesNotFit

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.metrics.base import MetricNeed
    from seewhy.types import Maps, Masks

_NOUN = {"truth": "mask", "fixations": "image of fixations", "density": "density"}
_NOUNS = {"truth": "masks", "fixations": "fixations", "density": "densities"}


def truths_for(maps: Sequence[Attribution], folder: Path, need: MetricNeed) -> Mapping[str, Masks | Maps]:
    """Return, by the photo's path, the `(1, height, width)` truth about the photo of each single-sample map.

    `folder` holds one image NAME.png for a photo NAME.*, of the photo's size. It is resized and cut as the
    photo was: masks without interpolation, fixations without losing one, densities linearly.

    Raises
    ------
    BadInput
        For a folder or image that is missing, an image of another size than its photo, empty, or with nothing
        in the part that the model sees; for two photos of one name.
    DoesNotFit
        For maps of clips, or of inputs that no preprocessing made.
    """
    asked = f"Asked to compare maps with the {_NOUNS[need]} in {folder}"
    if not folder.is_dir():
        raise BadInput(asked, "There is no such folder", "Give a folder with one image NAME.png a photo NAME")
    photos = {a.provenance["inputs"][0]["path"]: a for a in maps}
    files = {path: folder / f"{Path(path).stem}.png" for path in photos}
    owners: dict[Path, str] = {}
    for path, file in files.items():
        if owners.setdefault(file, path) != path:
            raise BadInput(
                asked,
                f"{owners[file]} and {path} would share {file.name}",
                "Evaluate photos of the same name apart, each with its own folder",
            )
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(
            asked,
            f"There is no {missing[0]}{others}",
            "Give one image a photo, of the photo's name and size",
        )
    return {path: _truth(path, photos[path], file, need) for path, file in files.items()}


def _truth(path: str, attribution: Attribution, file: Path, need: MetricNeed) -> Masks | Maps:
    from seewhy.inputs.images import read_image
    from seewhy.inputs.masks import read_density, read_mask
    from seewhy.models.preprocessing import Preprocessing

    noun, thing = _NOUN[need], "the object" if need == "truth" else "what people looked at"
    asked = f"Asked to compare the map of {path} with the {noun} {file}"
    look = attribution.provenance["preprocessing"]
    if look is None or attribution.values.ndim != 3:
        raise DoesNotFit(
            asked,
            "Only photos that the model prepared by itself have a known way from file to map",
            f"In Python: seewhy.evaluate(model, inputs, attributions, metrics, truth={_NOUNS[need]})",
        )
    image = read_density(file) if need == "density" else read_mask(file)
    if not Path(path).is_file():
        note(f"note: {path} is gone, so the size of its {noun} cannot be compared")
    elif (photo := read_image(path)).size != image.size:
        sizes = [f"{i.width} x {i.height}" for i in (image, photo)]
        raise BadInput(
            asked,
            f"The {noun} measures {sizes[0]} pixels, the photo {sizes[1]}",
            f"Give {_NOUNS[need]} of the photos' size",
        )
    if not any(image.getextrema()):
        raise BadInput(
            asked, "It is black all over", f"Make {thing} any other colour, or leave the photo out"
        )
    seen = Preprocessing.from_json(look)
    ways = {"truth": seen.mask, "fixations": seen.fixations, "density": seen.density}
    found = ways[need](image)[None]
    if not bool(found.any()):
        raise BadInput(
            asked,
            f"None of {thing} is in the part of the photo that the model sees",
            "Leave the photo out",
        )
    return found
