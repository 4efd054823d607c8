"""Masks of the evidence from a folder, brought to where the model saw each photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.output import note
from seewhy.errors import BadInput, DoesNotFit

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.types import Masks


def masks_for(maps: Sequence[Attribution], folder: Path) -> Mapping[str, Masks]:
    """Return, by the photo's path, the `(1, height, width)` mask of the photo of each single-sample map.

    `folder` holds one image NAME.png for a photo NAME.*, of the photo's size. It is resized and cut as the
    photo was, without interpolation.

    Raises
    ------
    BadInput
        For a folder or mask that is missing, a mask of another size than its photo, empty, or with nothing of
        the object in the part that the model sees; for two photos of one name.
    DoesNotFit
        For maps of clips, or of inputs that no preprocessing made.
    """
    asked = f"Asked to compare maps with the masks in {folder}"
    if not folder.is_dir():
        raise BadInput(
            asked, "There is no such folder", "Give a folder with one mask image NAME.png a photo NAME"
        )
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
            "Give one mask image a photo, of the photo's name and size",
        )
    return {path: _mask(path, photos[path], file) for path, file in files.items()}


def _mask(path: str, attribution: Attribution, file: Path) -> Masks:
    from seewhy.inputs.images import read_image
    from seewhy.inputs.masks import read_mask
    from seewhy.models.preprocessing import Preprocessing

    asked = f"Asked to compare the map of {path} with the mask {file}"
    look = attribution.provenance["preprocessing"]
    if look is None or attribution.values.ndim != 3:
        raise DoesNotFit(
            asked,
            "Only photos that the model prepared by itself have a known way from file to map",
            "Evaluate in Python: seewhy.evaluate(model, inputs, attributions, metrics, truth=masks)",
        )
    image = read_mask(file)
    if not Path(path).is_file():
        note(f"note: {path} is gone, so the size of its mask cannot be compared")
    elif (photo := read_image(path)).size != image.size:
        sizes = [f"{i.width} x {i.height}" for i in (image, photo)]
        raise BadInput(
            asked,
            f"The mask measures {sizes[0]} pixels, the photo {sizes[1]}",
            "Give masks of the photos' size",
        )
    if not any(image.getextrema()):
        raise BadInput(
            asked, "It is black all over", "Make the object any other colour, or leave the photo out"
        )
    mask = Preprocessing.from_json(look).mask(image)[None]
    if not bool(mask.any()):
        raise BadInput(
            asked,
            "None of the object is in the part of the photo that the model sees",
            "Leave the photo out",
        )
    return mask
