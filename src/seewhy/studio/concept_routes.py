"""Routes of the concept view. Files are read when asked for; maps are made on the model's own thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool

from seewhy.errors import BadInput, UnreadableInput
from seewhy.studio.found import Below, concepts_below, content_of, kind_of, kind_of_content
from seewhy.studio.packing import pack, webp
from seewhy.studio.schema_concepts import ConceptBoard, ConceptFile, ConceptMap, ConceptMapRequest, ConceptRow
from seewhy.studio.session import Studio

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from seewhy.concepts.visual_result import VisualTcavResult
    from seewhy.models.model import Model
    from seewhy.models.preprocessing import Preprocessing
    from seewhy.studio.sources import Sources

router = APIRouter(prefix="/api/concepts")
PathText = Annotated[str, Query(max_length=4096)]
Count = Annotated[int, Query(ge=0, le=100_000)]
SIDE = 192
"""Pixels of a crop's longer side."""
TITLES = {
    "cav": "Concept vectors",
    "tcav": "TCAV",
    "visual_tcav": "Visual-TCAV",
    "gallery": "Gallery of channels",
    "discovery": "Discovered concepts",
}


@router.get("")
def files(studio: Studio) -> list[ConceptFile]:
    """The files about concepts below the roots, the newest first."""
    found = concepts_below([root for _, root in studio.sources.roots])
    return [_entry(path) for path in found]


@router.get("/board")
def board(studio: Studio, path: PathText) -> ConceptBoard:
    """One file about concepts."""
    return read_board(_file(studio.sources, path), studio.sources.inside)


@router.get("/local")
def local(studio: Studio, path: PathText, image: Count) -> list[ConceptRow]:
    """How much each concept adds to the answer for one photo of a Visual-TCAV file."""
    from seewhy.studio.concept_boards import local_rows

    return local_rows(_visual(_file(studio.sources, path), image), image)


@router.get("/photo", response_class=Response)
def photo(studio: Studio, path: PathText, image: Count) -> Response:
    """A photo of a Visual-TCAV file as the model saw it."""
    from PIL import Image

    found = _visual(_file(studio.sources, path), image)
    return _webp(Image.fromarray(found.pixels[image].permute(1, 2, 0).numpy()))


@router.get("/crop", response_class=Response)
async def crop(
    studio: Studio,
    path: PathText,
    card: Count,
    strip: Count,
    place: Count,
    model: Annotated[str, Query(max_length=256)] = "",
) -> Response:
    """A crop of a gallery or discovery; where the file does not say how photos were cut, `model` does."""
    from seewhy.studio import concept_galleries as galleries

    file = _file(studio.sources, path)
    content = galleries.read_file(file)
    found = galleries.windows(content, card, strip)
    if place >= len(found):
        raise BadInput(f"Asked for crop {place}", f"There are {len(found)}", "They count from 0")
    preprocess = galleries.preprocessing_of(content)
    if preprocess is None and model:
        known = await studio.networks[model].ready()
        preprocess = _same(known, str(content.get("model", "")))
    shown, window = studio.sources.inside(found[place]["photo"]), found[place]["window"]
    return _webp(await run_in_threadpool(galleries.crop, shown, window, preprocess, SIDE))


@router.post("/map")
async def map_(studio: Studio, asked: ConceptMapRequest) -> ConceptMap:
    """Where in a photo of the session a concept is."""
    from seewhy.studio.concept_maps_here import concept_here
    from seewhy.studio.concept_words import map_ability

    file, shown = _file(studio.sources, asked.path), studio.sources.path(asked.image)
    network = studio.networks[asked.model]
    made = await network.call(lambda known: concept_here(known, shown, file, asked.layer, asked.concept))
    return ConceptMap(
        values=pack(made.values),
        native=pack(made.native),
        signed=made.signed,
        unit=map_ability(kind_of(file)).unit,
        text=sentence(asked.concept, asked.layer, made.native),
        remark=made.remark,
    )


def read_board(file: Path, check: Below) -> ConceptBoard:
    """Return a file about concepts as the page shows it.

    Raises
    ------
    UnreadableInput
        For any other file, or a damaged one.
    """
    try:
        return _board(file, check)
    except (LookupError, TypeError, AttributeError, ArithmeticError, AssertionError) as error:
        raise UnreadableInput(
            f"Asked for the concepts in {file}",
            f"It is damaged, or of another version: {type(error).__name__} {error}"[:300],
            "Make it again",
        ) from error


def _board(file: Path, check: Below) -> ConceptBoard:
    from seewhy.concepts.cav import ConceptVectors
    from seewhy.concepts.tcav_result import TcavResult
    from seewhy.concepts.visual_result import VisualTcavResult
    from seewhy.studio.concept_boards import tcav_board, vectors_board, visual_board
    from seewhy.studio.concept_galleries import discovery_board, gallery_board, read_file

    match kind_of(file):
        case "cav":
            return vectors_board(file, ConceptVectors.open(file))
        case "tcav":
            return tcav_board(file, TcavResult.open(file))
        case "visual_tcav":
            return visual_board(file, VisualTcavResult.open(file))
        case "gallery":
            return gallery_board(file, read_file(file), check)
        case "discovery":
            return discovery_board(file, read_file(file), check)
        case _:
            raise UnreadableInput(
                f"Asked for the concepts in {file}",
                "It is no file that `seewhy concepts` wrote",
                "Choose a .json file that it wrote",
            )


def sentence(concept: str, layer: str, native: Tensor) -> str:
    """Return where a concept is strongest, in words."""
    from seewhy.show.words import number

    rows, columns = native.shape
    at = int(native.argmax())
    top, left = divmod(at, columns)
    value = float(native.flatten()[at])
    if value <= 0:
        return f"{concept} is nowhere in this photo, as {layer} sees it."
    down = ("top", "middle", "bottom")[min(2, 3 * top // rows)]
    across = ("left", "centre", "right")[min(2, 3 * left // columns)]
    where = f"cell {top + 1}, {left + 1} of {rows} x {columns}"
    return f"{concept} is strongest at the {down} {across}: {number(value)} in {where}."


def _file(sources: Sources, path: str) -> Path:
    """Return a file below the roots; its neighbour of tensors may be no link out of them."""
    file = sources.inside(path)
    if file.is_dir():
        raise BadInput(f"Asked for the concepts in {file}", "It is a folder", "Choose a .json file in it")
    tensors = file.with_suffix(".safetensors")
    if tensors.is_symlink():
        sources.inside(str(tensors))
    return file


def _visual(file: Path, image: int) -> VisualTcavResult:
    from seewhy.concepts.visual_result import VisualTcavResult

    if kind_of(file) != "visual_tcav":
        raise BadInput(
            "Asked what concepts add to one photo",
            f"{file.name} does not say",
            "seewhy concepts visual-tcav PHOTOS --concepts CONCEPTS-FOLDER --random RANDOM-FOLDER",
        )
    found = VisualTcavResult.open(file)
    if image >= len(found):
        raise BadInput(f"Asked for photo {image}", f"There are {len(found)}", "They count from 0")
    return found


def _same(model: Model, name: str) -> Preprocessing | None:
    return model.preprocess if model.name == name else None


def _entry(path: Path) -> ConceptFile:
    content = content_of(path)
    kind = kind_of_content(content)
    assert kind, "only files of a kind are found"
    about = content.get("about")
    model = content.get("model") or (about.get("model", "") if isinstance(about, dict) else "")
    return ConceptFile(
        path=str(path),
        folder=path.parent.name,
        kind=kind,
        title=TITLES[kind],
        model=str(model),
        modified=path.stat().st_mtime,
    )


def _webp(picture: Image) -> Response:
    return Response(
        webp(picture.convert("RGB"), 85), media_type="image/webp", headers={"cache-control": "private"}
    )
