"""Extremal perturbations: the region of a given area that excites the model most.

A smooth mask is optimised for one input: the score of what it keeps should be as high as possible, while
its area is held to a given share of the image. The perturbation is a blur that grows as less is kept.
Several areas are optimised side by side; their mean ranks the pixels.

Formula
    With parameters theta, m = m(theta) the smooth maximum of bumps around them
    (`methods.optimised.smooth_max`) and P(m) the picture of the blur pyramid (`perturb.pyramid`), for each
    area a: maximise f(P(m)) - lambda_t mean((sort(m) - r_a)^2), r_a being sorted zeros and a share a of
    ones; lambda_0 = 300, lambda_{t+1} = 1.0035 lambda_t. SGD from theta = 1, rate 0.01, momentum 0.9,
    dampening 0.9, theta clamped to [0, 1] after each step; every other step mirrors the picture. "delete"
    minimises f(P(1 - m)), "dual" maximises f(P(m)) - f(P(1 - m)). The map is the mean of the final masks
    over the areas, in [0, 1]. Not signed.
Needs
    gradients with respect to the input.
Cost
    `steps` forward and backward passes an area (twice that for "dual"); one forward pass an area in the end.
Paper
    Fong, Patrick, Vedaldi: Understanding Deep Networks via Extremal Perturbations and Smooth Masks, ICCV
    2019, https://arxiv.org/abs/1910.08485
Departures
    Lengths (spacing 7, bump 21, blur 20 pixels) hold at 224 pixels and scale with the shorter side. The
    mask is that after the last step. The mean over areas is ours where the authors add the masks up. A
    crisp mask cannot be smaller than one bump, about 3 % of the image: choose a smaller `sigma` for smaller
    areas; `areas` in the result says which share of each mask came out above one half, `scores` what the
    kept (for "delete" the remaining) part scores, `clean` being the input's own. For clips each frame has
    its own mask, the area is that of all frames together. The weight 300 is made for logits; scores of
    another scale want another `weight`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.optimised.descent import descend, scaled
from seewhy.methods.optimised.smooth_max import SmoothMax
from seewhy.perturb.blurs import filtered, gaussian
from seewhy.perturb.pyramid import blur_levels, mixed
from seewhy.question import Question
from seewhy.types import Json, Size

Variant = Literal["preserve", "delete", "dual"]
Perturbation = Literal["blur", "fade"]
_GROWTH = 1.0035
_BLUR = 20


@METHODS.register
@dataclass(frozen=True)
class ExtremalPerturbation(Method):
    """Masks of fixed area that keep, or delete, the most.

    Parameters
    ----------
    areas
        Shares of the input that masks keep, between 0 and 1, each optimised by itself.
    variant
        "preserve", "delete" or "dual".
    perturbation
        "blur", or "fade" to the mean colour.
    steps
        Steps of gradient descent, at least 1.
    weight
        Weight of the area in the first step, more than 0.
    rate
        Learning rate, more than 0.
    spacing, sigma
        Pixels between parameters and width of their bumps, on 224 pixels.
    mirror
        Whether every other step sees the picture mirrored.
    smooth
        Deviation of a blur of the final map as a share of the shorter side; 0 for none. The paper's pointing
        game uses 0.09.
    """

    name: ClassVar[str] = "extremal_perturbation"
    title: ClassVar[str] = "Extremal perturbation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        "Understanding Deep Networks via Extremal Perturbations and Smooth Masks",
        "Fong, Patrick, Vedaldi",
        2019,
        "https://arxiv.org/abs/1910.08485",
    )

    areas: tuple[float, ...] = (0.1,)
    variant: Variant = "preserve"
    perturbation: Perturbation = "blur"
    steps: int = 800
    weight: float = 300.0
    rate: float = 0.01
    spacing: float = 7.0
    sigma: float = 21.0
    mirror: bool = True
    smooth: float = 0.0

    def __post_init__(self) -> None:
        asked = "Asked for an extremal perturbation"
        require(
            bool(self.areas) and all(0 < a < 1 for a in self.areas),
            f"{asked} of areas",
            self.areas,
            "Give shares between 0 and 1",
        )
        require(self.steps >= 1, f"{asked} with steps", self.steps, "Give at least 1")
        positive = (self.weight, self.rate, self.spacing, self.sigma)
        require(min(positive) > 0, f"{asked} with weight, rate, spacing, sigma", positive, "Give more than 0")
        require(self.smooth >= 0, f"{asked} with smooth", self.smooth, "Give 0 or more")
        for value, known in (
            (self.variant, ("preserve", "delete", "dual")),
            (self.perturbation, ("blur", "fade")),
        ):
            require(value in known, asked, repr(value), f"Choose {', '.join(known)}")

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        passes = self.steps * len(self.areas) * self._inputs_each
        return Cost(passes + len(self.areas) + 1, passes)

    @property
    def _inputs_each(self) -> int:
        return 2 if self.variant == "dual" else 1

    def generator(self, size: Size, device: torch.device | None = None) -> SmoothMax:
        """Return the mask generator for inputs of `size`."""
        step, sigma = (max(1, round(scaled(v, size))) for v in (self.spacing, self.sigma))
        return SmoothMax(size[-2:], step, sigma, device)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x, count = question.x, len(self.areas)
        size, device = tuple(x.shape[2:]), x.device
        generator = self.generator(size, device)
        samples = torch.arange(len(x), device=device).repeat_interleave(count)
        levels = None if self.perturbation == "fade" else blur_levels(x, scaled(_BLUR, size))
        frames = size[:-2]
        parameters = torch.ones(len(samples), *frames, *generator.cells, device=device)
        optimiser = torch.optim.SGD([parameters], lr=self.rate, momentum=0.9, dampening=0.9)
        pixels = generator.wide(parameters[0].reshape(-1, *generator.cells)).numel()
        wanted = sorted_areas(self.areas, pixels).to(device)

        weight = torch.tensor(self.weight, device=device)  # on the device, so that steps can be replayed

        def before(step: int) -> None:
            weight.fill_(self.weight * _GROWTH**step)

        def masks(theta: Tensor) -> tuple[Tensor, Tensor]:
            """Return `(r, pixels)` masks with margin and `(r, 1, *size)` masks."""
            wide = generator.wide(theta.reshape(-1, *generator.cells))
            return wide.reshape(len(theta), -1), generator.inner(wide).reshape(len(theta), 1, *size)

        def picture(keep: Tensor, rows: Tensor) -> Tensor:
            keep = keep.to(x)
            return keep * x[rows] if levels is None else mixed(levels, keep, rows)

        def reward(keep: Tensor, rows: Tensor, mirrored: bool) -> Tensor:
            parts = [keep] * (self.variant != "delete") + [1 - keep] * (self.variant != "preserve")
            pictures = torch.cat([picture(part, rows) for part in parts])
            scores = question.scores(pictures.flip(-1) if mirrored else pictures, rows.repeat(len(parts)))
            by_part = scores.reshape(len(parts), -1)
            match self.variant:
                case "preserve":
                    return by_part[0]
                case "delete":
                    return -by_part[0]
                case "dual":
                    return by_part[0] - by_part[1]

        def energy(theta: Tensor, start: int, stop: int, step: int) -> Tensor:
            wide, keep = masks(theta)
            index = torch.arange(start, stop, device=device) % count
            area = (wide.sort(1).values - wanted[index]).square().mean(1)
            kept = reward(keep, samples[start:stop], self.mirror and step % 2 == 0)
            return weight * area - kept

        def facts(keep: Tensor) -> tuple[Json, ...]:
            def kept_scores(start: int, stop: int) -> Tensor:
                part = 1 - keep[start:stop] if self.variant == "delete" else keep[start:stop]
                with torch.no_grad():
                    return question.scores(picture(part, samples[start:stop]), samples[start:stop])

            scores = torch.cat(list(question.in_batches(len(keep), kept_scores, "final masks")))
            reached = (keep > 0.5).flatten(1).float().mean(1)
            return tuple(
                {"areas": a, "scores": s, "clean": c}
                for a, s, c in zip(
                    reached.reshape(-1, count).tolist(),
                    scores.reshape(-1, count).tolist(),
                    question.clean.tolist(),
                    strict=True,
                )
            )

        each = self._inputs_each
        for done in descend(
            question, parameters, optimiser, energy, self.steps, self.title, each, (0, 1), before, phases=2
        ):
            keep = masks(parameters)[1]
            values = self._smoothed(keep.reshape(len(x), count, *size).mean(1, keepdim=True))[:, 0]
            known = facts(keep) if done == self.steps else None
            yield Estimate(values, values, done, self.steps, reliability=known)

    def _smoothed(self, maps: Tensor) -> Tensor:
        """Return `(n, 1, *size)` maps under the final blur."""
        sigma = self.smooth * min(maps.shape[-2:])
        return filtered(maps, gaussian(sigma, ceil(4 * sigma)), "replicate") if sigma else maps


def sorted_areas(areas: tuple[float, ...], pixels: int) -> Tensor:
    """Return `(areas, pixels)`: what sorted masks of these areas should be, zeros, then ones."""
    place = torch.arange(pixels)
    return torch.stack([(place >= int(pixels * (1 - a))).float() for a in areas])
