"""Layer-wise relevance propagation.

The score is relevance that every layer, from the last to the first, hands back to its inputs in the
proportion in which they contributed; what arrives at the pixels is the map. How contributions are counted is
a rule, and a composite gives each kind of layer its own: plain and specific near the answer, positive only in
the convolutions, even at the pixels.

Formula
    R_i = sum over outputs j of a layer of c_ij R_j / n_j; x+ and w- are the positive and negative part.
    epsilon: c = x w, n = sum c + b + epsilon sign(n).
    z_plus: c = x+ w+ + x- w-, n = sum c + b+.
    alpha_beta: alpha times z_plus, minus (alpha - 1) times c = x+ w- + x- w+, n = sum c + b-.
    gamma: at outputs above 0, c = x w + gamma (x+ w+ + x- w-), n = sum c + b + gamma b+; below, the mirror.
    flat: c = 1.  w_square: c = w w.  z_box: c = x w - low w+ - high w-.  For these n = sum c.
    The gradient of the score times the answer starts; the map is the sum over channels.
Needs
    gradients, and eager PyTorch (neither compiled nor scripted). Operations are covered, or refused by name
    and layer; autograd functions of the network's own count by their gradient.
Cost
    two forward passes and one backward pass; on the way back a rule repeats its layer once (epsilon, flat) to
    six times (gamma with signed inputs).
Other layers
    Batch norm counts as part of the convolution or matrix before it, by equivalent parameters; elsewhere
    relevance passes it unchanged, as it passes activations (ReLU, SiLU, GELU ...). Sums, residual ones
    included, share in proportion to the summands. Average pooling is linear; maximum pooling gives to the
    winner. Gates (sigmoid, as in squeeze-and-excitation) and the deviations of LayerNorm count as constants.
    Products of two activations give half to each, in attention too; the softmax goes by its gradient
    ("taylor") or counts as a constant. Matrices and kernels that are not layers are linear maps.
Conservation
    Relevance keeps its sum from layer to layer. What leaks: the part of biases (those of LayerNorm, too) and
    added constants such as positions; epsilon's stabiliser; the softmax ("taylor"); outputs without a single
    contribution of a sign that their rule asks for. Without all that, the map sums to the score. The map's
    sum over the score is measured for each sample and kept as `kept`. Under z_plus the merged biases of batch
    norm can keep nearly everything in deep networks (MobileNet, EfficientNet): the map is small, not
    wrong. `biases="share"` hands that out as far as contributions can take it (a depthwise convolution's
    output may have none but the bias). It suits z_plus; under epsilon and gamma, denominators without their
    bias may nearly vanish, and the map is noisy.
Sanity
    With the default composite of CNNs maps fail parameter randomisation: z_plus keeps relevance positive,
    whatever the class, and the map follows the input. On EfficientNet-Lite0 its rank correlation with the map
    of the trained network is 0.75 with the last layer shuffled, 0.73 with the upper half of the layers, 0.42
    with all; with "epsilon", which has signs, 0.47, 0.44 and 0.07 (docs/sanity.md).
Paper
    Bach et al.: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation, 2015, https://doi.org/10.1371/journal.pone.0130140. Composites: Montavon et al.: Layer-Wise
    Relevance Propagation: An Overview, 2019, https://doi.org/10.1007/978-3-030-28954-6_10. Transformers:
    Achtibat et al.: AttnLRP, 2024, https://arxiv.org/abs/2402.05602.
Patents
    The AttnLRP authors' own package comes under a licence that grants no patent rights: rules of this kind
    may be covered by patents, so ask before commercial use.
Departures
    gradients carry relevance divided by activation, so that sums need no rule and no stabiliser. Batch norm
    merges without touching the network. z_box takes black and white as bounds, or each sample's extremes
    where the normalisation is not known. Cosine scores start with the embedding's length held fixed. Gates
    as constants are ours, and so is the choice of a composite where none is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.methods.relevance.composites import (
    COMPOSITES,
    FIRST_ONLY,
    Composite,
    CompositeName,
    RuleName,
    box_of,
    rule_named,
)
from seewhy.methods.relevance.propagation import follow
from seewhy.methods.relevance.rules import Rule
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Batch, Maps, Size


@METHODS.register
@dataclass(frozen=True)
class LRP(Method):
    """The score handed back layer by layer in proportion to contributions.

    Parameters
    ----------
    composite
        Rules for the first layer, convolutions and matrices, by name. None takes "epsilon_plus_flat", and
        "gamma" for networks with more matrices than convolutions, where epsilon is noisy; the choice is kept
        in the provenance.
    first, convolution, linear
        A rule in the place of the composite's.
    epsilon
        Stabiliser of the epsilon rule, 0 or more.
    gamma
        How much more positive contributions count in the gamma rule, 0 or more.
    alpha
        Weight of positive contributions in the alpha-beta rule, at least 1; beta is alpha - 1.
    biases
        Biases of layers "keep" their part of the relevance, or "share" it out to the inputs, which rules then
        count alone.
    softmax
        Attention weights: "taylor" by their gradient, "constant" for relevance through values only.
    """

    name: ClassVar[str] = "lrp"
    title: ClassVar[str] = "LRP"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
        "Bach, Binder, Montavon, Klauschen, Müller, Samek",
        2015,
        "https://doi.org/10.1371/journal.pone.0130140",
    )

    composite: CompositeName | None = None
    first: RuleName | None = None
    convolution: RuleName | None = None
    linear: RuleName | None = None
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    biases: Literal["keep", "share"] = "keep"
    softmax: Literal["taylor", "constant"] = "taylor"

    def __post_init__(self) -> None:
        require(
            self.composite is None or self.composite in COMPOSITES,
            "Asked for a composite of rules",
            repr(self.composite),
            f"Choose one of {', '.join(COMPOSITES)}",
        )
        rules = ("epsilon", "gamma", "z_plus", "alpha_beta")
        for kind, name in (("convolutions", self.convolution), ("matrices", self.linear)):
            require(
                name is None or name in rules,
                f"Asked for a rule of {kind}",
                repr(name),
                f"Choose one of {', '.join(rules)}",
            )
        require(
            self.first is None or self.first in (*rules, *FIRST_ONLY),
            "Asked for a rule of the first layer",
            repr(self.first),
            f"Choose one of {', '.join((*rules, *FIRST_ONLY))}",
        )
        require(self.epsilon >= 0, "Asked for an epsilon", self.epsilon, "Give 0 or more")
        require(self.gamma >= 0, "Asked for a gamma", self.gamma, "Give 0 or more")
        require(self.alpha >= 1, "Asked for an alpha", self.alpha, "Give at least 1")
        require(
            self.biases in ("keep", "share"),
            "Asked what biases do",
            repr(self.biases),
            "Choose keep or share",
        )
        require(
            self.softmax in ("taylor", "constant"),
            "Asked how relevance meets a softmax",
            repr(self.softmax),
            "Choose taylor or constant",
        )

    @property
    def signed(self) -> bool:
        """Negative values spoke against the target."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        for name, module in model.module.named_modules():
            if isinstance(module, torch.jit.ScriptModule) or type(module).__name__ == "OptimizedModule":
                return f"{name or model.name} is compiled or scripted, so that its operations cannot be seen"
        return super().unfit(model)

    def chosen(self, model: Model) -> CompositeName:
        """Return the name of the composite for this model."""
        kinds = [type(m).__name__ for m in model.module.modules()]
        matrices = sum("Linear" in k for k in kinds) + 3 * kinds.count("MultiheadAttention")
        by_kind: CompositeName = (
            "gamma" if matrices > sum("Conv" in k for k in kinds) else "epsilon_plus_flat"
        )
        return self.composite or by_kind

    def rules(self, model: Model, x: Batch) -> Composite:
        """Return the rules for inputs `x`."""
        box = box_of(x, model.preprocess)

        def rule(name: RuleName) -> Rule:
            return rule_named(name, epsilon=self.epsilon, gamma=self.gamma, alpha=self.alpha, box=box)

        first, convolution, linear = COMPOSITES[self.chosen(model)]
        first = self.first or first
        return Composite(
            None if first is None else rule(first),
            rule(self.convolution or convolution),
            rule(self.linear or linear),
            self.biases == "share",
        )

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""

        def run(start: int, stop: int) -> Maps:
            rules = self.rules(question.model, question.x[start:stop])
            trace = follow(question, start, stop, rules, self.softmax)
            question.passes.backward += stop - start
            return channel_sum(trace.relevance().pixels)

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        sums = maps.flatten(1).sum(1).tolist()
        yield Estimate(
            maps,
            notes={"composite": self.chosen(question.model)},
            reliability=tuple(
                {"kept": total / score if score else None}
                for total, score in zip(sums, question.clean.tolist(), strict=True)
            ),
        )
