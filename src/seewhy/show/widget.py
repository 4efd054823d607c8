"""Maps in a notebook: an anywidget whose page paints them, so that looks, probe and zoom need no kernel.

Arrays travel as buffers: float16 numbers and their factor, as everywhere between Python and a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from seewhy.bundle import needed
from seewhy.errors import BadInput, UnknownName
from seewhy.extras import optional
from seewhy.show.colour import colour_maps
from seewhy.show.drawing import MODES
from seewhy.show.exhibit import Exhibit

LOOKS = ("mode", "opacity", "cmap", "grey", "sign", "clip", "smooth", "fade")
SIGNS = ("both", "for", "against", "size")
ASKED = "Asked for the interactive view of a notebook"


def widget(exhibits: Sequence[Exhibit], look: Mapping[str, Any] | None = None) -> Any:
    """Return an `anywidget.AnyWidget` that shows one exhibit at a time.

    Its traits are read and written from either side: `sample` (which one), `look` (mode, opacity, cmap,
    grey, sign, clip, smooth, fade: those that are not the defaults), `threshold` (share of the area that is
    outlined) and `pinned` (`{"x": column, "y": row}`, or `{}`).

    Raises
    ------
    MissingExtra
        Without anywidget.
    BadInput
        For a look that does not exist, or where the front end was not built.
    """
    _check(look or {})
    esm = needed("widget/widget.js", ASKED).read_text(encoding="utf-8")
    return _class(esm)(samples=[e.plain() for e in exhibits], look=dict(look or {}))


def _check(look: Mapping[str, Any]) -> None:
    for key in look:
        if key not in LOOKS:
            raise UnknownName("way to draw", key, LOOKS)
    chosen: tuple[tuple[str, Sequence[str]], ...] = (
        ("mode", (*MODES, "photo")),
        ("sign", SIGNS),
        ("cmap", colour_maps()),
    )
    for key, known in chosen:
        if (name := look.get(key)) is not None and name not in known:
            raise UnknownName(key, str(name), known)
    for key, low, high in (("opacity", 0.0, 1.0), ("clip", 0.5, 1.0), ("fade", 0.01, 10.0)):
        if (value := look.get(key)) is not None and not low <= value <= high:
            raise BadInput(
                f"Asked for the {key} of a map", f"Found {value}", f"Give a number from {low:g} to {high:g}"
            )


@cache
def _class(esm: str) -> Any:
    install = "pip install 'seewhy[notebook]'"
    anywidget = optional("anywidget", "anywidget", ASKED, install)
    traitlets = optional("traitlets", "traitlets", ASKED, install)

    class MapWidget(anywidget.AnyWidget):  # type: ignore[misc, name-defined]
        """Maps over their photos, painted by the page."""

        _esm = esm
        samples = traitlets.List(traitlets.Dict()).tag(sync=True)
        sample = traitlets.Int(0).tag(sync=True)
        look = traitlets.Dict().tag(sync=True)
        threshold = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
        pinned = traitlets.Dict().tag(sync=True)

    return MapWidget
