"""What the network saw: concepts from example images, tested, located and attributed."""

from seewhy.concepts.cav import CAV, ConceptVectors, Direction
from seewhy.concepts.sets import ImageSet, read_sets
from seewhy.concepts.tcav import TCAV, sensitivities, tcav_scores
from seewhy.concepts.tcav_result import TcavResult, TcavRow
from seewhy.concepts.visual_result import GlobalRow, LayerFindings, VisualTcavResult
from seewhy.concepts.visual_tcav import VisualTCAV

__all__ = [
    "CAV",
    "TCAV",
    "ConceptVectors",
    "Direction",
    "GlobalRow",
    "ImageSet",
    "LayerFindings",
    "TcavResult",
    "TcavRow",
    "VisualTCAV",
    "VisualTcavResult",
    "read_sets",
    "sensitivities",
    "tcav_scores",
]
