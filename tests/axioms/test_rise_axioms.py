"""What RISE must find on models whose answer is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.execution import Execution
from seewhy.methods.masking.rise import RISE, Estimator
from seewhy.models.model import Model
from seewhy.perturb.masks import shift_matrices
from seewhy.targets import Output

SIZE, CELLS, MASKS = 12, 3, 6000


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


def misses(seed: int, estimator: Estimator, keep: float) -> float:
    """Return the largest distance from the expectation, in standard errors."""
    generator = torch.Generator().manual_seed(seed)
    x, weights = torch.randn(2, 1, 3, SIZE, SIZE, generator=generator)
    method = RISE(masks=MASKS, cells=CELLS, keep=keep, estimator=estimator)
    found = method(
        Model(Linear(weights[0], 3.0), kind="regression"), x, Output(), Execution(seed=seed)
    ).values[0]
    contribution = (x * weights)[0].sum(0).flatten().double()
    wanted = (covariance(keep) @ contribution / keep).reshape(SIZE, SIZE)
    spread = (
        (contribution @ covariance(keep) @ contribution).sqrt() * covariance(keep).diag().sqrt().max() / keep
    )
    return float((found - wanted).abs().max() / (spread / MASKS**0.5))


@given(seed=st.integers(0, 10**6), keep=st.sampled_from([0.3, 0.5, 0.7]))
def test_centred_rise_of_a_linear_model_is_the_covariance_with_its_contributions(
    seed: int, keep: float
) -> None:
    assert misses(seed, "centred", keep) < 6


def test_what_is_not_centred_misses() -> None:
    assert misses(0, "published", 0.5) > 20
    assert misses(0, "normalised", 0.5) > 20


@given(seed=st.integers(0, 10**6), constant=st.floats(-50, 50))
def test_a_constant_changes_nothing_when_centred(seed: int, constant: float) -> None:
    x, weights = torch.randn(2, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))

    def run(added: float, estimator: Estimator) -> Tensor:
        model = Model(Linear(weights[0], added), kind="regression")
        return RISE(masks=50, estimator=estimator)(model, x, Output()).values

    assert float((run(0, "centred") - run(constant, "centred")).abs().max()) < 1e-3
    if abs(constant) > 1:
        assert float((run(0, "published") - run(constant, "published")).abs().max()) > 0.1


@pytest.mark.parametrize("estimator", ["centred", "published", "normalised"])
def test_a_constant_score(estimator: Estimator) -> None:
    model = Model(Linear(torch.zeros(3, SIZE, SIZE), 2.0), kind="regression")
    result = RISE(masks=200, estimator=estimator)(model, torch.randn(1, 3, SIZE, SIZE), Output())
    match estimator:
        case "centred":
            assert float(result.values.abs().max()) == 0
            assert result.provenance["inputs"][0]["reliability"] == {"split_half_spearman": None}
        case "normalised":
            assert torch.allclose(result.values, torch.tensor(2.0))
        case "published":
            assert float(result.values.std()) > 0, "the picture of chance that centring removes"
