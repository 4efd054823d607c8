"""Where the best and the worst order are known, the metrics must find them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.execution import Execution
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.models.model import Model
from seewhy.question import Question, ask

SIDE = 6


class Toy(nn.Module):
    """Two classes, softmax of linear logits: class 0 gets the sum of weights * x, class 1 nothing."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        logit = (x * self.weights).flatten(1).sum(1)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


def pose(seed: int) -> tuple[Question, Tensor]:
    """Return a question about the toy and each pixel's exact contribution to the logit, `(1, SIDE, SIDE)`."""
    generator = torch.Generator().manual_seed(seed)
    x, weights = torch.randn(2, 1, 3, SIDE, SIDE, generator=generator)
    question = ask(Model(Toy(weights[0])), x, 0, Execution(), "probability")
    return question, (x * weights).sum(1).detach()


def areas(seed: int, maps: list[Tensor]) -> tuple[list[float], list[float]]:
    question, _ = pose(seed)
    deletion, insertion = Deletion(steps=SIDE**2), Insertion(steps=SIDE**2, operator="mean")
    return (
        [float(deletion.measure(question, m).values) for m in maps],
        [float(insertion.measure(question, m).values) for m in maps],
    )


@given(seed=st.integers(0, 10**6))
def test_exact_contributions_are_the_best_order_and_their_opposite_the_worst(seed: int) -> None:
    _, exact = pose(seed)
    other = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed + 1))
    deleted, inserted = areas(seed, [exact, other, -exact])
    assert deleted[0] <= deleted[1] + 1e-6
    assert deleted[1] <= deleted[2] + 1e-6
    assert inserted[0] >= inserted[1] - 1e-6
    assert inserted[1] >= inserted[2] - 1e-6
    assert all(0 <= v <= 1 for v in (*deleted, *inserted))


@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), shift=st.floats(-5, 5))
def test_only_the_order_counts(seed: int, scale: float, shift: float) -> None:
    # Whole numbers stay apart under scaling and shifting, whatever the rounding.
    maps = (
        torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(seed)).reshape(1, SIDE, SIDE).float()
    )
    deleted, inserted = areas(seed, [maps, maps * scale + shift, maps.pow(3)])
    assert max(deleted) - min(deleted) < 1e-6
    assert max(inserted) - min(inserted) < 1e-6


def test_magnitude_without_sign_is_not_the_best_order() -> None:
    """The planted bug: ranking by absolute value deletes the evidence against first, too."""
    seen = 0
    for seed in range(10):
        _, exact = pose(seed)
        deleted, _ = areas(seed, [exact, exact.abs()])
        seen += deleted[1] > deleted[0] + 0.01
    assert seen >= 8
