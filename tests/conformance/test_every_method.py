"""The conformance suite over the registry: a new method is tested here without a line."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from torch import Tensor, nn

import explainers
import networks
from seewhy.conformance import CHECKS, state_of
from seewhy.errors import DoesNotFit
from seewhy.methods import METHODS
from seewhy.methods.base import Method

QUICK = {
    "blur_ig": {"steps": 8},
    "expected_gradients": {"samples": 8},
    "extremal_perturbation": {"steps": 6, "areas": (0.2, 0.4)},
    "fido": {"steps": 4, "draws": 2},
    "guided_ig": {"steps": 8},
    "integrated_gradients": {"steps": 8},
    "kernel_shap": {"segments": "grid:3", "samples": 60},
    "lime": {"segments": "grid:3", "samples": 30},
    "meaningful_perturbation": {"steps": 4},
    "occlusion": {"window": 6, "stride": 4},
    "rise": {"masks": 40},
    "smooth_grad": {"samples": 4},
    "var_grad": {"samples": 4},
}
"""Parameters that make a method quick on the small networks."""


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", networks.FAMILIES)
@pytest.mark.parametrize("name", METHODS.names())
def test_conforms(name: str, family: str, check: str) -> None:
    if refuses(name, family):
        return
    CHECKS[check](method(name, family), *network(family))


@cache
def method(name: str, family: str) -> Method:
    """Return a quick form of a method; one that is trained gets an explainer of the family's network."""
    parameters = dict(QUICK.get(name, {}))
    if name in explainers.MADE:
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        module, x = network(family)
        if (file := explainers.MADE[name](module, x, folder / "explainer")) is not None:
            parameters["explainer"] = str(file)
    return METHODS[name].make(**parameters)


@cache
def network(family: str) -> tuple[nn.Module, Tensor]:
    """Return one network for all methods: what one leaves behind, the next would meet."""
    build, shape = networks.FAMILIES[family]
    return build(), networks.batch(shape, n=3)


@cache
def refuses(name: str, family: str) -> bool:
    """Tell whether a method says plainly that it does not fit a family: that conforms, too."""
    module, x = network(family)
    before = state_of(module)
    refusal = None
    try:
        method(name, family)(module, x, 1)
    except DoesNotFit as error:
        refusal = error
    if refusal is None:
        return False
    assert refusal.asked
    assert refusal.found
    assert state_of(module) == before
    return True


@pytest.mark.parametrize("name", METHODS.names())
def test_no_method_refuses_every_family(name: str) -> None:
    assert not all(refuses(name, family) for family in networks.FAMILIES)
