"""Repeatability against runs that are repeated, and stopping at it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.agreement import Agreement
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.masking import rise
from seewhy.methods.masking.repeatability import (
    GROUPS,
    HALVINGS,
    Settling,
    lattice,
    looks,
    relative_errors,
    repeatability,
)
from seewhy.methods.masking.rise import RISE
from seewhy.models.model import Model
from seewhy.targets import Output


def halves_of(draws: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Means over the halves of `(draws, n, pixels)`."""
    groups = [draws[g::GROUPS].mean(0) for g in range(GROUPS)]
    return [tuple(torch.stack([groups[g] for g in half]).mean(0) for half in pair) for pair in HALVINGS]  # type: ignore[misc]


def noisy(noise: float, seed: int, draws: int = 40) -> tuple[Tensor, Tensor]:
    """The `(1, pixels)` truth and `(draws, 1, pixels)` draws around it."""
    truth = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    return truth, truth + noise * torch.randn(draws, 1, 4000, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
def test_it_is_what_a_second_run_gives_and_its_root_what_the_truth_gives(noise: float) -> None:
    truth, draws = noisy(noise, 1)
    _, again = noisy(noise, 2)
    split, repeat = repeatability(halves_of(draws))
    measured = float(Agreement.of(draws.mean(0), again.mean(0)).spearman)
    assert float(repeat) == pytest.approx(measured, abs=0.03)
    assert float(repeat) ** 0.5 == pytest.approx(float(Agreement.of(draws.mean(0), truth).spearman), abs=0.03)
    assert float(split) < measured - 0.01, "the halves alone, without the step to the whole, say too little"
    error = relative_errors(draws.mean(0), halves_of(draws))
    whole = draws.mean(0)
    assert float(error) == pytest.approx(noise / 40**0.5 / float(whole.max() - whole.min()), rel=0.05)


def test_constant_maps_have_none() -> None:
    constant = torch.ones(1, 8)
    split, repeat = repeatability([(constant, constant)] * 3)
    assert bool(split.isnan()) == bool(repeat.isnan()) is True
    _, (facts,) = Settling(1, 0.5, "masks").look(10, constant, [(constant, constant)] * 3)
    assert facts == {
        "split_half_spearman": None,
        "repeatability": None,
        "relative_standard_error": None,
        "masks": 10,
    }


def test_opposite_halves_are_not_repeatable_at_all() -> None:
    up = torch.arange(9.0)[None]
    split, repeat = repeatability([(up, -up)] * 3)
    assert (float(split), float(repeat)) == (-1, 0)


def test_looks_are_fixed_numbers() -> None:
    assert list(looks(4000, often=False)) == [125, 250, 500, 1000, 2000, 4000]
    assert list(looks(1500, often=True)) == [125, 177, 250, 354, 500, 707, 1000, 1414, 1500]
    assert list(looks(40, often=True)) == [20, 40]
    assert list(looks(2, often=False)) == [1, 2]
    assert list(looks(125, often=False)) == [63, 125]
    assert list(looks(126, often=False)) == [125, 126]


def test_lattice_lies_evenly_inside() -> None:
    rows, columns = lattice((224, 5))
    assert len(rows) == 32
    assert set(rows.diff().tolist()) == {7}
    assert int(rows[0]) == 223 - int(rows[-1])
    assert columns.tolist() == [0, 1, 2, 3, 4]


def two_samples() -> tuple[Model, Tensor]:
    """An easy sample and one of noise only."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            signal = x[:, 0, 4:12, 4:12].mean((1, 2))
            hash_ = torch.frac(x[:, 1].flatten(1).double().sum(1) * 9973.0).float()
            return (signal + hash_ * x[:, 2].amax((1, 2)))[:, None]

    x = torch.ones(2, 3, 16, 16)
    x[0, 2] = 0  # no noise in the first
    x[1, 2] = 50
    return Model(Net(), kind="regression"), x


def test_each_sample_keeps_the_map_at_which_it_was_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = two_samples()
    method = RISE(masks=500, stop_at=0.95)
    both = method(model, x, Output())
    easy, hard = (method(model, sample[None], Output(), Execution(batch_size=50)) for sample in x)
    known = [i["reliability"] for i in both.provenance["inputs"]]
    assert known[0]["masks"] == 125
    assert known[1]["masks"] == 500
    assert known[0]["repeatability"] >= 0.95 > known[1]["repeatability"]
    assert easy.provenance["steps"] == {"done": 125, "total": 500}
    assert easy.provenance["passes"]["forward"] <= 151
    assert hard.provenance["steps"] == {"done": 500, "total": 500}
    for i, alone in enumerate((easy, hard)):
        assert float((both.values[i] - alone.values[0]).abs().max() / alone.values.abs().max()) < 1e-5
    later = RISE(masks=500)(model, x[:1], Output()).values[0]
    assert float((later - easy.values[0]).abs().max() / later.abs().max()) > 1e-4

    class Thawed(Settling):
        """The planted bug: a sure sample goes on changing with the others."""

        def look(self, count, maps, halves, **rest):  # type: ignore[no-untyped-def]
            _, facts = super().look(count, maps, halves, **rest)
            return maps, facts

    monkeypatch.setattr(rise, "Settling", Thawed)
    broken = method(model, x, Output())
    assert float((broken.values[0] - easy.values[0]).abs().max() / later.abs().max()) > 1e-4


def test_the_batch_size_does_not_move_the_stop() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 20, 20), n=3)
    method = RISE(masks=1500, stop_at=0.97)
    whole = method(model, x, [0, 1, 2])
    used = [i["reliability"]["masks"] for i in whole.provenance["inputs"]]
    assert max(used) < 1500
    for batch_size in (4, 31, 300):
        other = method(model, x, [0, 1, 2], Execution(batch_size=batch_size))
        assert [i["reliability"]["masks"] for i in other.provenance["inputs"]] == used
        assert float((other.values - whole.values).abs().max() / whole.values.abs().max()) < 1e-5


@pytest.mark.parametrize("estimator", ["regressed", "centred", "published", "normalised"])
def test_a_higher_demand_takes_more_masks_and_comes_closer(estimator: str) -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 20, 20), n=1)
    truth = RISE(masks=20_000, estimator="centred")(model, x, 1, Execution(seed=1)).values
    lax, strict = (RISE(masks=4000, estimator=estimator, stop_at=s)(model, x, 1) for s in (0.6, 0.97))  # type: ignore[arg-type]
    assert lax.provenance["steps"]["done"] <= strict.provenance["steps"]["done"]
    close = [float(Agreement.of(r.values, truth).spearman) for r in (lax, strict)]
    assert close[0] < close[1] or lax.provenance["steps"] == strict.provenance["steps"]
    if estimator != "published":
        assert close[1] > 0.96


@pytest.mark.parametrize("stop_at", [0, 1, -0.2, 1.5])
def test_what_cannot_be_reached_is_refused(stop_at: float) -> None:
    with pytest.raises(BadInput, match=r"Asked RISE to stop at a repeatability"):
        RISE(stop_at=stop_at)
