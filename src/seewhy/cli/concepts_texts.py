"""Concepts on the command line: folders of examples beside random images, or texts beside photos."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from seewhy.cli.concepts_gallery import photos_in
from seewhy.cli.concepts_options import ConceptFolder, RandomFolder, lines_of, sets_in
from seewhy.cli.options import RunOptions
from seewhy.cli.output import note, save_png
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from seewhy.concepts import TcavResult, VisualTcavResult
    from seewhy.execution import Execution
    from seewhy.models.model import Model


@Parameter(name="*")
@dataclass(frozen=True)
class ConceptOptions:
    """What concepts are made of: --concepts and --random, or --text, --encoder and --photos."""

    concepts: ConceptFolder | None = None
    random: RandomFolder | None = None
    text: Annotated[
        tuple[str, ...],
        Parameter(help="A concept by words instead of examples; give it again for another.", negative=()),
    ] = ()
    encoder: Annotated[
        str | None,
        Parameter(
            help="Of images and texts, for --text: hf:ORG/NAME or hf:FOLDER (CLIP, SigLIP), or "
            "FILE.py:FUNCTION (which runs that file and returns a DualEncoder)."
        ),
    ] = None
    photos: Annotated[
        Path | None,
        Parameter(
            help="Unlabelled photos for --text, some of which show what it says, a few hundred; folders "
            "in it are searched, too."
        ),
    ] = None
    others: Annotated[
        Path | None,
        Parameter(
            help="Text file of other texts, one a line, whose mean is taken off; the labels by default."
        ),
    ] = None
    template: Annotated[
        str, Parameter(help='What the encoder reads, with {} for a text: "a photo of something {}".')
    ] = "{}"
    top: Annotated[int, Parameter(help="Photos that stand for the examples of a text.")] = 20


DEFAULT = ConceptOptions()


def concepts_given(asked: ConceptOptions, run: RunOptions) -> Callable[[Model, Execution], tuple[Any, Any]]:
    """Check what is asked, and return what makes concepts and random images, as methods take them.

    Raises
    ------
    BadInput
        For folders and texts at once, neither, or one without what it needs.
    """
    folders = {"--concepts": asked.concepts, "--random": asked.random}
    words = {"--text": asked.text, "--encoder": asked.encoder, "--photos": asked.photos}
    do = "Give --concepts DIR and --random DIR, or --text WORDS, --encoder SPEC and --photos DIR"
    said = [name for name, value in {**folders, **words, "--others": asked.others}.items() if value]
    if asked.concepts is not None and asked.random is not None and not any((*words.values(), asked.others)):
        examples, random = sets_in(asked.concepts), sets_in(asked.random)
        return lambda _model, _execution: (examples, random)
    if any(folders.values()) or not all(words.values()):
        raise BadInput("Asked for concepts", f"Found {', '.join(said) or 'none'}", do)
    return _by_text(asked, run)


def _by_text(asked: ConceptOptions, run: RunOptions) -> Callable[[Model, Execution], tuple[Any, Any]]:
    from seewhy.concepts import text_concepts
    from seewhy.models.dual_encoder import load_dual_encoder

    assert asked.encoder is not None
    assert asked.photos is not None
    photos = photos_in(asked.photos)
    listed = lines_of(asked.others) if asked.others is not None else None
    with contextlib.redirect_stdout(sys.stderr):  # what a user's own file prints is no result
        judge = load_dual_encoder(asked.encoder, allow_code=True, device=run.device)

    def make(model: Model, execution: Execution) -> tuple[Any, Any]:
        if listed is None and not model.labels:
            raise BadInput(
                "Asked for concepts from texts",
                f"{model.name} has no labels to compare with",
                "Give --others FILE",
            )
        others = list(model.labels or ()) if listed is None else listed
        found = text_concepts(
            asked.text, photos, judge, others, template=asked.template, top=asked.top, execution=execution
        )
        for why in found.about["failures"]:
            note(f"left out: {why}")
        return found, None

    return make


def save_nearest(path: Path, found: TcavResult | VisualTcavResult) -> list[Path]:
    """Draw the photos nearest to the texts; do nothing for concepts from examples."""
    from seewhy.concepts.text_picture import nearest_picture

    if found.nearest is None:
        return []
    return [save_png(path, nearest_picture(found.provenance, found.nearest))]
