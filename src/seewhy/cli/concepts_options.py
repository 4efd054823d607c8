"""What the commands about concepts share: folders in, tables out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from seewhy.errors import BadInput, MissingExtra, UnreadableInput

if TYPE_CHECKING:
    from seewhy.concepts import ImageSet
    from seewhy.types import Json

# As in seewhy.concepts, whose import would bring torch into every `seewhy --help`.
Solver: TypeAlias = Literal["difference_of_means", "lda", "logistic"]
Pool: TypeAlias = Literal["mean", "none"]
Correction: TypeAlias = Literal["holm", "bonferroni", "benjamini_hochberg", "none"]
ConceptFolder: TypeAlias = Annotated[
    Path, Parameter(help="Folder of concepts: one sub-folder of example images each, named after it.")
]
RandomFolder: TypeAlias = Annotated[
    Path, Parameter(help="Folder of images of nothing in particular, or of sub-folders of such.")
]
LayerNames: TypeAlias = Annotated[
    str | None,
    Parameter(help="Layers separated by commas; `seewhy layers` lists them. The last that fits by default."),
]
Parquet: TypeAlias = Annotated[
    bool, Parameter(negative=(), help="Write the numbers as parquet, too; needs pyarrow.")
]


def layers_of(names: str | None) -> tuple[str, ...] | None:
    """Return the layers that a comma-separated list names."""
    return None if names is None else tuple(n.strip() for n in names.split(",") if n.strip())


def sets_in(folder: Path) -> tuple[ImageSet, ...]:
    """Return the sets of a folder, every photo of them read once, so that a damaged one is said at once.

    Raises
    ------
    BadInput
        For a folder without photos, or a photo that cannot be read.
    """
    from seewhy.concepts import read_sets
    from seewhy.inputs.images import read_image

    found = read_sets(folder)
    for images in found:
        for path in images.source:
            read_image(path)
    return found


def lines_of(file: Path) -> list[str]:
    """Return the lines of a text file, each once, without empty ones.

    Raises
    ------
    UnreadableInput
        For a file that cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"Asked for the words in {file}", f"It cannot be read: {error}") from error
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def check_parquet(wanted: bool) -> None:
    """Raise `MissingExtra` where parquet is wanted and pyarrow is not installed."""
    from importlib.util import find_spec

    if wanted and find_spec("pyarrow") is None:
        raise MissingExtra("Asked for numbers as parquet", "pyarrow", "pip install 'seewhy[scale]'")


def write_parquet(path: Path, rows: Sequence[Json]) -> Path:
    """Write rows of one shape as a parquet file, whole or not at all.

    Raises
    ------
    BadInput
        For no row.
    """
    import pyarrow
    from pyarrow import parquet

    from seewhy.files import write_atomically

    if not rows:
        raise BadInput("Asked for numbers as parquet", "There is none")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), buffer)
    write_atomically(path, buffer.getvalue())
    return path
