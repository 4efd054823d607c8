"""What the network saw: channels as concepts, how they make up a decision, and photos that show them."""

from seewhy.concepts.collected import Collected, Collecting, read_collected
from seewhy.concepts.collecting import collect
from seewhy.concepts.discovery import Discovered, Discovering, discover
from seewhy.concepts.exemplar import Exemplar, exemplars
from seewhy.concepts.gallery import Gallery, make_gallery
from seewhy.concepts.graph import AttributionGraph, attribution_graph
from seewhy.concepts.receptive_fields import receptive_field
from seewhy.concepts.store import FeatureStore, keep

__all__ = [
    "AttributionGraph",
    "Collected",
    "Collecting",
    "Discovered",
    "Discovering",
    "Exemplar",
    "FeatureStore",
    "Gallery",
    "attribution_graph",
    "collect",
    "discover",
    "exemplars",
    "keep",
    "make_gallery",
    "read_collected",
    "receptive_field",
]
