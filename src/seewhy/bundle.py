"""The front end as it was built: the studio's page, the notebook widget, the report's script."""

from __future__ import annotations

from pathlib import Path

from seewhy.errors import BadInput

BUNDLE = Path(__file__).parent / "studio" / "bundle"
"""Where the build puts it; wheels contain it, a fresh clone does not."""


def built(name: str) -> Path | None:
    """Return the path of a file of the front end, "widget/widget.js", or None where it was not built."""
    path = BUNDLE / name
    return path if path.is_file() else None


def needed(name: str, asked: str) -> Path:
    """Return the path of a file of the front end.

    Raises
    ------
    BadInput
        Where it was not built, with how to build it.
    """
    path = built(name)
    if path is None:
        raise BadInput(
            asked,
            f"The front end was not built: {name} is missing",
            "Run `make web` in a clone of the repository, or install a wheel, which contains it",
        )
    return path
