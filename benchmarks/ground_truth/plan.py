"""What each method is asked with: its own defaults, or fewer passes so that the study ends in half an hour."""

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
    third, fifth = 1 / 3, 1 / 5
    return {
        "smooth_grad": Plan({"samples": 8}, third),
        "var_grad": Plan({"samples": 8}, third),
        "integrated_gradients": Plan({"steps": 10}, third),
        "expected_gradients": Plan({"samples": 10}, third),
        "blur_ig": Plan({"steps": 10}, third),
        "guided_ig": Plan({"steps": 15}, third),
        "occlusion": Plan({"window": 56, "stride": 28}, third),
        "rise": Plan({"masks": 150}, third),
        "lime": Plan({"samples": 100}, third),
        "kernel_shap": Plan({"samples": 100}, third),
        "ablation_cam": Plan({}, third),
        "fd_cam": Plan({}, third),
        "vit_cx": Plan({}, fifth),
        "score_cam": Plan({"layer": layer}, fifth),
        "abs_cam": Plan({"layer": layer}, fifth),
        "sidu": Plan({"layer": layer}, fifth),
        "extremal_perturbation": Plan({"steps": 50, "rate": 0.05, "smooth": 0.09}, fifth),
        "meaningful_perturbation": Plan({"steps": 40}, fifth),
        "fido": Plan({"steps": 20, "draws": 2}, fifth),
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
