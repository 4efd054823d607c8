"""A batch as the model receives it, and where each sample came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from seewhy.errors import BadInput, NotFinite
from seewhy.types import Batch


def all_finite(t: Tensor) -> bool:
    """Tell whether a real or complex tensor holds neither NaN nor infinity.

    A finite sum proves every term finite and costs a tenth of asking each; a doubtful one is looked into.
    """
    return bool(t.sum().isfinite()) or bool(t.isfinite().all())


@dataclass(frozen=True)
class Inputs:
    """Preprocessed samples.

    Parameters
    ----------
    tensor
        `(n, c, h, w)` images or `(n, c, t, h, w)` clips, normalised as the model expects.
    names
        One name a sample: the path of its file, or `input 0`, `input 1` ... for tensors.
    """

    tensor: Batch
    names: tuple[str, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Inputs:
        """Wrap a plain tensor after checking it; a single `(c, h, w)` image becomes a batch of one.

        Raises
        ------
        BadInput
            For a tensor that is no batch of images or clips, or an empty one.
        NotFinite
            For NaN or infinity.
        """
        if tensor.ndim == 3:
            tensor = tensor[None]
        if tensor.ndim not in (4, 5) or not tensor.is_floating_point() or tensor.numel() == 0:
            raise BadInput(
                "Asked to explain a tensor",
                f"Found shape {tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}",
                "Give floating-point images (n, c, h, w) or clips (n, c, t, h, w), normalised for the model",
            )
        if not all_finite(tensor):
            raise NotFinite("Asked to explain a tensor", "Some of its values are NaN or infinite")
        return cls(tensor, tuple(f"input {i}" for i in range(len(tensor))))

    def __len__(self) -> int:
        return len(self.tensor)

    def singles(self) -> Iterator[Inputs]:
        """Yield each sample as a batch of one."""
        for i, name in enumerate(self.names):
            yield Inputs(self.tensor[i : i + 1], (name,))
