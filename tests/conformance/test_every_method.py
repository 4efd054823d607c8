"""The conformance suite over the registry: a new method is tested here without a line."""

from __future__ import annotations

import pytest

import networks
from seewhy.conformance import CHECKS
from seewhy.methods import METHODS

QUICK = {
    "rise": {"masks": 40},
    "integrated_gradients": {"steps": 8},
    "occlusion": {"window": 6, "stride": 4},
    "extremal_perturbation": {"steps": 6, "areas": (0.2, 0.4)},
    "meaningful_perturbation": {"steps": 4},
    "fido": {"steps": 4, "draws": 2},
    "kernel_shap": {"segments": "grid:3", "samples": 60},
    "lime": {"segments": "grid:3", "samples": 30},
}
"""Parameters that make a method quick on the small networks."""


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", networks.FAMILIES)
@pytest.mark.parametrize("name", METHODS.names())
def test_conforms(name: str, family: str, check: str) -> None:
    build, shape = networks.FAMILIES[family]
    CHECKS[check](METHODS[name].make(**QUICK.get(name, {})), build(), networks.batch(shape, n=3))


def test_smooth_grad_conforms() -> None:
    for check in CHECKS.values():
        build, shape = networks.FAMILIES["cnn"]
        check(METHODS["gradient"].make(samples=4, times_input=True), build(), networks.batch(shape, n=3))
