"""What makes the maps of a report live: their numbers, and a script that paints, let in by its hash."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

from PIL import Image

from seewhy import captions
from seewhy.bundle import built, needed
from seewhy.report.entry import Entry, title_of
from seewhy.show.exhibit import Exhibit

SCRIPT = "report/report.js"


def possible() -> bool:
    """Return whether the script was built."""
    return built(SCRIPT) is not None


def script() -> tuple[str, str]:
    """Return the script as an HTML element, and the source that a policy lets it in by.

    Raises
    ------
    BadInput
        Where it was not built.
    """
    code = needed(SCRIPT, "Asked for a report whose maps are interactive").read_text(encoding="utf-8")
    code = code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return f'<script type="module">{code}</script>', f"'sha256-{digest}'"


def numbers(entry: Entry) -> str:
    """Return an input's photo and maps as a block of data for the script; nothing for a clip."""
    first = entry.attributions[0]
    if first.values.ndim != 3:
        return ""
    content = {
        "name": entry.name,
        "photo": _picture(first.exhibit()),
        "maps": [
            {
                **_packed(a.exhibit().plain()),
                "title": title_of(a.provenance["method"]),
                "caption": _lines(a.provenance),
            }
            for a in entry.attributions
        ],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" data-exhibit>{text}</script>'


def _lines(notes: dict[str, Any]) -> list[str]:
    layer = f"Layer {notes['layer']}" if notes.get("layer") else ""
    return [line for line in (layer, captions.cost(notes), captions.reliability(notes)) if line]


def _packed(plain: dict[str, Any]) -> dict[str, Any]:
    def text(array: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if array is None else {**array, "data": base64.b64encode(array["data"]).decode()}

    kept = {key: plain[key] for key in ("signed", "unit", "text")}
    return {**kept, "values": text(plain["values"]), "native": text(plain["native"])}


def _picture(exhibit: Exhibit) -> str:
    buffer = io.BytesIO()
    Image.fromarray(exhibit.rgb).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
