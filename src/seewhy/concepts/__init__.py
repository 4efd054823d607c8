"""What the network saw: concepts from example images, tested, located and attributed."""

from seewhy.concepts.sets import ImageSet, read_sets
from seewhy.concepts.tcav import TCAV, sensitivities, tcav_scores
from seewhy.concepts.tcav_result import TcavResult, TcavRow

__all__ = [
    "TCAV",
    "ImageSet",
    "TcavResult",
    "TcavRow",
    "read_sets",
    "sensitivities",
    "tcav_scores",
]
