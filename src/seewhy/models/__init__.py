"""What is explained: a network, its preprocessing, labels, layers and grids."""

from seewhy.models.model import Model, Prediction
from seewhy.models.outputs import Answer
from seewhy.models.preprocessing import Preprocessing

__all__ = ["Answer", "Model", "Prediction", "Preprocessing"]
