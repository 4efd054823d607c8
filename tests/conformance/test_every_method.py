"""The conformance suite over the registry: a new method is tested here without a line."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import networks
from seewhy.conformance import CHECKS, state_of
from seewhy.errors import DoesNotFit
from seewhy.methods import METHODS, Method

QUICK = {"rise": {"masks": 40}, "integrated_gradients": {"steps": 8}, "occlusion": {"window": 6, "stride": 4}}
"""Parameters that make a method quick on the small networks."""


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", networks.FAMILIES)
@pytest.mark.parametrize("name", METHODS.names())
def test_conforms(name: str, family: str, check: str) -> None:
    build, shape = networks.FAMILIES[family]
    method, net, x = METHODS[name].make(**QUICK.get(name, {})), build(), networks.batch(shape, n=3)
    if refuses(method, net, x):
        return
    CHECKS[check](method, net, x)


def refuses(method: Method, net: nn.Module, x: Tensor) -> bool:
    """Whether the method says that it cannot explain this network; it must say why and leave no trace."""
    before = state_of(net)
    try:
        method(net, x, 1)
    except DoesNotFit as error:
        refusal = error
    else:
        return False
    assert refusal.found, "it gives no reason"
    assert state_of(net) == before, "refusing left a trace"
    return True


def test_smooth_grad_conforms() -> None:
    for check in CHECKS.values():
        build, shape = networks.FAMILIES["cnn"]
        check(METHODS["gradient"].make(samples=4, times_input=True), build(), networks.batch(shape, n=3))
