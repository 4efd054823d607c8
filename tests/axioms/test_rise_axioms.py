"""What RISE must find on models whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.execution import Execution
from seewhy.methods.masking.mask_sums import Estimator
from seewhy.methods.masking.rise import RISE
from seewhy.models.model import Model
from seewhy.perturb import mask_components
from seewhy.perturb.masks import shift_matrices
from seewhy.targets import Output

SIZE, CELLS, MASKS = 12, 3, 6000
FEW = 200


class Linear(nn.Module):
    """`f(x) = sum of weights * x`, plus a constant."""

    def __init__(self, weights: Tensor, constant: float) -> None:
        super().__init__()
        self.weights, self.constant = nn.Parameter(weights), constant

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weights).flatten(1).sum(1, keepdim=True) + self.constant


def covariance(keep: float) -> Tensor:
    """`(pixels, pixels)` covariance of a random mask, over all bits and shifts."""
    matrices = shift_matrices(SIZE, CELLS)
    along = torch.einsum("uac,ubc->ab", matrices, matrices) / len(matrices)
    return keep * (1 - keep) * torch.einsum("ab,cd->acbd", along, along).reshape(SIZE**2, SIZE**2)


def misses(seed: int, estimator: Estimator, keep: float, masks: int = MASKS) -> float:
    """Return the largest distance from the expectation, in standard errors of `centred`."""
    generator = torch.Generator().manual_seed(seed)
    x, weights = torch.randn(2, 1, 3, SIZE, SIZE, generator=generator)
    method = RISE(masks=masks, cells=CELLS, keep=keep, estimator=estimator)
    found = method(
        Model(Linear(weights[0], 3.0), kind="regression"), x, Output(), Execution(seed=seed, precision="fp32")
    ).values[0]
    contribution = (x * weights)[0].sum(0).flatten().double()
    wanted = (covariance(keep) @ contribution / keep).reshape(SIZE, SIZE)
    spread = (
        (contribution @ covariance(keep) @ contribution).sqrt() * covariance(keep).diag().sqrt().max() / keep
    )
    return float((found - wanted).abs().max() / (spread / masks**0.5))


@given(seed=st.integers(0, 10**6), keep=st.sampled_from([0.3, 0.5, 0.7]))
def test_centred_rise_of_a_linear_model_is_the_covariance_with_its_contributions(
    seed: int, keep: float
) -> None:
    assert misses(seed, "centred", keep) < 6


@given(seed=st.integers(0, 10**6), keep=st.sampled_from([0.3, 0.5, 0.7]))
def test_regressed_rise_of_a_linear_model_is_that_covariance_with_few_masks(seed: int, keep: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_components, "SHARE", 1 - 1e-9)  # no component left to `centred`
        assert misses(seed, "regressed", keep, FEW) < 0.02


def test_centred_rise_needs_many_masks_for_it() -> None:
    assert min(misses(seed, "centred", 0.5, FEW) for seed in range(5)) > 0.5
    assert max(misses(seed, "regressed", 0.5, FEW) for seed in range(5)) < 0.5


def test_what_is_not_centred_misses() -> None:
    assert misses(0, "published", 0.5) > 20
    assert misses(0, "normalised", 0.5) > 20


@given(seed=st.integers(0, 10**6), constant=st.floats(-50, 50))
def test_a_constant_changes_nothing_when_centred_or_regressed(seed: int, constant: float) -> None:
    x, weights = torch.randn(2, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))

    def run(added: float, estimator: Estimator) -> Tensor:
        model = Model(Linear(weights[0], added), kind="regression")
        return RISE(masks=50, estimator=estimator)(model, x, Output()).values

    for estimator in ("centred", "regressed"):
        assert float((run(0, estimator) - run(constant, estimator)).abs().max()) < 1e-3
    if abs(constant) > 1:
        assert float((run(0, "published") - run(constant, "published")).abs().max()) > 0.1


@pytest.mark.parametrize("estimator", ["regressed", "centred", "published", "normalised"])
def test_a_constant_score(estimator: Estimator) -> None:
    model = Model(Linear(torch.zeros(3, SIZE, SIZE), 2.0), kind="regression")
    result = RISE(masks=200, estimator=estimator)(model, torch.randn(1, 3, SIZE, SIZE), Output())
    match estimator:
        case "centred" | "regressed":
            assert float(result.values.abs().max()) == 0
            assert set(result.provenance["inputs"][0]["reliability"].values()) == {None}
        case "normalised":
            assert torch.allclose(result.values, torch.tensor(2.0))
        case "published":
            assert float(result.values.std()) > 0, "the picture of chance that centring removes"
