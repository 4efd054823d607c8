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
    one pass of the auxiliary network; the one forward pass of the model that is listed finds its answer.
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

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Paper, require
from seewhy.methods.learned.attention_head import AttentionHead
from seewhy.methods.learned.auxiliary import auxiliary_features
from seewhy.methods.learned.explainer import Explainer, misfit, open_explainer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json, Size

_HEADS: WeakKeyDictionary[Explainer, tuple[AttentionHead, Tensor]] = WeakKeyDictionary()


@METHODS.register
@dataclass(frozen=True)
class PTAME(Method):
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
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "P-TAME: Explain Any Image Classifier with Trained Perturbations",
        "Ntrougkas, Mezaris, Patras",
        2025,
        "https://arxiv.org/abs/2501.17813",
    )

    explainer: str | None = None
    gamma: float = 1.0

    def __post_init__(self) -> None:
        require(self.gamma > 0, "Asked for the power of a map's values", self.gamma, "Give more than 0")

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return misfit(self.explainer, self.name, model)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        explainer = open_explainer(self.explainer or "")
        classes = asked_classes(question, explainer, self.title)
        head, row = head_of(explainer, question.x.device)
        rows = row.to(question.x.device)[torch.tensor(classes, device=question.x.device)]

        def maps(start: int, stop: int) -> Tensor:
            with torch.no_grad():
                asked = torch.tensor(classes[start:stop])[:, None]
                features = auxiliary_features(
                    explainer, question.x[start:stop], question.model.preprocess, asked
                )
                part: Tensor = head(features, rows[start:stop])
                return part

        found = torch.cat(list(question.in_batches(len(question.x), maps, self.title)))
        native = scaled(found, explainer.settings.get("objective"))
        native = native.pow(self.gamma) if self.gamma != 1 else native
        about = explainer.auxiliary or {}
        notes: Json = {
            "auxiliary": {**about, "passes": 1},
            "explainer": explainer_notes(explainer),
        }
        trained = tuple({"images that trained the class": explainer.coverage[c]} for c in classes)
        yield Estimate(native, notes=notes, reliability=trained)

    def all_classes(
        self, model: Model | nn.Module, inputs: Any, classes: Sequence[int] | None = None
    ) -> Tensor:
        """Return the maps of many classes for the price of one pass.

        Parameters
        ----------
        model
            The explained model; it is not run.
        inputs
            As for a call.
        classes
            Which; all covered classes (`Explainer.covered`) when left out.

        Returns
        -------
        Tensor
            `(n, k, rows, columns)` float32 on the finest stage's grid, before scaling: of several classes,
            the higher value at a place says whose evidence it is.

        Raises
        ------
        DoesNotFit
            When the explainer is not the model's.
        """
        model = model if isinstance(model, Model) else Model(model)
        if reason := self.unfit(model):
            raise DoesNotFit(f"Asked {self.title} for maps of {model.name}", f"It does not fit: {reason}")
        explainer = open_explainer(self.explainer or "")
        x = model.prepare(inputs).tensor.to(model.device)
        head, row = head_of(explainer, x.device)
        wanted = torch.tensor(explainer.covered if classes is None else list(classes))
        with torch.no_grad():
            asked = wanted.expand(len(x), -1)
            features = auxiliary_features(explainer, x, model.preprocess, asked)
            return head.every(features, row[wanted].to(x.device)).float().cpu()


def head_of(explainer: Explainer, device: torch.device) -> tuple[AttentionHead, Tensor]:
    """Return the head of an explainer on a device, and each class's row of its fusion, unpacked once."""
    if explainer not in _HEADS:
        _HEADS[explainer] = AttentionHead.unpacked(explainer.tensors, explainer.classes)
    head, row = _HEADS[explainer]
    return head.to(device), row


def asked_classes(question: Question, explainer: Explainer, title: str) -> list[int]:
    """Return the class of each sample, warning of those that training hardly met.

    Raises
    ------
    DoesNotFit
        When the target is no class, or the model has other classes than the explainer.
    """
    indices = [d.get("index") for d in question.target.descriptions]
    if any(not isinstance(i, int) for i in indices):
        raise DoesNotFit(
            f"Asked {title} to explain {question.target.descriptions[0]['label']}",
            "It has maps of single classes only",
            "Ask for a class, or use another method",
        )
    classes = [int(i) for i in indices if i is not None]
    if question.output.ndim != 2 or question.output.shape[1] != explainer.classes:
        raise BadInput(
            f"Asked {title} to explain {question.model.name}",
            f"Its output is {tuple(question.output.shape[1:])}, the explainer's {explainer.classes} classes",
            "Train an explainer for this model",
        )
    advice = "grad_cam" if question.model.differentiable else "rise"
    told = [explainer.warning(c, question.model.label(c), advice) for c in dict.fromkeys(classes)]
    if doubtful := [text for text in told if text]:
        more = f" The same goes for {len(doubtful) - 1} more of these classes." if len(doubtful) > 1 else ""
        warnings.warn(doubtful[0] + more, UserWarning, stacklevel=1)
    return classes


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


def explainer_notes(explainer: Explainer) -> Json:
    """Return what a result remembers of the explainer that made it."""
    return {
        "classes covered": len(explainer.covered),
        "classes": explainer.classes,
        "settings": explainer.settings,
        "steps": explainer.record.get("steps"),
    }
