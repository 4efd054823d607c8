"""Training of real-time saliency: first the class selector, then the decoder, the selector as it is.

The selector learns whether a class is there: the model's own answer is, another one, drawn for some images,
is not. The decoder then learns masks of what the selector lets through. Wrong classes are the answers for
other images of the batch: where few classes have images at all, a class drawn from all would hardly be met
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods.base import require
from seewhy.methods.learned.explainer import Explainer, auxiliary_network, described
from seewhy.methods.learned.masking_model import MaskingModel, packed
from seewhy.methods.learned.stages import Features, find_stages, seen_size, translated
from seewhy.models.fast_copy import fast_copy
from seewhy.models.model import Model
from seewhy.perturb.counters import uniform
from seewhy.resize import resize
from seewhy.training.base import TRAININGS, Step, Trainee, Training
from seewhy.training.compositions import Composer
from seewhy.training.losses import area, total_variation
from seewhy.training.regions import OBJECTIVES, wrong_classes
from seewhy.types import Batch, Cells, Json, Maps, Rows, Size

_CHOICES = 0x5EED_FA4E


class MaskingTrainee(Trainee):
    """A masking model in training.

    Parameters
    ----------
    training
        Losses and shares.
    model
        The explained model.
    encoder
        The features that the masking model reads.
    module
        The masking model.
    seed
        Of the run.
    """

    def __init__(
        self,
        training: RealtimeSaliencyTraining,
        model: Model,
        encoder: Features,
        module: MaskingModel,
        seed: int,
    ) -> None:
        self.training, self.model, self.encoder, self.seed = training, model, encoder, seed
        self.module: MaskingModel = module
        self.frozen = (model, encoder.model)
        self.asked, self.read = model, encoder
        self.arithmetic = nullcontext()
        self.compose = Composer(model.preprocess, seed)
        self.selecting, self.images = True, torch.arange(0)

    def hasten(self, x: Batch) -> None:
        """See `Trainee.hasten`."""
        self.asked = fast_copy(self.model, x)
        layers = [stage.layer for stage in self.encoder.stages]
        self.read = replace(self.encoder, model=fast_copy(self.encoder.model, self._seen(x), layers))

    def turn(self, step: int, steps: int, images: Rows) -> tuple[int, int]:
        """See `Trainee.turn`: each of the two parts has a cycle of its own."""
        first = min(round(self.training.selector * steps), steps - 1)
        self.selecting, self.images = step < first, images
        self.module.embedding.requires_grad_(self.selecting)
        return (0, first) if self.selecting else (first, steps)

    @property
    def ready(self) -> bool:
        """See `Trainee.ready`."""
        return not self.selecting

    def step(self, x: Batch) -> Step:
        """See `Trainee.step`."""
        with torch.no_grad(), self.arithmetic:
            features = self._features(x)
            output = self.asked.answer(x).output
        classes = output.argmax(1)
        draws = uniform(self.seed ^ _CHOICES, self.images, 3).to(x.device)
        wrong = draws[:, 0] < (self.training.selector_fakes if self.selecting else self.training.fakes)
        asked = torch.where(wrong, wrong_classes(classes, output.shape[1], draws[:, 1:]), classes)
        if self.selecting:
            there = self.module.existence(features[-1], asked)
            loss = binary_cross_entropy_with_logits(there, (~wrong).to(there))
            return Step(loss, classes[~wrong], {"existence": loss.detach()})
        terms = self._terms(x, self.module(features, asked), classes, wrong)
        loss = torch.stack([getattr(self.training, name) * term for name, term in terms.items()]).sum()
        return Step(loss, classes[~wrong], {name: term.detach() for name, term in terms.items()})

    def maps(self, x: Batch, classes: Rows) -> Maps:
        """See `Trainee.maps`."""
        with torch.no_grad(), self.arithmetic:
            features = self._features(x)
        return resize(self.module(features, classes), x.shape[2:])

    def finished(self, coverage: Sequence[int], settings: Json, record: Json) -> Explainer:
        """See `Trainee.finished`."""
        auxiliary = {
            "spec": self.training.auxiliary,
            "weights_sha256": self.encoder.model.weights_hash,
            "stages": [stage.layer for stage in self.encoder.stages],
        }
        return Explainer(
            self.training.name,
            described(self.model, len(coverage)),
            auxiliary,
            tuple(coverage),
            settings,
            record,
            packed(self.module, coverage),
        )

    def _terms(self, x: Batch, mask: Cells, classes: Rows, wrong: Tensor) -> dict[str, Tensor]:
        t = self.training
        terms = {"area": area(mask, t.power)}
        if t.tv:
            terms["tv"] = total_variation(mask, t.border)
        if t.preserve or t.destroy:
            shown = self.compose(x, mask, 2 * self.images)
            hidden = self.compose(x, 1 - mask, 2 * self.images + 1)
            with self.arithmetic:
                output = self.asked.answer(torch.cat([shown, hidden])).output
            logits = t.objective == "hinge" and self.model.activation != "none"
            scores = output.float() if logits else self.model.log_probabilities(output)
            n = len(x)
            preserve, destroy = OBJECTIVES[t.objective](scores[:n], scores[n:], classes, wrong)
            terms |= {"preserve": preserve, "destroy": destroy}
        return terms

    def _features(self, x: Batch) -> list[Tensor]:
        maps, _ = self.read(self._seen(x))
        return [m.float() for m in maps]

    def _seen(self, x: Batch) -> Tensor:
        return translated(x, self.model.preprocess, self.encoder.model)


@TRAININGS.register
@dataclass(frozen=True)
class RealtimeSaliencyTraining(Training):
    """Real-time saliency: a masking model on the features of an auxiliary network.

    Parameters
    ----------
    auxiliary
        Spec of the frozen image network that gives the features (in Python also one's own: `provide`). The
        paper's is a ResNet-50.
    stages
        Names of its layers, of different resolutions; four are found when left out.
    widths
        Channels that the up-samplers put out, coarsest first; a quarter of the features that each joins, at
        least 16, when left out.
    objective
        "hinge", as the authors' public code trains; or "probability", as the paper writes the objective: its
        published constants could not be checked, the weights below are those of the hinges.
    preserve
        Weight of the model's answer for what the mask shows.
    destroy
        Weight of its answer for what remains.
    area
        Weight of the mask's area.
    tv
        Weight of the mask's variation.
    power
        Power of the area's values.
    border
        Weight of the frame in the variation.
    selector
        Share of the steps that train the selector.
    selector_fakes
        Share of the images for which a wrong class is drawn, in the selector's steps.
    fakes
        The same, in the decoder's steps.
    """

    name: ClassVar[str] = "realtime_saliency"
    title: ClassVar[str] = "Real-time saliency"
    searched: ClassVar[tuple[str, ...]] = ("preserve", "area", "tv")

    auxiliary: str = "mobilenet-v2"
    stages: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    objective: Literal["hinge", "probability"] = "hinge"
    preserve: float = 0.3
    destroy: float = 1.0
    area: float = 8.0
    tv: float = 0.005
    power: float = 0.3
    border: float = 0.3
    selector: float = 0.74
    selector_fakes: float = 0.5
    fakes: float = 0.3

    def __post_init__(self) -> None:
        weights = (self.preserve, self.destroy, self.area, self.tv, self.border)
        require(min(weights) >= 0, "Asked for weights of a loss", weights, "Give 0 or more")
        require(self.power > 0, "Asked for the power of the area", self.power, "Give more than 0")
        shares = (self.selector, self.selector_fakes, self.fakes)
        require(
            all(0 <= share < 1 for share in shares),
            "Asked for shares (selector, selector_fakes, fakes)",
            shares,
            "Give 0 or more, less than 1",
        )
        require(min(self.widths, default=1) > 0, "Asked for widths", self.widths, "Give 1 or more")
        require(
            self.objective in OBJECTIVES,
            "Asked for an objective",
            repr(self.objective),
            " or ".join(OBJECTIVES),
        )

    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> MaskingTrainee:
        """See `Training.begin`."""
        if not model.differentiable:
            raise DoesNotFit(
                f"Asked to train {self.name} for {model.name}",
                "It only runs forward, and training needs its gradient with respect to the input",
                "Train with the original network; an exported copy is explained by methods such as rise",
            )
        auxiliary = auxiliary_network(self.auxiliary)
        auxiliary.module.to(model.device)
        stages = find_stages(auxiliary, seen_size(auxiliary, input_shape), self.stages)
        if len({stage.grid.cells for stage in stages}) < max(2, len(stages)):
            raise DoesNotFit(
                f"Asked {auxiliary.name} for features of several resolutions",
                f"Found {[stage.grid.cells for stage in stages]}",
                "Choose an auxiliary CNN such as mobilenet-v2, or layers of different resolutions (stages)",
            )
        if self.widths and len(self.widths) != len(stages) - 1:
            raise BadInput(
                f"Asked for {len(self.widths)} widths", f"There are {len(stages)} stages", "Give one less"
            )
        encoder = Features(auxiliary, stages)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            module = MaskingModel(encoder.channels, classes, self.widths)
        return MaskingTrainee(self, model, encoder, module.to(model.device), seed)
