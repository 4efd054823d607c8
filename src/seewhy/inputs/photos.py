"""Real photos for demonstrations and tests: those of scikit-image; nothing is shipped or downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from seewhy.errors import MissingExtra

_FILES = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "astronaut": "astronaut.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
}


def demo_photos() -> dict[str, Path]:
    """Return the paths of the demo photos by name: cat, coffee, astronaut, rocket and more.

    scikit-image is located, not imported.

    Raises
    ------
    MissingExtra
        When scikit-image is not installed, or comes without its photos.
    """
    spec = find_spec("skimage")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    photos = {
        name: folder / file
        for folder in (Path(p) / "data" for p in places)
        for name, file in _FILES.items()
        if (folder / file).is_file()
    }
    if not photos:
        raise MissingExtra("Asked for the demo photos", "scikit-image", "pip install 'seewhy[demo]'")
    return photos
