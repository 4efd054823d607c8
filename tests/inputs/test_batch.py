"""Batches: what is accepted as one, and what is refused."""

from __future__ import annotations

import pytest
import torch

from seewhy.errors import BadInput, NotFinite
from seewhy.inputs import Inputs


def test_a_single_image_becomes_a_batch_of_one() -> None:
    inputs = Inputs.of(torch.zeros(3, 5, 7))
    assert inputs.tensor.shape == (1, 3, 5, 7)
    assert inputs.names == ("input 0",)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3, 4, 5, 7)])
def test_images_and_clips(shape: tuple[int, ...]) -> None:
    inputs = Inputs.of(torch.rand(shape))
    assert len(inputs) == 2
    singles = list(inputs.singles())
    assert [s.names for s in singles] == [("input 0",), ("input 1",)]
    assert torch.equal(torch.cat([s.tensor for s in singles]), inputs.tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(5),
        torch.zeros(2, 3),
        torch.zeros(1, 1, 1, 1, 1, 1),
        torch.zeros(0, 3, 4, 4),
        torch.zeros(1, 3, 4, 4).int(),
    ],
    ids=["1d", "2d", "6d", "empty", "integers"],
)
def test_other_tensors_are_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(BadInput, match="Found shape"):
        Inputs.of(tensor)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    x = torch.zeros(1, 3, 4, 4)
    x[0, 1, 2, 3] = value
    with pytest.raises(NotFinite):
        Inputs.of(x)
