"""Training of attention heads: P-TAME; what TAME and T-TAME share with it.

The explained model is asked twice a step, once for its answer and once behind the mask; of it, outputs and
the gradient with respect to its input are used. Only the row of the fusion that an image's class needs is
computed.

Beyond the paper, and off by default: `shared` lets all classes share a row of the fusion; `evidence` begins
with what the auxiliary network itself holds for a class (`methods.learned.evidence`); and other objectives
(`training.masks`) train masks as the field measures them. "surer" and "ranked" ask how much less sure the
model is behind the mask than without it, softplus(odds(x) - odds(masked x)) in log-odds of the answer, in
place of the cross-entropy: an input that the model is sure of anyway still teaches, until it is as sure
behind the mask. That is what average drop and increase in confidence ask. "ranked" bounds what one input can
lose (generalised cross-entropy): where much is shown, an answer that is lost anyway should not outweigh those
that can be kept; where little is shown most are lost, and a bound that tight would leave nothing to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from seewhy.errors import DoesNotFit
from seewhy.methods.base import require
from seewhy.methods.learned.attention_head import AttentionHead
from seewhy.methods.learned.evidence import evidence_stages, with_evidence
from seewhy.methods.learned.explainer import Explainer, auxiliary_network, described
from seewhy.methods.learned.ptame import scaled
from seewhy.methods.learned.stages import Features, Stage, find_stages, seen_size, translated
from seewhy.models.fast_copy import fast_copy
from seewhy.models.model import Model
from seewhy.resize import resize
from seewhy.training.base import TRAININGS, Step, Trainee, Training
from seewhy.training.losses import area, cross_entropy, generalised_cross_entropy, total_variation
from seewhy.training.masks import Objective, masks, shown
from seewhy.training.parts import lost_in_parts, ranges
from seewhy.types import Batch, Cells, Json, Maps, Rows, Scores, Size

ROWS = 0.1
"""Rate of classes' own rows where maps begin with evidence, as a multiple.

A row that is met rarely has little variance in Adam's eyes: one image then moves every weight of it by some
thirty times the rate, and its map becomes that image's noise.
"""
MUCH, TIGHT, LOOSE = 0.5, 1.0, 0.3
"""Shares of shown pixels from the first on have the second as q of "ranked"; those below, the third."""


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
        See `training.masks`. "surer" and "ranked" compare the answer's log-odds with and without the mask;
        for "ranked" the area is given, and has no weight.
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
            "paper, shown, surer or ranked",
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
    evidence
        The layers in which the auxiliary network's evidence for the class is read; none where the head takes
        none.
    """

    def __init__(
        self,
        method: str,
        model: Model,
        features: Features,
        spec: str | None,
        head: AttentionHead,
        loss: AttentionLoss,
        evidence: tuple[Stage, ...] = (),
    ) -> None:
        self.evidence = evidence
        self.method, self.model, self.features, self.spec = method, model, features, spec
        self.module: AttentionHead = head
        self.loss = loss
        self.rates = {"fusion": ROWS} if evidence else {}
        self.own = features.model is model
        self.itself = self.own or _same(features.model, model)
        self.asked, self.read = model, features
        self.frozen = (model,) if self.own else (model, features.model)
        self.arithmetic = nullcontext()

    def hasten(self, x: Batch) -> None:
        """See `Trainee.hasten`."""
        layers = [stage.layer for stage in self.features.stages]
        if self.own:
            self.asked = fast_copy(self.model, x, layers)
            self.read = replace(self.features, model=self.asked)
        else:
            self.asked = fast_copy(self.model, x)
            layers += [stage.layer for stage in self.evidence]
            auxiliary = fast_copy(self.features.model, self._seen(x), layers)
            self.read = replace(self.features, model=auxiliary)

    def step(self, x: Batch) -> Step:
        """See `Trainee.step`."""
        w = self.loss
        with torch.no_grad(), self.arithmetic:
            if self.itself:
                maps, output = self._features(x)
                classes = output.argmax(1)
            else:
                output = torch.cat([self.asked.answer(x[some]).output for some in ranges(x)])
                classes = output.argmax(1)
                maps, _ = self._features(x, classes)
        z: Tensor = self.module(maps, classes)
        mask = masks(z, x, w.objective)
        terms = {} if w.objective == "ranked" else {"area": area(mask, w.power)}
        if w.tv:
            terms["tv"] = total_variation(mask, w.border)
        if w.ce:
            terms["ce"] = lost_in_parts(x, mask, partial(self._lost, x, output, classes)).mean()
        loss = torch.stack([getattr(w, name) * term for name, term in terms.items()]).sum()
        return Step(loss, classes, {name: term.detach() for name, term in terms.items()})

    def _lost(self, x: Tensor, output: Tensor, classes: Tensor, some: slice, mask: Cells) -> Scores:
        """Return the `(k,)` losses of some inputs behind `(k, rows, columns)` masks."""
        x, classes = x[some], classes[some]
        with self.arithmetic:
            behind = self.behind(x, mask)
        if self.loss.objective in ("surer", "ranked"):
            lost = self.model.log_odds(output[some], classes) - self.model.log_odds(behind, classes)
            return self.less_sure(x, lost)
        return cross_entropy(self.model.log_probabilities(behind), classes)

    def behind(self, x: Batch, mask: Cells) -> Tensor:
        """Return the explained model's output on what `(n, rows, columns)` masks show."""
        return self.asked.answer(self.masked(x, mask)).output

    def less_sure(self, x: Batch, lost: Scores) -> Scores:
        """Return the `(n,)` losses for lost log-odds of the objectives that compare them."""
        if self.loss.objective == "surer":
            return softplus(lost)
        return generalised_cross_entropy(lost, torch.where(shown(x) >= MUCH, TIGHT, LOOSE))

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

    def maps(self, x: Batch, classes: Rows) -> Maps:
        """See `Trainee.maps`."""
        with torch.no_grad(), self.arithmetic:
            features, _ = self._features(x, classes)
        z: Tensor = self.module(features, classes)
        return resize(scaled(z, self.loss.objective), x.shape[2:])

    def finished(self, coverage: Sequence[int], settings: Json, record: Json) -> Explainer:
        """See `Trainee.finished`."""
        auxiliary = None
        if not self.own:
            auxiliary = {
                "spec": self.spec,
                "weights_sha256": self.features.model.weights_hash,
                "stages": [stage.layer for stage in self.features.stages],
            }
            if self.evidence:
                auxiliary["evidence"] = [stage.layer for stage in self.evidence]
        else:
            settings = {**settings, "stages": [stage.layer for stage in self.features.stages]}
        return Explainer(
            self.method,
            described(self.model, len(coverage)),
            auxiliary,
            tuple(coverage),
            settings,
            record,
            self.module.packed(coverage),
        )

    def _features(self, x: Batch, classes: Rows | None = None) -> tuple[list[Tensor], Tensor]:
        """Return features for classes, or for the network's own answers, and the network's output."""
        found = [self._part(x[some], None if classes is None else classes[some]) for some in ranges(x)]
        maps = [torch.cat(stage) for stage in zip(*(maps for maps, _ in found), strict=True)]
        return maps, torch.cat([output for _, output in found])

    def _part(self, x: Batch, classes: Rows | None) -> tuple[list[Tensor], Tensor]:
        if self.evidence:
            asked = None if classes is None else classes[:, None]
            with torch.autocast(x.device.type, enabled=False):
                return with_evidence(self.read, self.evidence, self._seen(x), asked)
        maps, output = self.read(self._seen(x))
        return [m.float() for m in maps], output

    def _seen(self, x: Batch) -> Tensor:
        return x if self.own else translated(x, self.model.preprocess, self.features.model)


def _same(one: Model, other: Model) -> bool:
    """Tell whether a pass of one model is a pass of the other."""
    return one.preprocess == other.preprocess and one.weights_hash == other.weights_hash


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
    evidence: tuple[Stage, ...] = (),
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
        head = AttentionHead(
            features.channels,
            classes,
            bias=bias,
            shared=shared,
            plain=plain,
            evidence=len(evidence),
        )
    return kind(method, model, features, spec, head.to(model.device), loss, evidence)


@TRAININGS.register
@dataclass(frozen=True)
class PTAMETraining(Training):
    """P-TAME: a head on the features of an auxiliary network.

    Parameters
    ----------
    auxiliary
        Spec of the frozen image network that gives the features (in Python also one's own: `provide`). It may
        be the explained network: its evidence for a class is then the model's own.
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
        "paper"; or (ours) "shown" and "surer": masks as the metrics make them, "ranked": the order of pixels
        alone. "surer" and "ranked" compare the answer's log-odds behind the mask with those without it.
        "ranked" with `shared` and 5 layers of `evidence`, the explained network being the auxiliary one, gave
        the best maps that we measured (docs/learned.md).
    shared
        Whether classes share a row of the fusion (ours): better maps for classes with few images.
    evidence
        In how many layers, from the back, the auxiliary network's own evidence for the class is read (ours),
        with which the map then begins; only where that network names the same classes. Each costs a pass back
        as far as it lies.
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
    evidence: int = 0

    def __post_init__(self) -> None:
        require(self.evidence >= 0, "Asked for evidence in so many layers", self.evidence, "Give 0 or more")
        self._loss()

    def _loss(self) -> AttentionLoss:
        return AttentionLoss(self.ce, self.area, self.tv, self.power, self.border, self.fill, self.objective)

    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> AttentionTrainee:
        """See `Training.begin`."""
        auxiliary = auxiliary_network(self.auxiliary)
        auxiliary.module.to(model.device)
        seen = seen_size(auxiliary, input_shape)
        stages = find_stages(auxiliary, seen, self.stages)
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
            evidence=evidence_stages(auxiliary, model, stages, seen, self.evidence) if self.evidence else (),
        )
