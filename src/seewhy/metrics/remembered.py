"""What an attribution remembers of its making, made again: its targets, and its method on another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seewhy import provenance
from seewhy.attribution import Attribution
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution, Passes
from seewhy.inputs.batch import Inputs
from seewhy.methods.base import METHODS, Method
from seewhy.metrics.baselines import BASELINES
from seewhy.models.model import Model
from seewhy.question import Again
from seewhy.targets import Class, Combination, Neuron, Output, Similarity, Target, TargetLike
from seewhy.types import Batch, Json, Maps, ScoreKind


def target_of(description: Json, *, open_score: bool = True) -> Target:
    """Return the target of a description; `open_score` leaves the score of a class to who asks.

    Raises
    ------
    DoesNotFit
        For functions of the user's own, of which only the name is kept.
    """
    kinds: tuple[ScoreKind, ...] = ("logit", "probability", "log_probability")
    index, score = description.get("index"), description.get("score")
    if "parts" in description:
        return Combination(
            tuple(target_of(part, open_score=False) for part in description["parts"]),
            tuple(description["weights"]),
        )
    if score in kinds and index is not None:
        return Class(index) if open_score else Class(index, score)
    if score == "output" and index is not None:
        return Output(index)
    if score == "activation":
        cell = description["cell"]
        return Neuron(description["layer"], description["index"], None if cell is None else tuple(cell))
    if description["label"] == "similarity to its own embedding":
        return Similarity()
    raise DoesNotFit(
        "Asked to evaluate with the explained target",
        f"{description['label']!r} cannot be rebuilt from its record",
        "Give target=...",
    )


def method_of(attribution: Attribution) -> Method:
    """Return the method that made an attribution, with its parameters.

    Raises
    ------
    DoesNotFit
        When the method is not registered, or its parameters are more than its record says.
    """
    notes = attribution.provenance
    name, kept = str(notes["method"]), notes["parameters"]
    asked = f"Asked to make the map of {name} again"
    if name not in METHODS:
        raise DoesNotFit(asked, "No method of that name is registered", "Import the module that registers it")
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in kept.items()}
    made = METHODS[name].make(**given)
    if made.parameters() != kept:
        raise DoesNotFit(
            asked, f"Its record does not hold all of its parameters: {kept}", "Give them as plain values"
        )
    return made


def again(
    attribution: Attribution,
    batch: Inputs,
    execution: Execution,
    passes: Passes,
    target: TargetLike | Sequence[TargetLike] = None,
) -> Again:
    """Return a function from a model to the `(n, *size)` maps of the same method on it (see `Again`).

    Parameters
    ----------
    attribution
        Whose method, parameters, seed and targets count. Classes are those that were explained, whatever the
        other model answers.
    batch
        The inputs; the function takes others in their place, as tensors that the model would receive.
    execution
        Batch size, precision and cancelling.
    passes
        Where the passes are counted.
    target
        Taken where the targets cannot be rebuilt.

    Raises
    ------
    DoesNotFit
        When the method, or a target without a `target` given, cannot be rebuilt.
    """
    method, notes = method_of(attribution), attribution.provenance
    wanted: TargetLike | Sequence[TargetLike]
    try:
        wanted = [target_of(entry["target"], open_score=False) for entry in notes["inputs"]]
    except DoesNotFit:
        if target is None:
            raise
        wanted = target
    run = replace(execution, seed=notes["execution"]["seed"], progress=None, device=None)

    def explain(
        model: Model,
        x: Batch | None = None,
        target: TargetLike | Sequence[TargetLike] = None,
        **options: Any,
    ) -> Maps:
        inputs, aims = batch if x is None else replace(batch, tensor=x), wanted if target is None else target
        made = method(model, inputs, aims, replace(run, **options))
        for way in ("forward", "backward"):
            setattr(passes, way, getattr(passes, way) + made.provenance["passes"][way] * len(batch))
        return made.values

    return explain


def unmoved(name: str, maps: Maps, batch: Inputs, seed: int) -> Again:
    """Return the baseline `name` made again: `maps`, unless inputs or seed are others."""

    def make(
        model: Model,
        x: Batch | None = None,
        target: TargetLike | Sequence[TargetLike] = None,
        **options: Any,
    ) -> Maps:
        other = int(options.get("seed", seed))
        if x is None and other == seed:
            return maps
        inputs = batch if x is None else replace(batch, tensor=x)
        return BASELINES[name](provenance.display_pixels(model, inputs).cpu(), other)

    return make
