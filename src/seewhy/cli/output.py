"""What a command says and writes: results to stdout, notes to stderr, files whole or not at all."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.errors import BadInput
from seewhy.files import write_atomically


def print_json(content: Any) -> None:
    """Print `content` on stdout as one JSON document; NaN and infinity become null, which JSON has."""
    print(json.dumps(_finite(content), indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table on stdout, wide where it goes into a file or pipe."""
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def console() -> Console:
    """Return the console of the results."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    print(f"seewhy: {text}", file=sys.stderr)


def check_writable(folder: Path) -> None:
    """Raise `BadInput` where `folder` could not be made or written, without making it.

    Asked before any work, so that a request which fails later leaves no empty folder.
    """
    place = next((p for p in (folder, *folder.absolute().parents) if p.exists() or p.is_symlink()), None)
    asked, do = f"Asked to write into {folder}", "Choose another folder"
    if place is None or not place.is_dir():
        raise BadInput(asked, f"{place} is not a folder", do)
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(asked, f"{place} cannot be written", do)


def save_png(path: Path, picture: Any) -> Path:
    """Write a PIL image, whole or not at all."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
    return path


def percent(probability: float) -> str:
    """Return 0.3807 as "38.1 %"."""
    return f"{100 * probability:.1f} %"


def _finite(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, dict):
        return {str(k): _finite(v) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(v) for v in content]
    return content
