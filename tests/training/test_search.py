"""The search for a loss's weights: judged by held-out images, begun at what was given, gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import explainers
import networks
from seewhy.errors import BadInput, Cancelled, NotFinite
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.training import TRAININGS, search
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule
from seewhy.training.search import SPAN, Search, search_weights

SHORT = Schedule(steps=4, batch=4, rate=0.05, precision="fp32", checkpoint=0, look=2, held_out=4)


def training(**parameters: object) -> PTAMETraining:
    return PTAMETraining(explainers.auxiliary(), tv=0.01, **parameters)  # type: ignore[arg-type]


def searched(trials: int = 5, schedule: Schedule = SHORT, file: Path | None = None, **run: object) -> Search:
    execution = Execution(**run)  # type: ignore[arg-type]
    model = Model(networks.cnn())
    return search_weights(
        training(), model, explainers.Images(), schedule, execution, trials=trials, file=file
    )


def test_the_best_trial_is_the_one_whose_training_scores_best() -> None:
    found = searched()
    scores = [t.score for t in found.trials]
    best = found.trials[scores.index(max(s for s in scores if s is not None))]
    assert len(scores) == 5
    assert {k: getattr(found.best, k) for k in best.weights} == best.weights
    again = train(found.best, Model(networks.cnn()), explainers.Images(), SHORT)
    assert max(look["score"] for look in again.record["looks"]) == best.score


def test_it_begins_with_what_was_given_and_stays_around_it() -> None:
    trials, given = searched().trials, {"area": training().area, "tv": 0.01}
    assert trials[0].weights == given
    assert len({tuple(t.weights.values()) for t in trials}) == 5
    for trial in trials:
        assert all(given[k] / SPAN <= v <= given[k] * SPAN for k, v in trial.weights.items())


def test_a_seed_fixes_the_trials() -> None:
    assert searched(seed=3) == searched(seed=3)
    assert searched(seed=3).trials[1:] != searched(seed=4).trials[1:]


def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "head.search"
    polls = iter(range(100))

    with pytest.raises(Cancelled):
        searched(file=file, cancelled=lambda: next(polls) > 12)
    kept = searched(2, file=file).trials
    assert searched(5, file=file).trials[: len(kept)] == kept
    assert len(searched(5, file=file).trials) == 5, "nothing is left to do"


def test_a_file_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "head.search"
    searched(2, file=file)
    with pytest.raises(BadInput, match="other settings"):
        searched(2, replace(SHORT, steps=6), file)


def test_a_loss_that_becomes_infinite_is_a_trial_without_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(chosen: PTAMETraining, *rest: object) -> object:
        if chosen.area > training().area:
            raise NotFinite("Asked to train", "The loss became nan", "Give a lower rate")
        return train(chosen, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "train", fragile)
    found = searched(6)
    lost = [t for t in found.trials if t.score is None]
    assert lost
    assert all(t.weights["area"] > training().area for t in lost)
    assert found.best.area <= training().area  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "trials", "said"),
    [({}, 1, "at least 2"), ({"look": 0, "held_out": 0}, 3, "No look at held-out images")],
)
def test_nothing_to_search_or_to_judge_by(change: dict[str, int], trials: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        searched(trials, replace(SHORT, **change))


def test_without_a_weight_to_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PTAMETraining, "searched", ("tv",))
    with pytest.raises(BadInput, match="No weight above 0"):
        search_weights(
            replace(training(), tv=0.0), Model(networks.cnn()), explainers.Images(), SHORT, trials=2
        )


def test_every_training_says_what_may_vary() -> None:
    for cls in TRAININGS:
        assert cls.searched, cls.name
        assert all(isinstance(getattr(cls(), name), float) for name in cls.searched)
