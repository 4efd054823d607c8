"""Principal components of random masks against the eigenvectors of the whole covariance matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seewhy.perturb import mask_components
from seewhy.perturb.mask_components import MaskComponents
from seewhy.perturb.masks import RandomGrids, enlarge


def covariance(grids: RandomGrids) -> Tensor:
    """`(pixels, pixels)` covariance of a mask: every shift enumerated, cells independent."""
    wholes = []
    for shift in torch.cartesian_prod(*[torch.arange(n) for n in grids.shifts]):
        matrix = torch.ones(1, 1, dtype=torch.float64)
        for m, u in zip(grids.matrices, shift, strict=True):
            matrix = torch.kron(matrix, m[u])
        wholes.append(matrix @ matrix.T)
    return grids.keep * (1 - grids.keep) * torch.stack(wholes).mean(0)


@pytest.mark.parametrize(
    ("size", "cells", "keep"), [((12, 15), (3, 3), 0.5), ((10, 10), (4, 2), 0.3), ((4, 6, 6), (2, 3, 3), 0.5)]
)
def test_leading_eigenvectors_of_the_covariance(
    size: tuple[int, ...], cells: tuple[int, ...], keep: float
) -> None:
    grids = RandomGrids(size, cells, 50, keep, seed=3)
    found = MaskComponents(grids.matrices, keep)
    whole = covariance(grids)
    values = torch.linalg.eigvalsh(whole).flip(0)
    assert torch.allclose(found.variances, values[: found.count], atol=1e-12)
    assert float(found.variances.sum()) >= mask_components.SHARE * float(values.sum())
    assert float(found.variances[:-1].sum()) < mask_components.SHARE * float(values.sum())
    vectors = found.paint(torch.eye(found.count, dtype=torch.float64)).flatten(1)
    assert torch.allclose(vectors @ vectors.T, torch.eye(found.count, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(whole @ vectors.T, vectors.T * found.variances, atol=1e-10)
    assert not torch.allclose(whole @ vectors.T, vectors.T * found.variances.flip(0), atol=1e-3)


def test_values_are_projections_of_the_masks() -> None:
    grids = RandomGrids((12, 15), (3, 4), 20, 0.3, seed=1)
    found = MaskComponents(grids.matrices, 0.3)
    drawn, shifts = grids.draw(torch.arange(20))
    vectors = found.paint(torch.eye(found.count, dtype=torch.float64)).flatten(1)
    masks = enlarge(drawn.double(), [m[shifts[:, i]] for i, m in enumerate(grids.matrices)])
    wanted = (masks - 0.3).flatten(1) @ vectors.T
    assert torch.allclose(found.values(drawn, shifts), wanted, atol=1e-10)
    assert not torch.allclose(found.values(drawn, shifts.roll(1, 0)), wanted, atol=1e-2), "shifts matter"
    some = (torch.tensor([2, 7]), torch.tensor([0, 5, 14]))
    weights = torch.randn(3, found.count, dtype=torch.float64)
    assert torch.allclose(found.paint(weights, some), found.paint(weights)[:, some[0]][:, :, some[1]])


def test_their_number_is_bounded_and_equal_variances_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    grids = RandomGrids((20, 20), (5, 5), 4, 0.5, seed=0)
    monkeypatch.setattr(mask_components, "MOST", 2)
    found = MaskComponents(grids.matrices, 0.5)
    assert found.count == 3, "the second and the third wave are one another turned by a right angle"
    assert float(found.variances[1]) == pytest.approx(float(found.variances[2]))
