"""`seewhy concepts`: what the network saw."""

from __future__ import annotations

from cyclopts import App

from seewhy.cli import concepts_discover, concepts_gallery

GROUP = App(name="concepts", help="What the network saw: channels, concepts, and photos that show them.")
GROUP.command(concepts_gallery.gallery)
GROUP.command(concepts_discover.discover)
