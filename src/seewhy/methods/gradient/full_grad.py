"""FullGrad.

A network of ReLUs is linear around every input: its score is exactly the input times its gradient plus every
bias times its gradient. FullGrad hands the score out to both, and the biases of a layer with a grid have a
place, too, so that it shows large regions besides edges.

The published map fails parameter randomisation: it adds up magnitudes of every layer into a smooth shape in
the middle of the picture, and on EfficientNet-Lite0 its rank correlation with the map of the trained network
is 0.87 with the last layer shuffled, 0.66 with the upper half of the layers and 0.81 with all
(docs/sanity.md).

How far the terms miss the score is measured (`completeness_error`, a fraction of their magnitudes). Where
they miss it by more than .1 percent the network is not made of parts that this method knows, and is refused.

Formula
    f(x) = sum of x * df/dx + sum over layers l of b_l * df/dz_l, where z_l is what b_l was added to.
    Published map: sum over channels of r(|x * df/dx|) + sum over l of the sum over channels of
    enlarge(r(|b_l * df/dz_l|)), with r scaling each sample's term to [0, 1].
    Complete map (`post="complete"`): the terms themselves, signed; the map and `unplaced`, the part of
    biases without a place, add up to the score.
Needs
    gradients, and a network of convolutions, linear layers, batch norm, elementwise activations, pooling and
    sums: layer norm, attention and products of activations are refused.
Cost
    one forward and one backward pass; one more forward for the prediction.
Paper
    Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization, 2019,
    https://arxiv.org/abs/1905.00780.
Departures
    activations h other than ReLU count with the offset of their tangent, h(z) - h'(z) z, as a bias. Biases
    of layers with a single cell, or without a grid, have no place and stay out of the map. Terms are enlarged
    with half-pixel centres. The complete map is ours; there an enlarged term is divided by the pixels of a
    cell, which keeps its sum (nearly, where sizes do not divide evenly).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, require
from seewhy.methods.gradient.biases import Biases
from seewhy.question import Question
from seewhy.resize import resize
from seewhy.types import Maps, Scores, Size

_LARGEST_GAP = 1e-3
"""Of the magnitudes of the terms: far above rounding, far below what an unknown layer leaves."""


@METHODS.register
@dataclass(frozen=True)
class FullGrad(Method):
    """Input and bias terms of the score.

    Parameters
    ----------
    post
        "published": magnitudes, each term scaled to [0, 1]; "complete": the signed terms themselves.
    """

    name: ClassVar[str] = "full_grad"
    title: ClassVar[str] = "FullGrad"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Full-Gradient Representation for Neural Network Visualization",
        "Srinivas, Fleuret",
        2019,
        "https://arxiv.org/abs/1905.00780",
    )

    post: Literal["published", "complete"] = "published"

    def __post_init__(self) -> None:
        require(
            self.post in ("published", "complete"),
            "Asked FullGrad for post-processing",
            repr(self.post),
            "Choose published or complete",
        )

    @property
    def signed(self) -> bool:
        """True for the complete map."""
        return self.post == "complete"

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""

        def run(start: int, stop: int) -> tuple[Maps, Scores, Scores]:
            return self._explained(question, start, stop)

        batches = list(question.in_batches(len(question.x), run, self.title))
        maps, unplaced, gaps = (torch.cat(parts) for parts in zip(*batches, strict=True))
        if float(gaps.max()) > _LARGEST_GAP:
            raise DoesNotFit(
                f"Asked {self.title} to explain {question.model.name}",
                f"Input and bias terms miss the score by {float(gaps.max()):.1%} of their size: it is not "
                "made of linear layers, batch norm and elementwise activations alone",
                "Choose a method that fits any network (integrated_gradients), or a logit as the target",
            )
        yield Estimate(
            maps,
            reliability=tuple(
                {"completeness_error": gap, "unplaced": rest}
                for gap, rest in zip(gaps.tolist(), unplaced.tolist(), strict=True)
            ),
        )

    def _explained(self, question: Question, start: int, stop: int) -> tuple[Maps, Scores, Scores]:
        """Return maps, what has no place in them, and how far all terms miss the score."""
        x = question.x[start:stop].detach().requires_grad_()
        with torch.enable_grad(), Biases() as biases:
            scores = question.scores(x, question.rows[start:stop])
        wrt = [t for kept in biases.kept for t in kept.wrt]
        slope, *others = question.gradients(scores, [x, *wrt])
        slopes = iter(others)
        terms = [x.detach().float() * slope.float()]
        n, placed = len(x), [True]
        for kept in biases.kept:
            term = kept.term(*[next(slopes) for _ in kept.wrt])
            terms.append(term)
            grid = term.shape[2:] if kept.channels_first else ()
            placed.append(len(term) == n and len(grid) == x.ndim - 2 and prod(grid) > 1)
        # A layer may see parts of samples as samples (windows); a wrong guess shows in the gap.
        sums = torch.stack(
            [t.double().reshape(n if len(t) % n == 0 else 1, -1).sum(1).expand(n) for t in terms]
        )
        score = scores.detach().double()
        gap = (sums.sum(0) - score).abs() / (sums.abs().sum(0) + score.abs()).clamp_min(1e-12)
        size = tuple(x.shape[2:])
        maps = torch.zeros(len(x), *size, device=x.device)
        for term, here in zip(terms, placed, strict=True):
            if here:
                maps += self._post(term, size)
        outside = [s for s, here in zip(sums, placed, strict=True) if not here]
        unplaced = torch.stack(outside).sum(0) if outside else torch.zeros_like(score)
        return maps, unplaced.float(), gap.float()

    def _post(self, term: Tensor, size: Size) -> Maps:
        """Turn a term `(n, c, *cells)` into its part of the map."""
        if self.post == "complete":
            return resize(term.sum(1), size) * (prod(term.shape[2:]) / prod(size))
        flat = term.abs().flatten(1)
        flat = flat - flat.amin(1, keepdim=True)
        flat = flat / flat.amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        return resize(flat.reshape(term.shape).sum(1), size)
