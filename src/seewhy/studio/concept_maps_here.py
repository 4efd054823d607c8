"""Where in a photo the concepts of a file are: one pass to the layer, then arithmetic on its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor

from seewhy.concepts.cav import ConceptVectors
from seewhy.concepts.concept_maps import Calibrated
from seewhy.concepts.tcav_result import TcavResult
from seewhy.concepts.visual_result import VisualTcavResult
from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.models.layers import layer_of
from seewhy.models.model import Model
from seewhy.resize import resize
from seewhy.studio.concept_galleries import read_file
from seewhy.studio.found import kind_of
from seewhy.types import Json

Reader: TypeAlias = Callable[[Tensor], tuple[Tensor, bool, str]]
"""From `(1, c, rows, columns)` cells to a map, whether it is signed, and why not to believe it."""

_ROUNDS = 200
"""Of the coordinate descent; far more than a few dozen concepts need."""


@dataclass(frozen=True)
class ConceptHere:
    """A concept in a photo.

    Parameters
    ----------
    native
        `(rows, columns)` on the layer's grid.
    values
        `(height, width)` at input resolution.
    signed
        Whether values below 0 mean the opposite.
    remark
        Why not to believe it, or "".
    """

    native: Tensor
    values: Tensor
    signed: bool
    remark: str


def concept_here(
    model: Model, photo: Path | Image.Image, file: Path, layer: str, concept: str
) -> ConceptHere:
    """Return where in a photo a concept is.

    Parameters
    ----------
    model
        The one that the file was made with.
    photo
        A path or picture.
    file
        What `seewhy concepts` wrote.
    layer, concept
        Of the file.

    Raises
    ------
    UnknownName
        For a layer or concept that the file does not have.
    BadInput
        For another model, or a file whose vectors have no cells.
    """
    read = _reader(file, layer, concept, model)
    inputs = model.prepare(photo)
    with model.untouched(), torch.no_grad():
        x = inputs.tensor.to(model.device, model.dtype)
        grid = layer_of(model, layer, tuple(x.shape[1:])).grid
        if grid is None:
            raise BadInput(f"Asked for a map at {layer}", "The layer has no grid", "Choose another layer")
        cells = grid.read(model.answer(x, [layer]).activations[layer]).float().cpu()
    native, signed, remark = read(cells)
    return ConceptHere(native, resize(native[None], tuple(x.shape[2:]))[0], signed, remark)


def _reader(file: Path, layer: str, concept: str, model: Model) -> Reader:
    """Return how to make a map of the layer's cells."""
    match kind_of(file):
        case "visual_tcav":
            found = VisualTcavResult.open(file)
            _same_model(found.provenance, model)
            at = _index(concept, found.concepts, layer, found.layers)
            f = found.layers[layer]
            bank = Calibrated(f.vectors, f.low, f.high, f.separable).at(slice(at, at + 1))
            told = (
                "" if bool(f.separable[at]) else "The concept is not separable in this layer: the map is 0."
            )
            return lambda cells: (bank.maps(cells)[0, 0], False, told)
        case "tcav":
            tcav = TcavResult.open(file)
            _pooled(tcav.provenance)
            _same_model(tcav.provenance, model)
            at = _index(concept, list(tcav.provenance["concepts"]), layer, tcav.vectors)
            rows = [r for r in tcav.rows if (r.concept, r.layer) == (concept, layer)]
            told = "" if any(r.separable for r in rows) else "The concept is not separable in this layer."
            return _towards(tcav.vectors[layer][at], told)
        case "cav":
            cav = ConceptVectors.open(file)
            _pooled(cav.provenance)
            _same_model(cav.provenance, model)
            vectors = {(d.concept, d.layer): d.vector for d in cav.directions}
            names = list(dict.fromkeys(d.concept for d in cav.directions))
            _index(concept, names, layer, [d.layer for d in cav.directions])
            return _towards(vectors[concept, layer], "")
        case "gallery":
            content = read_file(file)
            _same_model(content["about"], model)
            channels = {(c["layer"], f"channel {c['channel']}"): c["channel"] for c in content["channels"]}
            _index(concept, [n for at, n in channels if at == layer], layer, [at for at, _ in channels])
            channel = channels[layer, concept]
            return lambda cells: (cells[0, channel], bool((cells[0, channel] < 0).any()), "")
        case "discovery":
            content = read_file(file)
            _same_model(content, model)
            names = [f"concept {i + 1}" for i in range(len(content["concepts"]))]
            at = _index(concept, names, layer, [content["layer"]])
            directions = _directions(file.with_suffix(".safetensors"))
            return lambda cells: (_amounts(cells[0].relu(), directions)[at], False, "")
        case _:
            raise UnreadableInput(
                f"Asked for a map by {file}", "It is no file about concepts", "Choose another"
            )


def _towards(vector: Tensor, told: str) -> Reader:
    length = vector.norm().clamp_min(1e-12)
    return lambda cells: (torch.einsum("c,c...->...", vector / length, cells[0]), True, told)


def _amounts(cells: Tensor, directions: Tensor) -> Tensor:
    """Return `(k, rows, columns)`: the non-negative amounts of `(k, c)` directions that best sum up to cells.

    Least squares by cyclic coordinate descent, each coordinate's minimum in closed form.
    """
    f = cells.flatten(1).double()
    w = directions.double()
    gram, target = w @ w.T, w @ f
    amounts = torch.zeros_like(target)
    for _ in range(_ROUNDS):
        before = amounts.clone()
        for j in range(len(w)):
            slope = target[j] - gram[j] @ amounts
            amounts[j] = (amounts[j] + slope / gram[j, j].clamp_min(1e-12)).clamp_min(0)
        if float((amounts - before).abs().max()) <= 1e-9 * float(amounts.max().clamp_min(1e-12)):
            break
    found: Tensor = amounts.float().unflatten(1, cells.shape[1:])
    return found


def _directions(path: Path) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        directions: Tensor = load_file(path)["directions"]
    except (OSError, KeyError, SafetensorError) as error:
        raise UnreadableInput(
            f"Asked for the directions in {path.name}", f"They cannot be read: {error}", "Discover them again"
        ) from error
    return directions


def _index(concept: str, concepts: Iterable[str], layer: str, layers: Iterable[str]) -> int:
    known, places = list(concepts), list(layers)
    if layer not in places:
        raise UnknownName("layer of this file", layer, places)
    if concept not in known:
        raise UnknownName("concept of this file", concept, known)
    return known.index(concept)


def _pooled(known: Json) -> None:
    if known["parameters"]["pool"] != "mean":
        raise BadInput(
            "Asked for a concept map",
            "The vectors were fitted to every cell by itself, and say nothing of single places",
            "Make the file again with --pool mean",
        )


def _same_model(known: Json, model: Model) -> None:
    weights, made_with = known.get("weights_sha256"), known.get("model")
    if (weights and weights != model.weights_hash) or (not weights and made_with != model.name):
        raise BadInput(
            "Asked for a concept map",
            f"The file was made with {made_with}{f', weights {weights}' if weights else ''}; "
            f"this is {model.name}, weights {model.weights_hash}",
            "Choose the model that it was made with, or make it again with this one",
        )
