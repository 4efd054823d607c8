"""The search for the weights of a loss: short trainings, judged on held-out images, by Optuna.

Which weights make good masks depends on the network and the photos, and no loss says so: the terms pull
against each other. Each trial trains from the start and is judged by its best look at the held-out images;
the next weights are drawn where good trials were (tree-structured Parzen estimator: Bergstra et al.:
Algorithms for Hyper-Parameter Optimization, 2011). The first trial has the weights that were given, so that
what is found is never worse on those images. It is better on them by choice, though: say how good an
explainer is on others.

Trials are kept in a file as they end, and a search that was stopped goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seewhy.errors import BadInput, NotFinite
from seewhy.execution import Execution
from seewhy.extras import optional
from seewhy.methods.base import require
from seewhy.models.model import Model
from seewhy.training.base import Training
from seewhy.training.checkpoints import identity
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule
from seewhy.training.sources import Source

SPAN = 10.0
"""A weight is searched from a tenth of what was given to ten times that, evenly in its logarithm."""
INSTALL = "pip install 'seewhy[search]'"


@dataclass(frozen=True)
class Trial:
    """One short training.

    Parameters
    ----------
    weights
        By parameter.
    score
        Of its best look; None where the loss became infinite.
    """

    weights: dict[str, float]
    score: float | None


@dataclass(frozen=True)
class Search:
    """What a search found.

    Parameters
    ----------
    trials
        In their order; the first one has the weights that were given.
    best
        The training with the weights of the best trial.
    """

    trials: tuple[Trial, ...]
    best: Training


def search_weights(
    training: Training,
    model: Model,
    source: Source,
    schedule: Schedule,
    execution: Execution | None = None,
    *,
    trials: int = 20,
    file: str | Path | None = None,
) -> Search:
    """Return the weights of a training's loss that are best on held-out images.

    Parameters
    ----------
    training
        Where the search begins. It varies those of `training.searched` that are above 0; a term of weight 0
        stays out.
    model, source, execution
        As `train` takes them.
    schedule
        Of each trial, with `look` and `held_out`.
    trials
        How many in all, those of `file` included, at least 2.
    file
        Where trials are kept; another search may not use it.

    Raises
    ------
    MissingExtra
        Without Optuna.
    BadInput
        Where there is nothing to search, or nothing to judge by.
    Cancelled
        When `execution` asks to stop; finished trials are kept.
    """
    asked = f"Asked to search the weights of {training.title}"
    require(trials >= 2, asked, f"{trials} trials", "Give at least 2")
    require(bool(schedule.look), asked, "No look at held-out images", "Give `look` and `held_out`")
    given = {k: v for k in training.searched if (v := float(getattr(training, k))) > 0}
    require(bool(given), asked, "No weight above 0 to vary", "Give a term a weight above 0")
    optuna = optional("optuna", "optuna", asked, INSTALL)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    execution = execution or Execution()
    study = _study(optuna, file, execution.seed, _marks(training, model, source, schedule, execution))
    if not any(t.state.name in ("COMPLETE", "PRUNED", "WAITING") for t in study.trials):
        study.enqueue_trial(given)

    def judge(trial: Any) -> float:
        weights = {k: trial.suggest_float(k, v / SPAN, v * SPAN, log=True) for k, v in given.items()}
        quiet = replace(execution, progress=None)
        try:
            made = train(replace(training, **weights), model, source, schedule, quiet)
        except NotFinite as error:
            raise optuna.TrialPruned(str(error)) from error
        return max(float(look["score"]) for look in made.record["looks"])

    # A trial that was cut short is no trial: its number is not counted, and nothing of it is read.
    for done in range(len(_ended(study)), trials):
        execution.step(done, trials, _told(study, done))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.optimize(judge, n_trials=1)
    execution.step(trials, trials, _told(study, trials))
    ended = tuple(Trial(dict(t.params), t.value) for t in _ended(study))
    if all(t.score is None for t in ended):
        raise BadInput(
            asked, "The loss became infinite in every trial", "Give a lower rate, or precision fp32"
        )
    best = max((t for t in ended if t.score is not None), key=lambda t: t.score or 0.0)
    return Search(ended, replace(training, **best.weights))


def _study(optuna: Any, file: str | Path | None, seed: int, marks: str) -> Any:
    """Return the study of a file, or a new one that lives in memory."""
    storage = None
    if file is not None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        storage = JournalStorage(JournalFileBackend(str(file)))
        names = optuna.get_all_study_names(storage)
        if names and names != [marks]:
            raise BadInput(
                f"Asked to go on with the search {file}",
                "It is of another model, other photos or other settings",
                "Name another file, or remove this one",
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            storage=storage, study_name=marks, direction="maximize", load_if_exists=True
        )
        # A sampler that goes on must not draw again what it drew at first.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=5)
    return study


def _marks(training: Training, model: Model, source: Source, schedule: Schedule, execution: Execution) -> str:
    """Return a name that follows from everything that the scores follow from."""
    facts = {
        "method": training.name,
        **training.parameters(),
        **schedule.to_json(),
        "seed": execution.seed,
        "source": source.fingerprint,
        "networks": [model.weights_hash],
    }
    return str(identity(facts))


def _ended(study: Any) -> Sequence[Any]:
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]


def _told(study: Any, done: int) -> str:
    scores = [t.value for t in _ended(study) if t.value is not None]
    return f"searching weights, {done} trials" + (f", best score {max(scores):.3g}" if scores else "")
