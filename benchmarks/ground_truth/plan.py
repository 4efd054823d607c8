"""What each method is asked with: its defaults, or fewer passes so that the study ends in half an hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from seewhy.methods.base import METHODS, Method


@dataclass(frozen=True)
class Plan:
    """How one method takes part.

    Parameters
    ----------
    parameters
        Other than the defaults.
    share
        Of a setting's samples, from the first on.
    """

    parameters: dict[str, object] = field(default_factory=dict)
    share: float = 1.0

    def method(self, name: str) -> Method:
        """Return the method with the plan's parameters."""
        return METHODS[name].make(**self.parameters)

    def samples(self, available: int) -> int:
        """Return how many of the samples are asked, at least 8 where there are so many."""
        return min(available, max(8, ceil(self.share * available)))


def photos(layer: str) -> dict[str, Plan]:
    """Return the plans for ImageNet networks on 224 x 224 composites.

    Parameters
    ----------
    layer
        A layer with fewer channels than the default one, for methods with a full pass a channel.
    """
    most, quarter, sixth = 3 / 4, 1 / 4, 1 / 6
    return {
        "smooth_grad": Plan({"samples": 6}, quarter),
        "var_grad": Plan({"samples": 6}, quarter),
        "integrated_gradients": Plan({"steps": 8}, quarter),
        "expected_gradients": Plan({"samples": 8}, quarter),
        "blur_ig": Plan({"steps": 8}, quarter),
        "guided_ig": Plan({"steps": 10}, quarter),
        "occlusion": Plan({"window": 64, "stride": 32}, quarter),
        "rise": Plan({"masks": 120}, quarter),
        "lime": Plan({"segments": "grid:6", "samples": 250}, 1 / 2),
        "kernel_shap": Plan({"segments": "grid:5", "samples": 80}, quarter),
        "ablation_cam": Plan({}, quarter),
        "fd_cam": Plan({}, quarter),
        "vit_cx": Plan({"distance": 0.4}, quarter),
        "score_cam": Plan({"layer": layer}, most),
        "abs_cam": Plan({"layer": layer}, most),
        "sidu": Plan({"layer": layer}, most),
        "extremal_perturbation": Plan({"steps": 30, "rate": 0.1, "smooth": 0.09}, sixth),
        "meaningful_perturbation": Plan({"steps": 30}, sixth),
        "fido": Plan({"steps": 20, "draws": 2}, sixth),
    }


SMALL = {
    "blur_ig": Plan({"steps": 20}),
    "expected_gradients": Plan({"samples": 20}),
    "extremal_perturbation": Plan({"areas": (0.05,), "steps": 60, "rate": 0.05, "smooth": 0.09}, 0.3),
    "fido": Plan({"steps": 40, "draws": 2, "cells": 16}, 0.3),
    "guided_ig": Plan({"steps": 30}),
    "integrated_gradients": Plan({"steps": 20}),
    "kernel_shap": Plan({"segments": "grid:8", "samples": 200}, 0.5),
    "lime": Plan({"segments": "grid:8", "samples": 200}, 0.5),
    "meaningful_perturbation": Plan({"steps": 60, "cells": 16}, 0.3),
    "occlusion": Plan({"window": 12, "stride": 4}),
    "rise": Plan({"masks": 400, "cells": 8}, 0.5),
    "smooth_grad": Plan({"samples": 20}),
    "var_grad": Plan({"samples": 20}),
}
"""The plans for the small networks on 64 x 64 pictures."""
