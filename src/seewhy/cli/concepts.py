"""`seewhy concepts`: what the network saw."""

from __future__ import annotations

from cyclopts import App

from seewhy.cli import (
    concepts_cav,
    concepts_discover,
    concepts_dissect,
    concepts_gallery,
    concepts_name,
    concepts_tcav,
    concepts_visual_tcav,
    concepts_visualise,
)

GROUP = App(name="concepts", help="What the network saw: channels, concepts, and photos that show them.")
GROUP.command(concepts_cav.cav)
GROUP.command(concepts_tcav.tcav)
GROUP.command(concepts_visual_tcav.visual_tcav)
GROUP.command(concepts_gallery.gallery)
GROUP.command(concepts_discover.discover)
GROUP.command(concepts_dissect.dissect)
GROUP.command(concepts_name.name)
GROUP.command(concepts_visualise.visualise)
