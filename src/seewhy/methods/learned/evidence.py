"""What the auxiliary network itself holds for a class: where its own layers speak for it, as more features.

A head learns how the features of a class look from images of that class. An auxiliary network that was
trained on the same classes knows it already: the slope of its log-odds for the class, multiplied with the
activation cell by cell and summed over channels, is a first guess of where the class is, for every class and
without any training. At the layer in front of a network's average it is the map of Zhou et al., here of the
class against all others; finer layers know less of what is there and more of where. It is read in as many
layers as wanted, from the back. The price is the pass that is made anyway and a pass back to the first of
these layers.

Log-odds, not scores: what raises the score of every class alike makes no class more probable.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.learned.stages import Features, Stage, find_stages
from seewhy.models import layers, taps
from seewhy.models.model import Model
from seewhy.types import Batch, Size


def evidence_stages(
    auxiliary: Model, model: Model, stages: Sequence[Stage], input_shape: Size, count: int
) -> tuple[Stage, ...]:
    """Return the layers in whose cells an auxiliary network's evidence is read, finest first.

    Parameters
    ----------
    auxiliary
        The network that gives features.
    model
        The explained model.
    stages
        Where it gives features.
    input_shape
        `(c, h, w)` of the auxiliary network's inputs.
    count
        How many layers: the last one before the grid is lost, and the stages in front of it.

    Raises
    ------
    DoesNotFit
        When the two do not know the same classes by name, in the same order; when there are not as many.
    """
    if auxiliary.labels is None or model.labels is None or list(auxiliary.labels) != list(model.labels):
        raise DoesNotFit(
            f"Asked for the evidence that {auxiliary.name} has for the classes of {model.name}",
            "The two do not name the same classes",
            "Leave evidence out, or choose an auxiliary network that was trained on these classes",
        )
    last = layers.default_layer(auxiliary, input_shape).name
    named = [*(s.layer for s in stages if s.layer != last), last]
    if count > len(named):
        raise DoesNotFit(
            f"Asked for the evidence of {auxiliary.name} in {count} layers",
            f"It has {len(named)} to read it in: {', '.join(named)}",
            "Ask for fewer",
        )
    return find_stages(auxiliary, input_shape, named[-count:])


def with_evidence(
    features: Features, evidence: Sequence[Stage], x: Batch, classes: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Return the stages of a network and, behind them, its evidence for classes; and its output.

    Parameters
    ----------
    features
        The network and its stages.
    evidence
        Where evidence is read.
    x
        `(n, c, h, w)` inputs of that network.
    classes
        `(n, k)`, for each sample; None for its own answer, k being 1.

    Returns
    -------
    tuple
        `(n, channels, rows, columns)` float32 of each stage, finest first, then for each layer of evidence
        `(n, k, rows, columns)`, for each class of mean 0 and deviation 1 over the cells; `(n, classes)`.
    """
    model = features.model
    named = [stage.layer for stage in evidence]
    others = [stage.layer for stage in features.stages if stage.layer not in named]
    with torch.enable_grad(), taps.read(model.module, named, differentiable=True) as tapped:
        answer = model.answer(x, others)
        output = answer.output
        activations = [tapped[name] for name in named]
        classes = output.argmax(1, keepdim=True) if classes is None else classes
        odds = [model.log_odds(output, column).sum() for column in classes.T]
        slopes = [torch.autograd.grad(one, activations, retain_graph=one is not odds[-1]) for one in odds]
    known = {**answer.activations, **tapped}
    maps = [stage.grid.read(known[stage.layer]).detach().float() for stage in features.stages]
    found = []
    for i, stage in enumerate(evidence):
        cells = stage.grid.read(activations[i].detach()).float()
        found.append(
            _standard(torch.stack([(stage.grid.read(s[i]).float() * cells).sum(1) for s in slopes], 1))
        )
    return [*maps, *found], output.detach()


def _standard(maps: Tensor) -> Tensor:
    """Return `(n, k, rows, columns)` maps, each of mean 0 and deviation 1; 0 where all cells are equal."""
    apart = maps - maps.mean((2, 3), keepdim=True)
    deviation = apart.square().mean((2, 3), keepdim=True).sqrt()
    return apart / deviation.clamp_min(1e-12)
