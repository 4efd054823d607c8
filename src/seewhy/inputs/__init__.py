"""What is shown to the model: photos, clips, and batches of them."""

from seewhy.inputs.batch import Inputs

__all__ = ["Inputs"]
