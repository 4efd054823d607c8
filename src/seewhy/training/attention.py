"""Training of attention heads: P-TAME; what TAME and T-TAME share with it.

The explained model is asked twice a step, once for its answer and once behind the mask; of it, outputs and
the gradient with respect to its input are used. Only the row of the fusion that an image's class needs is
computed.

Beyond the paper, and off by default: `shared` lets all classes share a row of the fusion;
`objective="shown"` trains the mask that metrics will use, scaled from 0 to 1 and cut to the highest 100, 50
or 15 per cent of its cells, a share drawn for each image. The cut is softened (a sigmoid of width 0.05), so
that cells just below it still learn. `objective="surer"` cuts sharply and takes the soft cut for the slope
only; and it asks how much less sure the model is behind the mask than without it, softplus(odds(x) -
odds(masked x)) in log-odds of the answer, in place of the cross-entropy: an input that the model is sure of
anyway still teaches, until it is as sure behind the mask. That is what average drop and increase in
confidence ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from seewhy.errors import DoesNotFit
from seewhy.methods.base import require
from seewhy.methods.learned.attention_head import AttentionHead, packed
from seewhy.methods.learned.explainer import Explainer, auxiliary_network, described
from seewhy.methods.learned.ptame import unit
from seewhy.methods.learned.stages import Features, find_stages, seen_size, translated
from seewhy.models.model import Model
from seewhy.perturb.counters import uniform
from seewhy.resize import resize
from seewhy.training.base import TRAININGS, Step, Trainee, Training
from seewhy.training.frozen import fast_copy
from seewhy.training.losses import area, cross_entropy, log_odds, total_variation
from seewhy.types import Batch, Cells, Json, Maps, Rows, Size

Objective = Literal["paper", "shown", "surer"]
SHARES = (1.0, 0.5, 0.15)
"""Shares of the cells that "shown" and "surer" keep: those at which the field measures masks."""
_SOFT = 0.05


@dataclass(frozen=True)
class AttentionLoss:
    """The terms and their weights.

    Parameters
    ----------
    ce, area, tv
        Weights of the answer behind the mask, of the mask's area and of its total variation.
    power
        Of the area.
    border
        Weight of the outermost cells in the total variation.
    fill
        What shows behind the mask, in display pixels, 0 to 255; None for the mean colour.
    objective
        "paper" masks with a sigmoid; "shown" (ours) masks as the metrics do; "surer" (ours) does too, and
        compares the answer's log-odds with and without the mask.
    """

    ce: float
    area: float
    tv: float
    power: float = 0.3
    border: float = 0.3
    fill: float | None = None
    objective: Objective = "paper"

    def __post_init__(self) -> None:
        weights = (self.ce, self.area, self.tv, self.border)
        require(min(weights) >= 0, "Asked for weights of a loss", weights, "Give 0 or more")
        require(self.power > 0, "Asked for the power of the area", self.power, "Give more than 0")
        require(
            self.objective in get_args(Objective),
            "Asked for an objective",
            repr(self.objective),
            "paper, shown or surer",
        )


class AttentionTrainee(Trainee):
    """A head in training.

    Parameters
    ----------
    method
        Name of the method that will use it.
    model
        The explained model.
    features
        Of the auxiliary network; or of `model` itself.
    spec
        By which the auxiliary network is loaded again; None where there is none.
    head, loss
        What is trained, and on what.
    """

    def __init__(
        self,
        method: str,
        model: Model,
        features: Features,
        spec: str | None,
        head: AttentionHead,
        loss: AttentionLoss,
    ) -> None:
        self.method, self.model, self.features, self.spec = method, model, features, spec
        self.module: AttentionHead = head
        self.loss = loss
        self.own = features.model is model
        self.asked, self.read = model, features
        self.frozen = (model,) if self.own else (model, features.model)
        self.arithmetic = nullcontext()
        self._drawn = 0

    def hasten(self, x: Batch) -> None:
        """See `Trainee.hasten`."""
        layers = [stage.layer for stage in self.features.stages]
        if self.own:
            self.asked = fast_copy(self.model, x, layers)
            self.read = replace(self.features, model=self.asked)
        else:
            self.asked = fast_copy(self.model, x)
            auxiliary = fast_copy(self.features.model, self._seen(x), layers)
            self.read = replace(self.features, model=auxiliary)

    def step(self, x: Batch) -> Step:
        """See `Trainee.step`."""
        w = self.loss
        with torch.no_grad(), self.arithmetic:
            maps, output = self._features(x)
            if not self.own:
                output = self.asked.answer(x).output
        classes = output.argmax(1)
        z: Tensor = self.module(maps, classes)
        mask = z.sigmoid() if w.objective == "paper" else self.shown(unit(z), x)
        terms = {"area": area(mask, w.power)}
        if w.tv:
            terms["tv"] = total_variation(mask, w.border)
        if w.ce:
            with self.arithmetic:
                behind = self.behind(x, mask)
            if w.objective == "surer":
                lost = self.odds(output, classes) - self.odds(behind, classes)
                terms["ce"] = softplus(lost).mean()
            else:
                terms["ce"] = cross_entropy(self.model.log_probabilities(behind), classes)
        loss = torch.stack([getattr(w, name) * term for name, term in terms.items()]).sum()
        return Step(loss, classes, {name: term.detach() for name, term in terms.items()})

    def behind(self, x: Batch, mask: Cells) -> Tensor:
        """Return the explained model's output on what `(n, rows, columns)` masks show."""
        return self.asked.answer(self.masked(x, mask)).output

    def odds(self, output: Tensor, classes: Rows) -> Tensor:
        """Return `(n,)` log-odds of each sample's class, without loss where the model is sure."""
        if self.model.activation == "sigmoid":
            return output.float().gather(1, classes[:, None])[:, 0]
        return log_odds(self.model.log_probabilities(output), classes)

    def masked(self, x: Batch, mask: Cells) -> Batch:
        """Return inputs behind `(n, rows, columns)` masks."""
        keep = resize(mask, x.shape[2:])[:, None].to(x)
        if self.loss.fill is None:
            return keep * x
        look = self.model.preprocess
        if look is None:
            raise DoesNotFit(
                "Asked to hide behind a grey level",
                f"{self.model.name} has no preprocessing",
                "Give fill=None (in Python), or a Model with its Preprocessing",
            )
        fill = look.normalised(self.loss.fill).to(x).reshape(1, -1, 1, 1)
        return fill + keep * (x - fill)

    def shown(self, mask: Cells, x: Batch) -> Cells:
        """Return masks cut to a share of their cells drawn for each image (from its pixels).

        Softly, or, under "surer", sharply with the slope of the soft cut.
        """
        flat = mask.flatten(1)
        key = x.detach().float().flatten(1)[:, ::97].sum(1).mul(4096).long().abs()
        which = (uniform(0, key, 1)[:, 0] * len(SHARES)).long()
        kept = (torch.tensor(SHARES, device=mask.device)[which] * flat.shape[1]).round().long()
        order = flat.detach().sort(1, descending=True).values
        cut = order.gather(1, (kept - 1)[:, None])
        gate = torch.sigmoid((flat - cut) / _SOFT)
        if self.loss.objective == "surer":
            gate = (flat >= cut).to(gate) + (gate - gate.detach())
        gate = torch.where((which == 0)[:, None], torch.ones_like(gate), gate)
        return (flat * gate).reshape(mask.shape)

    def maps(self, x: Batch, classes: Rows) -> Maps:
        """See `Trainee.maps`."""
        with torch.no_grad(), self.arithmetic:
            features, _ = self._features(x)
        z: Tensor = self.module(features, classes)
        return resize(unit(z), x.shape[2:])

    def finished(self, coverage: Sequence[int], settings: Json, record: Json) -> Explainer:
        """See `Trainee.finished`."""
        auxiliary = None
        if not self.own:
            auxiliary = {
                "spec": self.spec,
                "weights_sha256": self.features.model.weights_hash,
                "stages": [stage.layer for stage in self.features.stages],
            }
        else:
            settings = {**settings, "stages": [stage.layer for stage in self.features.stages]}
        return Explainer(
            self.method,
            described(self.model, len(coverage)),
            auxiliary,
            tuple(coverage),
            settings,
            record,
            packed(self.module, coverage),
        )

    def _features(self, x: Batch) -> tuple[list[Tensor], Tensor]:
        maps, output = self.read(self._seen(x))
        return [m.float() for m in maps], output

    def _seen(self, x: Batch) -> Batch:
        return x if self.own else translated(x, self.model.preprocess, self.features.model)


def begin(
    method: str,
    model: Model,
    features: Features,
    spec: str | None,
    loss: AttentionLoss,
    classes: int,
    seed: int,
    *,
    bias: bool,
    shared: bool = False,
    plain: bool = False,
    kind: type[AttentionTrainee] = AttentionTrainee,
) -> AttentionTrainee:
    """Return a trainee whose head is drawn from a seed; the global generators are not moved."""
    if not model.differentiable:
        raise DoesNotFit(
            f"Asked to train {method} for {model.name}",
            "It only runs forward, and training needs its gradient with respect to the input",
            "Train with the original network; an exported copy is explained by methods such as rise",
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        head = AttentionHead(features.channels, classes, bias=bias, shared=shared, plain=plain)
    return kind(method, model, features, spec, head.to(model.device), loss)


@TRAININGS.register
@dataclass(frozen=True)
class PTAMETraining(Training):
    """P-TAME: a head on the features of an auxiliary network.

    Parameters
    ----------
    auxiliary
        Spec of the frozen image network that gives the features (in Python also one's own: `provide`).
    stages
        Names of its layers; four are found when left out.
    ce
        Weight of the cross-entropy of the model's answer behind the mask. The paper tuned the weights for
        each model: these are its ResNet-50's.
    area
        Weight of the mask's area.
    tv
        Weight of the mask's variation.
    power
        Power of the area's values.
    border
        Weight of the frame in the variation.
    fill
        Grey level (0 to 255) behind the mask; the mean colour when left out.
    objective
        "paper"; "shown" (ours): masks as the metrics make them; "surer" (ours): so too, and the answer's
        log-odds behind the mask are compared with those without it.
    shared
        Whether classes share a row of the fusion (ours): better maps for classes with few images.
    """

    name: ClassVar[str] = "ptame"
    title: ClassVar[str] = "P-TAME"
    searched: ClassVar[tuple[str, ...]] = ("area", "tv")

    auxiliary: str = "mobilenet-v2"
    stages: tuple[str, ...] = ()
    ce: float = 0.16143
    area: float = 0.83857
    tv: float = 0.0
    power: float = 0.3
    border: float = 0.3
    fill: float | None = None
    objective: Objective = "paper"
    shared: bool = False

    def __post_init__(self) -> None:
        self._loss()

    def _loss(self) -> AttentionLoss:
        return AttentionLoss(self.ce, self.area, self.tv, self.power, self.border, self.fill, self.objective)

    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> AttentionTrainee:
        """See `Training.begin`."""
        auxiliary = auxiliary_network(self.auxiliary)
        auxiliary.module.to(model.device)
        stages = find_stages(auxiliary, seen_size(auxiliary, input_shape), self.stages)
        return begin(
            self.name,
            model,
            Features(auxiliary, stages),
            self.auxiliary,
            self._loss(),
            classes,
            seed,
            bias=False,
            shared=self.shared,
        )
