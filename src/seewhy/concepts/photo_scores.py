"""What targets score on photos: the distribution that an optimised image's score is held against.

One forward pass a photo, whatever the number of targets. For channels, the nine photos with the strongest
cell are kept, with the cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seewhy.batching import default_batch_size
from seewhy.concepts.references import References, rated
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.targets import Neuron, Target

_AT_ONCE = 64
"""Photos read before the model is asked, at most: progress is told as often."""


@dataclass(frozen=True, eq=False)
class PhotoScores:
    """Scores of photos.

    Parameters
    ----------
    names
        Of all photos.
    read
        `(m,)` int64: those that could be read.
    scores
        `(m, targets)` float32.
    strongest
        By number of the target, for channels of a layer with a grid: photos by their strongest cell.
    failures
        Why the others could not be read.
    """

    names: tuple[str, ...]
    read: Tensor
    scores: Tensor
    strongest: dict[int, References]
    failures: tuple[str, ...]

    def best(self, target: int, count: int) -> list[tuple[str, float]]:
        """Return (photo, score) of a target's highest scores, best first; ties by place."""
        order = self.scores[:, target].argsort(descending=True, stable=True)[:count].tolist()
        return [(self.names[int(self.read[i])], float(self.scores[i, target])) for i in order]

    def percentile(self, target: int, score: float) -> float:
        """Return the percentage of the photos, 0 to 100, whose score is below a score."""
        return 100 * float((self.scores[:, target] < score).double().mean())


def score_photos(
    model: Model,
    photos: Sequence[str | Path],
    targets: Sequence[Target],
    execution: Execution,
    count: int = 9,
) -> PhotoScores:
    """Score photos. Inside `model.untouched()` only.

    Parameters
    ----------
    model, photos, targets
        What is asked about what.
    execution
        Batch size, progress, cancelling.
    count
        Photos kept a channel.

    Raises
    ------
    BadInput
        When no photo can be read.
    """
    layers = tuple(dict.fromkeys(layer for t in targets for layer in t.layers))
    names, failures = tuple(map(str, photos)), []
    read: list[int] = []
    found: list[Tensor] = []
    strongest: dict[int, References] = {}
    like = torch.empty(1, 3, *(model.input_size() or (224, 224)), device=model.device)
    size = execution.batch_size or min(_AT_ONCE, default_batch_size(like))
    for start in range(0, len(names), size):
        batch: list[tuple[int, Tensor]] = []
        for i in range(start, min(start + size, len(names))):
            try:
                batch.append((i, model.prepare(names[i]).tensor))
            except BadInput as error:
                failures.append(str(error))
        for numbers, x in _alike(batch):
            answer = model.answer(x, layers)
            everyone = torch.zeros(len(x), dtype=torch.long, device=model.device)
            bound = [t.bind(model, answer, "logit") for t in targets]
            found.append(torch.stack([b(answer, everyone).cpu() for b in bound], 1))
            read += numbers
            for k, rows in _strongest(model, answer, targets, torch.tensor(numbers)):
                strongest[k] = (strongest.get(k) or References.empty(count, 1)).merged(rows)
        execution.step(min(start + size, len(names)), len(names), "scores of photos")
    if not found:
        why = failures[0] if failures else "There are none"
        raise BadInput("Asked for scores of photos", f"None can be read. {why}", "Give photos")
    return PhotoScores(names, torch.tensor(read), torch.cat(found), strongest, tuple(failures))


def _alike(batch: Sequence[tuple[int, Tensor]]) -> Iterator[tuple[list[int], Tensor]]:
    """Yield numbers and inputs of one size that follow each other, together."""
    group: list[tuple[int, Tensor]] = []
    for number, x in (*batch, (-1, torch.empty(0))):
        if group and group[0][1].shape != x.shape:
            yield [i for i, _ in group], torch.cat([t for _, t in group])
            group = []
        group.append((number, x))


def _strongest(
    model: Model, answer: Answer, targets: Sequence[Target], numbers: Tensor
) -> Iterator[tuple[int, References]]:
    for k, target in enumerate(targets):
        if isinstance(target, Neuron) and target.cell is None:
            activation = answer.activations[target.layer]
            if activation.ndim > 2:
                cells = grid_of(model, target.layer, answer.input_shape).read(activation)
                own = cells[:, target.channel : target.channel + 1]
                yield k, rated(own, numbers, "max", normalised=False)
