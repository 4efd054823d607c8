"""Inpainting by OpenCV: Telea's fast marching and the Navier-Stokes transport of Bertalmio et al.

Both continue what is around a hole into it. Channels and frames are filled one by one, on the CPU, on a scale
that takes the range of the sample to 0 .. 255, for which OpenCV's constants are made. A mask counts as hidden
below one half; a frame of which nothing is left becomes 0, the mean colour.

Papers: Telea, An Image Inpainting Technique Based on the Fast Marching Method, 2004,
https://doi.org/10.1080/10867651.2004.10487596; Bertalmio, Bertozzi, Sapiro, Navier-Stokes, Fluid Dynamics,
and Image and Video Inpainting, CVPR 2001, https://doi.org/10.1109/CVPR.2001.990497.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import BadInput, MissingExtra
from seewhy.perturb.edits import Filler
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question


@dataclass(frozen=True)
class _Inpaint(MaskOperator):
    """What the two share; `percent` is the reach around a pixel, of the shorter side."""

    percent: float = 2.0

    def __post_init__(self) -> None:
        if self.percent <= 0:
            raise BadInput(
                f"Asked for the operator {self.name!r}",
                f"Found a reach of {self.percent:g} percent",
                "Give more than 0",
            )

    @abstractmethod
    def flag(self, cv2: Any) -> int:
        """Return OpenCV's name of the algorithm."""

    def behind(self, question: Question) -> Filler:
        """See `Operator.behind`.

        Raises
        ------
        MissingExtra
            When OpenCV is not installed.
        """
        try:
            cv2 = importlib.import_module("cv2")
        except ImportError as error:
            raise MissingExtra(
                f"Asked for the operator {self.name!r}",
                "opencv-python-headless",
                "pip install 'seewhy[video]'",
            ) from error
        reach = max(1.0, self.percent / 100 * min(question.x.shape[-2:]))
        flag = self.flag(cv2)

        def fill(x: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
            least, most = x.flatten(1).amin(1), x.flatten(1).amax(1)
            span = torch.where(most > least, most - least, 1.0).reshape(-1, *[1] * (x.ndim - 1)) / 255
            least = least.reshape(span.shape)
            hidden = (keep < 0.5).expand_as(x).flatten(0, -3).cpu().numpy().astype(np.uint8)
            frames = ((x - least) / span).float().flatten(0, -3).cpu().numpy()
            filled = [
                frame if not hole.any() else cv2.inpaint(frame, hole, reach, flag)
                for frame, hole in zip(frames, hidden, strict=True)
            ]
            picture = torch.from_numpy(np.stack(filled)).reshape(x.shape).to(x) * span + least
            known = (keep >= 0.5).flatten(-2).any(-1)[..., None, None]
            return torch.where(known, picture, 0.0)

        return fill


@OPERATORS.register
@dataclass(frozen=True)
class Telea(_Inpaint):
    """Fast marching: from the rim inwards, each pixel a weighted mean of what is known around it."""

    name: ClassVar[str] = "telea"

    def flag(self, cv2: Any) -> int:
        """See `_Inpaint.flag`."""
        return int(cv2.INPAINT_TELEA)


@OPERATORS.register
@dataclass(frozen=True)
class NavierStokes(_Inpaint):
    """Transport along lines of equal brightness, as a fluid would."""

    name: ClassVar[str] = "navier-stokes"

    def flag(self, cv2: Any) -> int:
        """See `_Inpaint.flag`."""
        return int(cv2.INPAINT_NS)
