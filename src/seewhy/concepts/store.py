"""The feature store: what layers put out for photos, kept so that no photo need go through the network twice.

Grids are kept in half precision, one zarr array a layer, with a row a photo. A row is found by the content of
the file (its SHA-256; of photos that come from data sets, that of their pixels), in a place that depends on
the weights, the preprocessing and the layer: renamed or copied photos are found again, and features of two
networks never mix. A run that was stopped goes on: a row counts once its line is in the list beside the
array, which is written after the row.

One process may write at a time; any number may read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from seewhy.batching import default_batch_size
from seewhy.errors import BadInput, MissingExtra
from seewhy.execution import Execution
from seewhy.files import writable_folder, write_atomically
from seewhy.methods.relevance.conditions import Place
from seewhy.models.model import Model

_CHUNK = 16
"""Photos a chunk: what is read and written at once."""
_FORMAT = 1


def digest_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits.

    Raises
    ------
    BadInput
        When it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(
            f"Asked for the features of {path}", f"It cannot be read: {error.strerror or error}"
        ) from error


def digest_of_pixels(image: Image.Image) -> str:
    """Return the SHA-256 of a photo's pixels, 64 hexadecimal digits: for photos that have no file."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


@dataclass(eq=False)
class Features:
    """One layer of one network: rows of `(channels, *cells)` by the digest of the photo's file.

    Parameters
    ----------
    folder
        Its own.
    rows
        Row of each digest.
    """

    folder: Path
    rows: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = dict(self._listed())

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, digest: object) -> bool:
        return digest in self.rows

    def add(self, digests: Sequence[str], grids: Tensor) -> None:
        """Keep `(n, channels, *cells)` grids; those whose digest is there already are left as they are.

        Raises
        ------
        BadInput
            For values beyond half precision (65,504), or grids of another shape than those before.
        """
        fresh = {d: i for i, d in enumerate(digests) if d not in self.rows}
        if not fresh:
            return
        values = grids.detach()[list(fresh.values())].cpu().to(torch.float16)
        if not bool(values.isfinite().all()):
            raise BadInput(
                f"Asked to keep features in {self.folder}",
                "Some values are not finite, or beyond 65,504, the largest number in half precision",
                "Choose a layer behind a normalisation",
            )
        array, start = self._array(tuple(values.shape[1:])), len(self.rows)
        if array.shape[1:] != tuple(values.shape[1:]):
            raise BadInput(
                f"Asked to keep features in {self.folder}",
                f"Found {tuple(values.shape[1:])} beside {array.shape[1:]}",
                "Prepare all photos at one size",
            )
        if array.shape[0] < start + len(values):
            array.resize((start + len(values), *array.shape[1:]))
        array[start : start + len(values)] = values.numpy()
        with (self.folder / "rows.txt").open("a", encoding="ascii") as file:
            file.write("".join(f"{digest}\n" for digest in fresh))
        self.rows |= {digest: start + i for i, digest in enumerate(fresh)}

    def get(self, digests: Sequence[str]) -> Tensor:
        """Return `(n, channels, *cells)` float32 grids, in the order asked for.

        Raises
        ------
        BadInput
            When one is not there.
        """
        missing = [d for d in digests if d not in self.rows]
        if missing or not digests:
            raise BadInput(
                f"Asked for features in {self.folder}",
                f"{len(missing)} of {len(digests)} photos are not there",
                "Keep them first: seewhy.concepts.keep",
            )
        wanted = [self.rows[d] for d in digests]
        order = sorted(set(wanted))
        found = torch.from_numpy(self._array(None).oindex[order]).float()
        place = {row: i for i, row in enumerate(order)}
        return found[[place[row] for row in wanted]]

    def _array(self, shape: tuple[int, ...] | None) -> Any:
        zarr = _zarr()
        path = self.folder / "grids"
        if path.exists() or shape is None:
            return zarr.open_array(str(path), mode="r+" if shape is not None else "r")
        return zarr.create_array(
            str(path), shape=(0, *shape), chunks=(_CHUNK, *shape), dtype="float16", fill_value=0
        )

    def _listed(self) -> Iterator[tuple[str, int]]:
        """Yield digests with their rows; a last line that was cut short does not count."""
        path = self.folder / "rows.txt"
        if not path.is_file():
            return
        whole, _, torn = path.read_text(encoding="ascii").rpartition("\n")
        if torn:
            write_atomically(path, f"{whole}\n".encode() if whole else b"")
        yield from ((line, i) for i, line in enumerate(whole.split("\n") if whole else ()))


@dataclass(frozen=True)
class FeatureStore:
    """A folder of features of any number of networks and layers.

    Parameters
    ----------
    folder
        Made where it is missing.

    Raises
    ------
    MissingExtra
        When zarr is not installed.
    """

    folder: Path

    def __post_init__(self) -> None:
        _zarr()
        object.__setattr__(self, "folder", writable_folder(self.folder))

    def layer(self, model: Model, layer: str) -> Features:
        """Return the features of a layer of a network as it is now."""
        seen = {
            "format": _FORMAT,
            "weights_sha256": model.weights_hash,
            "preprocessing": None if model.preprocess is None else model.preprocess.to_json(),
            "layer": layer,
        }
        text = json.dumps(seen, sort_keys=True)
        folder = writable_folder(self.folder / hashlib.sha256(text.encode()).hexdigest()[:20])
        if not (folder / "about.json").is_file():
            write_atomically(folder / "about.json", json.dumps({**seen, "model": model.name}).encode())
        return Features(folder)


def keep(
    store: FeatureStore,
    model: Model,
    photos: Sequence[str | Path],
    layers: Sequence[str],
    execution: Execution | None = None,
) -> dict[str, str]:
    """Run photos that are not yet kept through the network, and keep what layers put out.

    Parameters
    ----------
    store
        Where.
    model, photos, layers
        What; one forward pass a photo serves all layers.
    execution
        Batch size, progress, cancelling, device.

    Returns
    -------
    dict
        Why photos could not be read, by path.

    Raises
    ------
    DoesNotFit, UnknownName
        For layers without channels, or that are not there.
    """
    execution, failures = execution or Execution(), {}
    kept = {layer: store.layer(model, layer) for layer in dict.fromkeys(layers)}
    size = execution.batch_size or _batch_size(model)
    with model.untouched(execution.device), torch.inference_mode():
        for start in range(0, len(photos), size):
            ready: dict[str, Tensor] = {}
            for path in photos[start : start + size]:
                try:
                    digest = digest_of(path)
                    if not all(digest in features for features in kept.values()):
                        ready[digest] = model.prepare(path).tensor
                except BadInput as error:
                    failures[str(path)] = str(error)
            if ready:
                x = torch.cat(list(ready.values())).to(model.device, model.dtype)
                answer = model.answer(x, list(kept))
                for layer, features in kept.items():
                    output = answer.activations[layer]
                    place = Place.of(model, layer, output, tuple(x.shape[1:]))
                    features.add(list(ready), place.cells(output))
            execution.step(min(len(photos), start + size), len(photos), "features")
    return failures


def _batch_size(model: Model) -> int:
    size = model.input_size() or (224, 224)
    return default_batch_size(torch.empty(1, 3, *size, device=model.device))


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("Asked for a feature store", "zarr", "pip install 'seewhy[concepts]'") from error
    return zarr
