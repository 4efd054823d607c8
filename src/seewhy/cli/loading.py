"""From arguments to readable photos and a model."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.options import DEFAULT_RUN, RunOptions
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from seewhy.models.model import Model


def check_photos(paths: Sequence[Path]) -> None:
    """Read every photo once and forget it, so that a damaged one stops the command before it has begun.

    Raises
    ------
    BadInput
        For no photo, or one that cannot be read.
    """
    from seewhy.inputs.images import read_image

    if not paths:
        raise BadInput("Asked to explain photos", "No file was given", "For example: seewhy explain cat.jpg")
    for path in paths:
        read_image(path)


def load_model(spec: str, run: RunOptions = DEFAULT_RUN) -> Model:
    """Load a model where the run wants it."""
    from seewhy.models.loading import load

    # What a model's own code prints must not mix with the results. Typed at one's own command line,
    # FILE.py:FUNCTION is no more than running that file.
    with contextlib.redirect_stdout(sys.stderr):
        return load(spec, allow_code=True, device=run.device)
