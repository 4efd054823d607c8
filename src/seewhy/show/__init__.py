"""Arrays to pictures: colour maps, overlays, contact sheets, curves. Knows no model and no method."""

from seewhy.show.colour import Scale, colour_maps, colourise, describe, table
from seewhy.show.curves import Curve, plot
from seewhy.show.drawing import Look, overlay
from seewhy.show.sheet import Panel, Row, contact_sheet, heat_table
from seewhy.show.words import number, percent, text_twin

__all__ = [
    "Curve",
    "Look",
    "Panel",
    "Row",
    "Scale",
    "colour_maps",
    "colourise",
    "contact_sheet",
    "describe",
    "heat_table",
    "number",
    "overlay",
    "percent",
    "plot",
    "table",
    "text_twin",
]
