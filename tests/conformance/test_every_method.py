"""The conformance suite over the registry: a new method is tested here without a line."""

from __future__ import annotations

from functools import cache

import pytest

import networks
from seewhy.conformance import CHECKS, state_of
from seewhy.errors import DoesNotFit
from seewhy.methods import METHODS

QUICK = {
    "blur_ig": {"steps": 8},
    "expected_gradients": {"samples": 8},
    "guided_ig": {"steps": 8},
    "integrated_gradients": {"steps": 8},
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
    build, shape = networks.FAMILIES[family]
    CHECKS[check](METHODS[name].make(**QUICK.get(name, {})), build(), networks.batch(shape, n=3))


@cache
def refuses(name: str, family: str) -> bool:
    """Tell whether a method says plainly that it does not fit a family: that conforms, too."""
    build, shape = networks.FAMILIES[family]
    module = build()
    before = state_of(module)
    refusal = None
    try:
        METHODS[name].make(**QUICK.get(name, {}))(module, networks.batch(shape, n=3), 1)
    except DoesNotFit as error:
        refusal = error
    if refusal is None:
        return False
    assert refusal.asked
    assert refusal.found
    assert state_of(module) == before
    return True
