"""Terms of the loss against plain loops, the one-cycle schedule against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seewhy.errors import BadInput
from seewhy.training.losses import area, cross_entropy, generalised_cross_entropy, total_variation
from seewhy.training.schedule import Schedule


def masks() -> torch.Tensor:
    return torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_area_is_the_mean_of_powers() -> None:
    m = masks().double()
    assert float(area(m, 0.3)) == pytest.approx(float(np.mean((m.numpy() + 5e-4) ** 0.3)), rel=1e-12)
    assert float(area(torch.ones(1, 2, 2, dtype=torch.float64), 1.0)) == pytest.approx(1.0005)


def test_area_has_a_finite_slope_at_nothing() -> None:
    m = torch.zeros(1, 2, 2, requires_grad=True)
    area(m).backward()
    assert bool(m.grad.isfinite().all())


def test_total_variation_is_the_sum_over_neighbours_and_frame() -> None:
    m = masks().double().numpy()
    found = 0.0
    for one in m:
        for i in range(4):
            for j in range(5):
                found += (one[i, j] - one[i - 1, j]) ** 2 if i else 0
                found += (one[i, j] - one[i, j - 1]) ** 2 if j else 0
                found += 0.3 * one[i, j] ** 2 * ((i in (0, 3)) + (j in (0, 4)))
    assert float(total_variation(torch.from_numpy(m))) == pytest.approx(found / 6, rel=1e-12)
    assert float(total_variation(torch.ones(1, 3, 3), border=0.0)) == 0


def test_cross_entropy_is_torchs() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(cross_entropy(logits.log_softmax(1), y), expected)


@pytest.mark.parametrize(("steps", "warm_up"), [(50, 0.3), (7, 0.5), (200, 0.1)])
def test_one_cycle_is_torchs(steps: int, warm_up: float) -> None:
    schedule = Schedule(steps=steps, rate=0.01, warm_up=warm_up)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], lr=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, steps, pct_start=warm_up)
    for step in range(steps):
        group = optimiser.param_groups[0]
        assert schedule.at(step) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        optimiser.step()
        if step + 1 < steps:
            cycle.step()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch": 1}, {"rate": 0.0}, {"warm_up": 1.0}, {"look": 5}, {"held_out": -1}]
)
def test_a_schedule_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="Asked for a training"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_generalised_cross_entropy_lies_between_softplus_and_the_sigmoid() -> None:
    lost = torch.linspace(-6, 12, 50, dtype=torch.float64).requires_grad_()
    tight = generalised_cross_entropy(lost, torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(tight, lost.sigmoid())
    loose = generalised_cross_entropy(lost, torch.full((50,), 1e-9, dtype=torch.float64))
    torch.testing.assert_close(loose, torch.nn.functional.softplus(lost), rtol=1e-6, atol=1e-6)
    between = generalised_cross_entropy(lost, torch.full((50,), 0.3, dtype=torch.float64))
    assert bool(((between > tight) & (between < loose)).all())
    slope = torch.autograd.grad(between.sum(), lost)[0]
    torch.testing.assert_close(slope, lost.sigmoid() * (1 - lost.sigmoid()) ** 0.3)
