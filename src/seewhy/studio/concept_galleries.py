"""Files of concepts that nobody named: galleries of channels and discovered directions, with their crops."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.errors import BadInput, UnreadableInput
from seewhy.inputs.images import read_image
from seewhy.models.preprocessing import Preprocessing
from seewhy.studio.concept_boards import row
from seewhy.studio.concept_words import ABSENT, MEASURES, map_ability
from seewhy.studio.found import Below
from seewhy.studio.refusals import Refused
from seewhy.studio.schema_concepts import ConceptBoard, ConceptCard, ConceptRow, Crop, Strip
from seewhy.types import Json

_STRIPS = {
    "relevance": "Photos in which the channel has the largest part of what speaks for the class below.",
    "activation": "Photos that activate it most, whatever for.",
}
_UNFAITHFUL = 0.3
"""Error of the rebuilt score above which importances are about another network."""
_FEW = 20


def read_file(path: Path) -> Json:
    """Return the content of gallery.json or concepts.json.

    Raises
    ------
    UnreadableInput
        When it is missing or damaged.
    """
    asked = f"Asked to open {path}"
    try:
        content = json.loads(path.read_bytes())
        whole = isinstance(content if "layer" in content else content["about"], dict)
        if not whole:
            raise ValueError("it holds something else")
    except FileNotFoundError as error:
        raise UnreadableInput(asked, "There is no such file", "Check the path") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableInput(asked, f"It is damaged: {error}", "Make it again") from error
    assert isinstance(content, dict)
    return content


def gallery_board(path: Path, content: Json, below: Below) -> ConceptBoard:
    """Return a file of `seewhy concepts gallery`."""
    about = content["about"]
    rows, cards = [], []
    for channel in content["channels"]:
        name = f"channel {channel['channel']}"
        rows.append(_share(name, channel["layer"], channel["share"]))
        cards.append(
            ConceptCard(
                concept=name,
                layer=channel["layer"],
                strips=[
                    Strip(name=kind, explanation=told, crops=_crops(channel[kind], below))
                    for kind, told in _STRIPS.items()
                ],
                classes=[_share(name, channel["layer"], s, s["label"]) for s in channel["classes"]],
            )
        )
    layers = len({r.layer for r in rows})
    remarks = [
        f"{len(rows)} channels of {layers} layer{'s' * (layers != 1)} were drawn of those that matter most. "
        "Ask for others by number with --channels.",
    ]
    if content["failures"]:
        remarks.append(f"{len(content['failures'])} photos could not be read.")
    return _board(
        path,
        "gallery",
        "Gallery of channels",
        f"What channels respond to in {content['photos']:,} photos.",
        rows,
        cards,
        about["model"],
        about.get("weights_sha256", ""),
        remarks,
        {
            "photos": f"{content['photos']:,}",
            "explained": str(about.get("target", "")),
            **{k: str(v) for k, v in about.get("settings", {}).items() if not isinstance(v, dict | list)},
            "seewhy": str(about.get("seewhy", "")),
        },
    )


def discovery_board(path: Path, content: Json, below: Below) -> ConceptBoard:
    """Return a file of `seewhy concepts discover`."""
    rows, cards, layer = [], [], str(content["layer"])
    for i, concept in enumerate(content["concepts"]):
        value, margin, name = concept["importance"], concept["margin"], f"concept {i + 1}"
        low, high = (None, None) if margin is None else (max(0.0, value - margin), value + margin)
        rows.append(row(name, layer, value=value, low=low, high=high, images=content["photos"]))
        patches = Strip(
            name="patches",
            explanation="Patches of the photos that hold most of it.",
            crops=_crops(concept["patches"], below),
        )
        cards.append(ConceptCard(concept=name, layer=layer, strips=[patches], classes=[]))
    error = float(content["error"])
    remarks = [f"Rebuilt from these concepts alone, the score is off by {100 * error:.2g} % on average."]
    if error > _UNFAITHFUL:
        remarks.append("That is much: the importances are about a network that answers otherwise.")
    if content["photos"] < _FEW:
        remarks.append(
            f"{content['photos']} photos are few: intervals are wide, patches come from the same photos."
        )
    facts = {"photos": str(content["photos"]), "layer": layer, "error of the score": f"{error:.3g}"}
    return _board(
        path,
        "discovery",
        "Discovered concepts",
        f"Directions of {layer} that {content['photos']:,} photos are made up of.",
        rows,
        cards,
        content["model"],
        "",
        remarks,
        facts,
    )


def windows(content: Json, card: int, strip: int) -> Sequence[Json]:
    """Return the crops of a strip as the file has them: photo, window, value.

    Raises
    ------
    BadInput
        Where there is none.
    """
    try:
        if "channels" in content:
            found = content["channels"][card][list(_STRIPS)[strip]]
        else:
            found = content["concepts"][card]["patches"]
    except (LookupError, TypeError) as error:
        raise BadInput("Asked for a crop", f"There is no strip {strip} of card {card}") from error
    assert isinstance(found, list)
    return found


def crop(
    photo: Path, window: Sequence[Sequence[int]], preprocess: Preprocessing | None, side: int
) -> Image.Image:
    """Return a part of a photo, `side` pixels long, with more pixels than the model saw.

    Parameters
    ----------
    photo
        Path.
    window
        (top, bottom), (left, right) in pixels of the model's input.
    preprocess
        That the window belongs to; without it the whole photo is shown, as large.
    side
        Of the longer side, in pixels.
    """
    picture = read_image(photo)
    if preprocess is not None and preprocess.size is not None:
        (top, bottom), (left, right) = window
        longest = max(1, bottom - top, right - left)
        factor = min(6, max(1, math.ceil(side / longest)))
        h, w = preprocess.size
        frame = preprocess.at((h * factor, w * factor)).frame(picture)
        picture = frame.crop((left * factor, top * factor, right * factor, bottom * factor))
    picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def preprocessing_of(content: Mapping[str, Any]) -> Preprocessing | None:
    """Return the preprocessing that a file was made with, where it says so."""
    known = content.get("about", {}).get("preprocessing")
    return Preprocessing.from_json(known) if known else None


def _board(
    path: Path,
    kind: Any,
    title: str,
    summary: str,
    rows: list[ConceptRow],
    cards: list[ConceptCard],
    model: str,
    weights: str,
    remarks: list[str],
    facts: dict[str, str],
) -> ConceptBoard:
    return ConceptBoard(
        path=str(path),
        kind=kind,
        title=title,
        summary=summary,
        model=model,
        weights_sha256=weights,
        layers=list(dict.fromkeys(r.layer for r in rows)),
        concepts=list(dict.fromkeys(r.concept for r in rows)),
        targets=[],
        measure=MEASURES[kind],
        rows=rows,
        cards=cards,
        map=map_ability(kind),
        images=[],
        absent=ABSENT[kind],
        remarks=remarks,
        facts={k: v for k, v in facts.items() if v},
    )


def _share(name: str, layer: str, share: Json, target: str = "") -> ConceptRow:
    mean, margin = share["mean"], share["margin"]
    low, high = (None, None) if margin is None else (mean - margin, mean + margin)
    return row(name, layer, target=target, value=mean, low=low, high=high, images=share["inputs"])


def _crops(found: Sequence[Json], below: Below) -> list[Crop]:
    crops = []
    for each in found:
        try:
            path = below(each["photo"])
            shown = path.is_file()
        except Refused:
            shown = False
        crops.append(
            Crop(
                photo=Path(each["photo"]).name,
                shown=shown,
                path=str(path) if shown else "",
                value=each["value"],
                target=each.get("target", ""),
            )
        )
    return crops
