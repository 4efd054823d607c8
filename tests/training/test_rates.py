"""The learning-rate finder: where the loss falls fastest, and no trace."""

from __future__ import annotations

import math

import pytest
import torch

import explainers
import networks
from seewhy.conformance import state_of
from seewhy.errors import BadInput
from seewhy.models.model import Model
from seewhy.training.attention import PTAMETraining
from seewhy.training.rates import find_rate, steepest
from seewhy.training.schedule import Schedule

PLAN = Schedule(batch=4, precision="fp32")


def test_the_steepest_fall_is_found() -> None:
    rates = [10.0 ** (i / 10 - 5) for i in range(50)]
    losses = [1 / (1 + math.exp((math.log10(r) + 2.5) * 6)) for r in rates]  # falls fastest at 10^-2.5
    assert steepest(rates, losses) == pytest.approx(10**-2.5)
    assert steepest([0.1, 0.2], [1.0, 0.5]) == 0.1


def test_the_model_is_left_and_the_run_ends_when_the_loss_explodes() -> None:
    spec, model = explainers.auxiliary(), Model(networks.cnn())
    before = state_of(model.module)
    found = find_rate(PTAMETraining(spec), model, explainers.Images(), PLAN, steps=20, high=0.1)
    assert state_of(model.module) == before
    assert len(found.rates) == len(found.losses) == 20
    assert found.best in found.rates
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.rates[-1] == pytest.approx(0.1)

    class Runaway(PTAMETraining):
        def begin(self, *arguments: object) -> object:  # type: ignore[override]
            trainee = super().begin(*arguments)  # type: ignore[arg-type]
            step, calls = trainee.step, list[int]()

            def exploding(x: torch.Tensor) -> object:
                calls.append(0)
                done = step(x)
                return type(done)(done.loss * (100 if len(calls) > 9 else 1), done.classes, done.numbers)

            trainee.step = exploding  # type: ignore[assignment, method-assign]
            return trainee

    ended = find_rate(Runaway(explainers.auxiliary()), model, explainers.Images(), PLAN, steps=20, high=0.1)
    assert len(ended.rates) == 9


@pytest.mark.parametrize("wrong", [{"steps": 3}, {"low": 1.0, "high": 0.1}, {"smoothing": 1.0}])
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="Asked"):
        find_rate(PTAMETraining(explainers.auxiliary()), Model(networks.cnn()), explainers.Images(), **wrong)  # type: ignore[arg-type]
