"""What is shown to the model: photos, clips, and batches of them."""

from typing import TYPE_CHECKING, Any

from seewhy.inputs.images import read_image
from seewhy.inputs.photos import demo_photos

if TYPE_CHECKING:
    from seewhy.inputs.batch import Inputs

__all__ = ["Inputs", "demo_photos", "read_image"]


def __getattr__(name: str) -> Any:
    """Import the batch on first use: photos are read without torch."""
    if name == "Inputs":
        from seewhy.inputs.batch import Inputs

        return Inputs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
