"""P-TAME: a small head, trained once, turns the features of an auxiliary network into a map for every class.

Features of a frozen image network of the user's choice (not of the explained model) pass attention branches
and are fused into one map a class. The head is trained without labels and without masks: what it shows must
keep the explained model's own answer, and show little. After that the explained model is a black box, and a
map costs one pass of the auxiliary network.

Formula
    For stage l of the auxiliary network (four resolutions), A_l = relu(F_l + norm(conv(F_l))), 1 x 1; the
    map of class c is z_c = sum over l of enlarged(W_l[c] A_l) on the grid of the finest stage. In training
    m = sigmoid(z_c) enlarged to the input, c being the model's answer, and the loss is
    lambda_ce CE(f(m x + (1 - m) fill), c) + lambda_area mean((m + 5e-4)^0.3) + lambda_tv TV(m). An
    explanation is (z_c - min z_c) / (max z_c - min z_c), in [0, 1]. Not signed.
    Where training was asked for order only (`objective = "ranked"`, ours), an explanation is the share of
    cells that are lower than a cell.
Needs
    a trained explainer (`seewhy train ptame`); nothing of the explained model but its answer.
Cost
    one pass of the auxiliary network, and with evidence one back; the one forward pass of the model that is
    listed finds its answer.
Paper
    Ntrougkas, Mezaris, Patras: P-TAME: Explain Any Image Classifier with Trained
    Perturbations, 2025, https://arxiv.org/abs/2501.17813
Departures
    Stages are enlarged in one step and after their fusion, which is the same map up to the way of
    enlarging. Training hides behind the mean colour, the paper's choice for transformers (black for CNNs:
    `fill` of the training). A class without training images has no row of its own: it gets the shared row
    (or the mean of the others) and a warning. What `seewhy train` offers beyond the paper (a shared row, the
    auxiliary network's own evidence for the class, masks as the metrics make them) is described there, is off
    by default, and is remembered by the file. `gamma` is ours, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Paper, require
from seewhy.methods.learned.attention_head import AttentionHead
from seewhy.methods.learned.auxiliary import auxiliary_features
from seewhy.methods.learned.explainer import Explainer
from seewhy.methods.learned.trained import Trained
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Batch, Cells

_HEADS: WeakKeyDictionary[Explainer, tuple[AttentionHead, Tensor]] = WeakKeyDictionary()


@METHODS.register
@dataclass(frozen=True)
class PTAME(Trained):
    """Maps of all classes in one pass of an auxiliary network.

    Parameters
    ----------
    explainer
        File that `seewhy train ptame` wrote for the model.
    gamma
        Power of the map's values, which lie in [0, 1]: below 1 more of the input is seen behind the map. The
        order stays.
    """

    name: ClassVar[str] = "ptame"
    title: ClassVar[str] = "P-TAME"
    paper: ClassVar[Paper] = Paper(
        "P-TAME: Explain Any Image Classifier with Trained Perturbations",
        "Ntrougkas, Mezaris, Patras",
        2025,
        "https://arxiv.org/abs/2501.17813",
    )

    gamma: float = 1.0

    def __post_init__(self) -> None:
        require(self.gamma > 0, "Asked for the power of a map's values", self.gamma, "Give more than 0")

    def drawing(
        self, explainer: Explainer, question: Question, classes: Sequence[int]
    ) -> Callable[[int, int], Cells]:
        """See `Trained.drawing`."""
        head, row = head_of(explainer, question.x.device)
        rows = row[torch.tensor(classes)].to(question.x.device)

        def maps(start: int, stop: int) -> Cells:
            with torch.no_grad():
                asked = torch.tensor(classes[start:stop])[:, None]
                features = auxiliary_features(
                    explainer, question.x[start:stop], question.model.preprocess, asked
                )
                part: Cells = head(features, rows[start:stop])
                return part

        return maps

    def finished(self, explainer: Explainer, maps: Cells) -> Cells:
        """See `Trained.finished`."""
        native = scaled(maps, explainer.settings.get("objective"))
        return native.pow(self.gamma) if self.gamma != 1 else native

    def every(self, explainer: Explainer, model: Model, x: Batch, classes: Tensor) -> Tensor:
        """See `Trained.every`; the explained model is not run."""
        head, row = head_of(explainer, x.device)
        features = auxiliary_features(explainer, x, model.preprocess, classes.expand(len(x), -1))
        return head.every(features, row[classes].to(x.device))


def head_of(explainer: Explainer, device: torch.device) -> tuple[AttentionHead, Tensor]:
    """Return the head of an explainer on a device, and each class's row of its fusion, unpacked once."""
    if explainer not in _HEADS:
        _HEADS[explainer] = AttentionHead.unpacked(explainer.tensors, explainer.classes)
    head, row = _HEADS[explainer]
    return head.to(device), row


def unit(maps: Tensor) -> Tensor:
    """Return each of `(n, rows, columns)` maps from 0 at its lowest value to 1 at its highest."""
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    span = (high - low).clamp_min(1e-6)  # a constant map is 0, and has a gradient
    return (maps - low[:, None, None]) / span[:, None, None]


def scaled(maps: Tensor, objective: str | None) -> Tensor:
    """Return `(n, rows, columns)` maps as explanations, in [0, 1]: by range, or by trained ranks."""
    return shares_below(maps) if objective == "ranked" else unit(maps)


def shares_below(maps: Tensor) -> Tensor:
    """Return, for each cell of `(n, rows, columns)` maps, the share of the others that are lower."""
    flat = maps.flatten(1).contiguous()
    lower = torch.searchsorted(flat.sort(1).values, flat)
    return (lower / max(1, flat.shape[1] - 1)).reshape(maps.shape)
