"""Relevance and activation maximisation over a data set: which inputs show what a channel stands for.

The inputs that activate a channel most (ActMax) need not be those for which the channel mattered: relevance
maximisation (RelMax) asks for the inputs in whose explanation the channel has the largest part. Both are
collected for every channel of every chosen layer in one go.

Formula
    value of channel c on input i: T_i[c] summed over the cells (or its maximum), T the activation or the
    relevance of the layer for the input's target; divided by the sum of |values| over the channels, unless
    `normalised` is off.
Needs
    what LRP needs.
Cost
    one forward pass and one backward pass to the first of the layers, an input; one more forward pass for
    the first batch. Memory does not grow with the number of inputs, but for 9 bytes each.
Resuming
    Everything is written whole every few seconds and at the end. A run that was stopped, however rudely, goes
    on where it was; the result does not depend on that. Inputs that cannot be read are kept as failures.
Paper
    Achtibat et al.: From attribution maps to human-understandable explanations through Concept Relevance
    Propagation, 2023, https://doi.org/10.1038/s42256-023-00711-8.
Departures
    ties go to the input that comes first. Rules are LRP's choice for the model unless given.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import seewhy
from seewhy.batching import default_batch_size
from seewhy.concepts.collected import (
    NO_CLASS,
    UNREAD,
    Collected,
    Collecting,
    read_collected,
    write_collected,
)
from seewhy.concepts.store import FeatureStore, digest_of
from seewhy.concepts.tracing import traced
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.targets import TargetLike
from seewhy.types import Json


def collect(
    model: Model,
    photos: Sequence[str | Path],
    settings: Collecting,
    target: TargetLike = None,
    execution: Execution | None = None,
    folder: str | Path | None = None,
    *,
    every: float = 10.0,
    features: FeatureStore | None = None,
) -> Collected:
    """Collect reference samples from photos.

    Parameters
    ----------
    model, target
        For each photo the model's own answer by default.
    photos
        Paths, in the order that decides ties.
    settings
        What to collect.
    execution
        Batch size, progress, cancelling, device.
    folder
        Where the state is kept, so that a stopped run can go on; None keeps nothing.
    every
        Seconds between two writings of the state, 0 or more.
    features
        Where the activations of the layers are kept, too, as they pass by.

    Raises
    ------
    BadInput
        For no photos, none that can be read, or a folder with the state of another run.
    Cancelled
        When the execution says so; what was collected is in the folder.
    """
    execution = execution or Execution()
    if not photos:
        raise BadInput("Asked for reference samples", "There are no photos", "Give at least one")
    about = _about(model, photos, settings, target)
    state = None if folder is None else read_collected(folder, about)
    if state is None:
        names = tuple(str(p) for p in photos)
        state = Collected(settings, names, about, torch.full((len(names),), NO_CLASS))
    written = time.monotonic()
    try:
        with model.untouched(execution.device):
            for latest in _through(model, state, target, execution, features):
                state = latest
                if folder is not None and time.monotonic() - written >= every:
                    write_collected(folder, state)
                    written = time.monotonic()
                execution.step(state.done, len(state.names), "reference samples")
    finally:
        if folder is not None:
            write_collected(folder, state)
    if not state.tables:
        first = next(iter(state.failures.values()), "")
        raise BadInput("Asked for reference samples", f"No photo can be read. {first}", "Check the files")
    return state


def _through(
    model: Model,
    state: Collected,
    target: TargetLike,
    execution: Execution,
    features: FeatureStore | None,
) -> Iterator[Collected]:
    """Look at the inputs that are left, batch by batch; yield what there is after each."""
    size, checked = execution.batch_size or _batch_size(model), False
    while not state.finished:
        start, stop = state.done, min(len(state.names), state.done + size)
        for inputs, x in _read(model, state, range(start, stop)):
            x = x.to(model.device, model.dtype)
            setting = state.settings
            seen = traced(model, x, target, setting.layers, setting.rules, pixels=False, checked=not checked)
            checked = True
            classes = [_class(d) for d in seen.target.descriptions]
            if features is not None:
                digests = [digest_of(state.names[i]) for i in inputs.tolist()]
                for name, place in seen.places.items():
                    features.layer(model, name).add(digests, place.cells(seen.trace.layers[name]))
            state = state.with_batch(seen, inputs, torch.tensor(classes))
        state = replace(state, done=stop)
        yield state


def _read(model: Model, state: Collected, wanted: range) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield indices and inputs of photos, those of one size that follow each other together."""
    group: list[tuple[int, Tensor]] = []
    for i in wanted:
        try:
            x = model.prepare(state.names[i]).tensor
        except BadInput as error:
            state.failures[i], state.targets[i] = str(error), UNREAD
            continue
        if group and group[0][1].shape != x.shape:
            yield torch.tensor([j for j, _ in group]), torch.cat([t for _, t in group])
            group = []
        group.append((i, x))
    if group:
        yield torch.tensor([j for j, _ in group]), torch.cat([t for _, t in group])


def _batch_size(model: Model) -> int:
    size = model.input_size() or (224, 224)
    return default_batch_size(torch.empty(1, 3, *size, device=model.device), differentiated=True)


def _class(description: Json) -> int:
    """Return the class whose score a target is, `NO_CLASS` for other scores."""
    of_a_class = description.get("score") in ("logit", "probability", "log_probability")
    return int(description["index"]) if of_a_class and description.get("index") is not None else NO_CLASS


def _about(model: Model, photos: Sequence[str | Path], settings: Collecting, target: TargetLike) -> Json:
    """Return what a run must have in common with the state that it goes on from."""
    listed = hashlib.sha256()
    for path in map(Path, photos):
        known = path.stat() if path.is_file() else None
        size, time_ns = (known.st_size, known.st_mtime_ns) if known else (0, 0)
        listed.update(f"{path}\0{size}\0{time_ns}\n".encode())
    return {
        "model": model.name,
        "weights_sha256": model.check_weights(),
        "preprocessing": None if model.preprocess is None else model.preprocess.to_json(),
        "settings": settings.to_json(),
        "target": "own answer" if target is None else str(target),
        "photos": len(photos),
        "photos_sha256": listed.hexdigest()[:16],
        "seewhy": seewhy.__version__,
    }
