"""What is shown to the model: photos, clips, and batches of them."""

from seewhy.inputs.batch import Inputs
from seewhy.inputs.images import read_image
from seewhy.inputs.photos import demo_photos

__all__ = ["Inputs", "demo_photos", "read_image"]
