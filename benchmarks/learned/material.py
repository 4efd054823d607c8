"""What compositions are made of: photo cut-outs and photos, gathered once into one file.

`python -m benchmarks.learned.material --stamps DIR --photos DIR ... --out FILE`. The cut-outs are Debian's
tuxpaint-stamps-default (GPL-2, never shipped), those among its stamps that look like photos: many colours,
and transparent around the object. The photos are those of scikit-image and scikit-learn and all that lie in
the folders named, but for grey pages and test patterns. Nearly equal photos count once. One photo in four,
and one cut-out in five, are never trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.ground_truth.stamps import CLASSES, DEFAULT, cut_out
from seewhy.errors import BadInput, SeeWhyError
from seewhy.files import write_atomically
from seewhy.inputs.images import read_image

PHOTO, OBJECT = 256, 144
"""Side of the squares that photos are cut into, and longer side of a cut-out, in pixels."""
_PACKAGED = {
    "skimage": "data astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png brick.png grass.png "
    "gravel.png hubble_deep_field.jpg ihc.png",
    "sklearn": "datasets/images china.jpg flower.jpg",
}
_COLOURS, _ALIKE = 120, 12.0


@dataclass(frozen=True)
class Material:
    """Pixels on one device.

    Parameters
    ----------
    photos
        `(p, 3, 256, 256)` uint8 squares.
    objects
        `(m, 4, 144, 144)` uint8, red, green, blue, opaqueness, the object in the middle.
    """

    photos: Tensor
    objects: Tensor

    def to(self, device: str | torch.device) -> Material:
        """Return the same on a device."""
        return Material(self.photos.to(device), self.objects.to(device))


@dataclass(frozen=True)
class Split:
    """Photos and cut-outs to train on, photos to choose settings by, and photos and cut-outs for the test."""

    train: Material
    choice: Material
    test: Material
    new: Material
    fingerprint: str


def gather(stamps: Path, folders: list[Path]) -> dict[str, np.ndarray]:
    """Return `photos`, `objects`, and for each square the number of the photo it was cut from."""
    squares: list[np.ndarray] = []
    origin: list[int] = []
    seen: list[np.ndarray] = []
    for path in _photo_files(folders):
        try:
            photo = read_image(path).convert("RGB")
        except SeeWhyError:
            continue
        packaged = not any(path.is_relative_to(folder) for folder in folders)
        if min(photo.size) < 200 or not (packaged or _colourful(photo)):
            continue
        small = np.asarray(photo.resize((12, 12), Image.Resampling.BOX), np.float32)
        if any(np.abs(small - other).mean() < _ALIKE for other in seen):
            continue
        for square in _squares(photo):
            squares.append(square)
            origin.append(len(seen))
        seen.append(small)
    objects = [_centred(path) for path in _stamp_files(stamps)]
    if len(seen) < 12 or len(objects) < 20:
        raise BadInput(
            "Asked for photos and cut-outs",
            f"Found {len(seen)} photos and {len(objects)} cut-outs",
            "Name folders of photos with --photos, and the stamps' folder with --stamps",
        )
    return {"photos": np.stack(squares), "objects": np.stack(objects), "origin": np.array(origin)}


def save(found: dict[str, np.ndarray], out: Path) -> None:
    """Write what `gather` found, compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found)  # type: ignore[arg-type]
    write_atomically(out, buffer.getvalue())


def split(file: Path) -> Split:
    """Return the parts: one photo in four is for the test, one in eight to choose by."""
    with np.load(file) as stored:
        found = {name: stored[name] for name in stored.files}
    digest = hashlib.sha256(b"".join(found[name].tobytes() for name in sorted(found))).hexdigest()[:16]
    photos, objects = torch.from_numpy(found["photos"]), torch.from_numpy(found["objects"])
    origin = torch.from_numpy(found["origin"]) % 8
    tested, chosen = (origin == 1) | (origin == 5), origin == 3
    new = torch.arange(len(objects)) % 5 == 2
    return Split(
        Material(photos[~tested & ~chosen], objects[~new]),
        Material(photos[chosen], objects[~new]),
        Material(photos[tested], objects[~new]),
        Material(photos[tested], objects[new]),
        digest,
    )


def _photo_files(folders: list[Path]) -> Iterator[Path]:
    for package, listed in _PACKAGED.items():
        spec = find_spec(package)
        inside, *names = listed.split()
        for place in spec.submodule_search_locations or () if spec is not None else ():
            yield from (Path(place) / inside / name for name in names)
    for folder in folders:
        yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))


def _colourful(photo: Image.Image) -> bool:
    """Tell photos from pages, diagrams and test patterns, roughly."""
    return float(np.asarray(photo.resize((32, 32)).convert("HSV"), np.float32)[..., 1].mean()) > 20


def _squares(photo: Image.Image) -> Iterator[np.ndarray]:
    """Yield the middle square of a photo, or both ends of a long one, 256 x 256."""
    side, long = min(photo.size), max(photo.size)
    for start in (0, long - side) if long > 1.25 * side else ((long - side) // 2,):
        left, top = (start, 0) if photo.width == long else (0, start)
        cut = photo.crop((left, top, left + side, top + side)).resize(
            (PHOTO, PHOTO), Image.Resampling.LANCZOS
        )
        yield np.asarray(cut).transpose(2, 0, 1).copy()


def _stamp_files(stamps: Path) -> Iterator[Path]:
    for path in sorted(stamps.rglob("*.png")):
        if "cartoon" in path.parts:
            continue
        pixels = np.asarray(Image.open(path).convert("RGBA"))
        opaque = pixels[..., 3] > 127
        levels = (pixels[opaque][:, :3] >> 4).astype(int) @ [256, 16, 1]
        around = 0.03 < 1 - opaque.mean() < 0.95
        if around and (path.stem in CLASSES or len(np.unique(levels)) > _COLOURS):
            yield path


def _centred(path: Path) -> np.ndarray:
    picture = cut_out(path.stem, 0, Image.open(path)).picture
    factor = OBJECT / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    canvas = np.zeros((OBJECT, OBJECT, 4), np.uint8)
    top, left = (OBJECT - size[1]) // 2, (OBJECT - size[0]) // 2
    pixels = np.array(picture.resize(size, Image.Resampling.LANCZOS))
    pixels[pixels[..., 3] == 0] = 0
    canvas[top : top + size[1], left : left + size[0]] = pixels
    return canvas.transpose(2, 0, 1).copy()


def main() -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.material")
    parser.add_argument("--stamps", type=Path, default=DEFAULT)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    found = gather(arguments.stamps, arguments.photos)
    save(found, arguments.out)
    photos = found["origin"].max() + 1
    print(
        f"{photos} photos, {len(found['photos'])} squares, {len(found['objects'])} cut-outs", file=sys.stderr
    )


if __name__ == "__main__":
    main()
