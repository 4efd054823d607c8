"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seewhy.errors import BadInput


def writable_folder(path: str | Path) -> Path:
    """Return `path` as a folder that exists and can be written, making it where it is missing.

    Raises
    ------
    BadInput
        When it is a file, or permission is missing.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInput(
            f"Asked to write into {folder}",
            f"It cannot be written: {error.strerror or error}",
            "Choose another folder",
        ) from error
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary neighbour and rename it to `path`.

    Raises
    ------
    BadInput
        When the folder cannot be written.
    """
    writable_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return one file stem a path; one that is taken, in whatever letter case, gets -2, -3 ..."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, count = path.stem or "input", 2
        while name.casefold() in taken:
            name, count = f"{path.stem}-{count}", count + 1
        taken.add(name.casefold())
        names.append(name)
    return names
