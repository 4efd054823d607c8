"""What the network saw: concepts from examples, channels as concepts, and photos that show them."""

from seewhy.concepts.along import Along
from seewhy.concepts.cav import CAV, ConceptVectors, Direction
from seewhy.concepts.collected import Collected, Collecting, read_collected
from seewhy.concepts.collecting import collect
from seewhy.concepts.discovery import Discovered, Discovering, discover
from seewhy.concepts.dissection import Dissecting, dissect
from seewhy.concepts.dissection_result import Dissection, Unit
from seewhy.concepts.exemplar import Exemplar, exemplars
from seewhy.concepts.feature_visualisation import FeatureVisualisation
from seewhy.concepts.gallery import Gallery, make_gallery
from seewhy.concepts.graph import AttributionGraph, attribution_graph
from seewhy.concepts.maco import MACO
from seewhy.concepts.naming import NameSettings, name_channels
from seewhy.concepts.naming_result import Name, Naming
from seewhy.concepts.receptive_fields import receptive_field
from seewhy.concepts.sets import ImageSet, read_sets
from seewhy.concepts.store import FeatureStore, keep
from seewhy.concepts.tcav import TCAV, sensitivities, tcav_scores
from seewhy.concepts.tcav_result import TcavResult, TcavRow
from seewhy.concepts.texts import TextConcepts, text_concepts
from seewhy.concepts.visual_result import GlobalRow, LayerFindings, VisualTcavResult
from seewhy.concepts.visual_tcav import VisualTCAV
from seewhy.concepts.visualised import Visualisation, Visualised

__all__ = [
    "CAV",
    "MACO",
    "TCAV",
    "Along",
    "AttributionGraph",
    "Collected",
    "Collecting",
    "ConceptVectors",
    "Direction",
    "Discovered",
    "Discovering",
    "Dissecting",
    "Dissection",
    "Exemplar",
    "FeatureStore",
    "FeatureVisualisation",
    "Gallery",
    "GlobalRow",
    "ImageSet",
    "LayerFindings",
    "Name",
    "NameSettings",
    "Naming",
    "TcavResult",
    "TcavRow",
    "TextConcepts",
    "Unit",
    "VisualTCAV",
    "VisualTcavResult",
    "Visualisation",
    "Visualised",
    "attribution_graph",
    "collect",
    "discover",
    "dissect",
    "exemplars",
    "keep",
    "make_gallery",
    "name_channels",
    "read_collected",
    "read_sets",
    "receptive_field",
    "sensitivities",
    "tcav_scores",
    "text_concepts",
]
