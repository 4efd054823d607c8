"""What makes Shapley values fair, and a regression that forgets one of it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.methods.masking.kernel_shap import KernelSHAP, shapley_values
from seewhy.models.model import Model
from seewhy.perturb.coalitions import every, paired
from seewhy.perturb.segments import grid
from seewhy.targets import Output

games = st.tuples(st.integers(2, 6), st.integers(0, 1000))


def earnings(players: int, seed: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """A random game over all coalitions: members, weights, earnings, and that of all players."""
    everyone = every(players)
    draw = torch.randn(2**players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    number = (everyone.members.long() * 2 ** torch.arange(players)).sum(1)
    return everyone.members, everyone.weights, draw[number], float(draw[-1])


@given(games)
def test_efficiency_symmetry_dummy(case: tuple[int, int]) -> None:
    players, seed = case
    members, weights, earned, whole = earnings(players, seed)
    values = shapley_values(members, weights, earned, whole)
    assert abs(float(values.sum()) - whole) < 1e-9, "efficiency"
    # A new player who adds nothing to any coalition gets nothing and changes no one.
    grown = every(players + 1)
    old = grown.members[:, :players]
    table = {tuple(m): float(e) for m, e in zip(members.tolist(), earned, strict=True)}
    table |= {(False,) * players: 0.0, (True,) * players: whole}
    more = torch.tensor([table[tuple(m)] for m in old.tolist()], dtype=torch.float64)
    with_dummy = shapley_values(grown.members, grown.weights, more, whole)
    assert float((with_dummy[:-1] - values).abs().max()) < 1e-8
    assert abs(float(with_dummy[-1])) < 1e-8
    # Renaming the players renames the values.
    swapped = shapley_values(members.flip(1), weights, earned, whole)
    assert float((swapped.flip(0) - values).abs().max()) < 1e-8


@given(games)
def test_linear_games_are_found_by_any_sample_that_suffices(case: tuple[int, int]) -> None:
    players, seed = case
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(players, generator=generator, dtype=torch.float64)
    drawn = paired(players, 4 * players + 40, generator)
    found = shapley_values(drawn.members, drawn.weights, drawn.members.double() @ worth, float(worth.sum()))
    assert float((found - worth).abs().max()) < 1e-8


def test_a_regression_without_the_constraint_would_be_seen() -> None:
    members, weights, earned, whole = earnings(5, 0)
    root = weights.sqrt()[:, None]
    free = torch.linalg.lstsq(members.double() * root, earned[:, None] * root).solution[:, 0]
    assert abs(float(free.sum()) - whole) > 1e-3
    uniform = shapley_values(members, torch.ones_like(weights), earned, whole)
    assert float((uniform - shapley_values(members, weights, earned, whole)).abs().max()) > 1e-3


class Additive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.sin() + x**2).flatten(1).sum(1, keepdim=True)


def test_on_an_additive_model_a_segment_is_worth_what_it_holds() -> None:
    x = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    found = KernelSHAP("grid:4", samples=100)(Model(Additive(), kind="regression"), x, Output()).values
    parts, labels = (x.sin() + x**2).sum(1), grid((9, 11), 4)
    for i in range(16):
        inside = labels == i
        assert float((found[:, inside] - parts[:, inside].sum(1, keepdim=True)).abs().max()) < 1e-4
