"""What the auxiliary network itself holds for a class: its own class activation map, as one more feature.

A head learns how the features of a class look from images of that class. An auxiliary network that was
trained on the same classes knows it already: the slope of its score for the class, averaged over cells and
multiplied with the last map that the score still has a slope in, is a first guess of where the class is, for
every class and without any training (for a network that averages and then weighs, exactly the map of Zhou et
al.). The price is the pass that is made anyway and a pass back through what lies behind that map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.learned.stages import Features, Stage, find_stages
from seewhy.models import layers, taps
from seewhy.models.model import Model
from seewhy.types import Batch, Size


def evidence_stage(auxiliary: Model, model: Model, input_shape: Size) -> Stage:
    """Return the layer in whose cells an auxiliary network's evidence is read.

    Parameters
    ----------
    auxiliary
        The network that gives features.
    model
        The explained model.
    input_shape
        `(c, h, w)` of the auxiliary network's inputs.

    Raises
    ------
    DoesNotFit
        When the two do not know the same classes by name, in the same order.
    """
    if auxiliary.labels is None or model.labels is None or list(auxiliary.labels) != list(model.labels):
        raise DoesNotFit(
            f"Asked for the evidence that {auxiliary.name} has for the classes of {model.name}",
            "The two do not name the same classes",
            "Leave evidence out, or choose an auxiliary network that was trained on these classes",
        )
    return find_stages(auxiliary, input_shape, [layers.default_layer(auxiliary, input_shape).name])[0]


def with_evidence(features: Features, stage: Stage, x: Batch, classes: Tensor) -> list[Tensor]:
    """Return the stages of a network and, last, its evidence for classes.

    Parameters
    ----------
    features
        The network and its stages.
    stage
        Where evidence is read.
    x
        `(n, c, h, w)` inputs of that network.
    classes
        `(n, k)`, for each sample.

    Returns
    -------
    list of Tensor
        `(n, channels, rows, columns)` float32 of each stage, finest first; and `(n, k, rows, columns)`, for
        each class of mean 0 and deviation 1 over the cells.
    """
    module = features.model.module
    with torch.enable_grad(), taps.read(module, [stage.layer], differentiable=True) as tapped:
        maps, output = features(x)
        activation = tapped[stage.layer]
        scores = output.gather(1, classes).sum(0)
        slopes = [torch.autograd.grad(score, activation, retain_graph=True)[0] for score in scores]
    cells = stage.grid.read(activation.detach()).float()
    found = torch.stack([(_weights(stage, slope) * cells).sum(1) for slope in slopes], 1)
    found = found - found.mean((2, 3), keepdim=True)
    deviation = found.square().mean((2, 3), keepdim=True).sqrt()
    return [*(m.detach().float() for m in maps), found / deviation.clamp_min(1e-12)]


def _weights(stage: Stage, slope: Tensor) -> Tensor:
    return stage.grid.read(slope).float().mean((2, 3), keepdim=True)
