"""Optional packages: imported on use, and told in one voice where they are missing."""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from seewhy.errors import MissingExtra


def optional(module: str, package: str, asked: str, install: str) -> ModuleType:
    """Import an optional package; the warnings of its import are its own affair.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    if find_spec(module.partition(".")[0]) is None:
        raise MissingExtra(asked, package, install)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def packaged_file(module: str, file: str, package: str, asked: str, install: str) -> Path:
    """Return the path of a file inside an installed package, which is not imported.

    Raises
    ------
    MissingExtra
        When the package, or the file in it, is not there.
    """
    spec = find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(place) / file).is_file():
            return Path(place) / file
    raise MissingExtra(asked, package, install)
