"""Ascent: images moved step by step towards a higher score, however written and shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seewhy.batching import default_batch_size, in_batches
from seewhy.concepts.canvas import Canvas
from seewhy.errors import DoesNotFit, NotFinite
from seewhy.execution import Execution, Passes
from seewhy.methods.base import require
from seewhy.methods.gradient.rectifiers import Rectifiers
from seewhy.models.layers import default_layer, grid_of
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.targets import BoundTarget, Target
from seewhy.types import Json

_PATIENCE = 8
"""Steps without any gradient after which a score is taken to have none."""
_AFTERWARDS = 16
"""Views in which the first and the last image are scored."""


@runtime_checkable
class Views(Protocol):
    """What the network is shown; see `seewhy.concepts.views`."""

    def __call__(self, pixels: Tensor, seed: int, step: int, steps: int, numbers: range) -> Tensor:
        """Return `(n * len(numbers), c, h, w)` views of `(n, c, h, w)` pixels."""


@dataclass(frozen=True)
class Ascent:
    """How images are moved.

    Parameters
    ----------
    optimiser
        From the parameters to what moves them; must treat every number by itself.
    views
        What the network is shown.
    images
        How many of one target.
    steps
        Of the optimiser.
    views_each
        Views of each image a step.
    diversity
        Part of its own size by which an image's score is lowered where it is in all of another's style.
    """

    optimiser: Callable[[Tensor], torch.optim.Optimizer]
    views: Views
    images: int
    steps: int
    views_each: int
    diversity: float = 0.0


def check_settings(asked: str, settings: Any, not_negative: Sequence[str]) -> None:
    """Check what all ways of moving images have: `images`, `steps`, `views` and `learning_rate`.

    Parameters
    ----------
    asked
        How the refusal begins.
    settings
        Holds them.
    not_negative
        Names of others that must be 0 or more.

    Raises
    ------
    BadInput
        For the first that is out of range.
    """
    for name in ("images", "steps", "views"):
        require(getattr(settings, name) >= 1, asked, f"{name} {getattr(settings, name)}", "Give at least 1")
    require(settings.learning_rate > 0, asked, f"learning rate {settings.learning_rate}", "Give more than 0")
    for name in not_negative:
        require(getattr(settings, name) >= 0, asked, f"{name} {getattr(settings, name)}", "Give 0 or more")


@dataclass(frozen=True, eq=False)
class Ascended:
    """Where an ascent has led.

    Parameters
    ----------
    pixels
        `(n, c, h, w)` float32 in [0, 1], rounded to 8 bits: what a file holds.
    touched
        `(n, h, w)`: over all steps, the size of the score's gradient at each pixel.
    start, reached
        `(n,)` scores of the first image and of `pixels`, both shown as they are.
    start_in_views, reached_in_views
        `(n,)`: the same, mean over views drawn anew, evenly over all steps.
    description
        The target in words; see `BoundTarget`.
    passes
        Model inputs, forward and backward.
    """

    pixels: Tensor
    touched: Tensor
    start: Tensor
    reached: Tensor
    start_in_views: Tensor
    reached_in_views: Tensor
    description: Json
    passes: Passes


def climb(model: Model, target: Target, canvas: Canvas, how: Ascent, execution: Execution) -> Ascended:
    """Move images up. Inside `model.untouched()` only.

    Raises
    ------
    DoesNotFit
        When the score has no gradient at the first images.
    NotFinite
        When the score is NaN or infinite.
    Cancelled
        When the execution says so.
    """
    passes = Passes()
    parameters = canvas.start(execution.seed, how.images).to(model.device)
    with torch.no_grad():
        first = _eight_bits(canvas.pixels(parameters))
    layer = _style_layer(model, target, first) if how.diversity and how.images > 1 else None
    read = tuple(dict.fromkeys((*target.layers, *((layer,) if layer else ()))))
    rows = torch.arange(how.images, device=model.device)
    with torch.no_grad():
        answer = model.answer(as_input(model, first), read)
        bound = target.bind(model, answer, "logit")
        start = bound(answer, rows)
    looked = _Look(model, bound, read, layer, how, execution, passes)
    optimiser = how.optimiser(parameters)
    touched = torch.zeros(first[:, 0].shape, device=model.device)
    awake = torch.zeros(how.images, dtype=torch.bool, device=model.device)
    what = f"visualising {bound.descriptions[0]['label']}"
    for step in range(how.steps):
        with torch.enable_grad():
            here = parameters.detach().requires_grad_()
            pixels = canvas.pixels(here)
        slope = looked(pixels.detach(), step)
        asleep = ~awake & ~slope.flatten(1).any(1)
        if bool(asleep.any()):  # no ReLU lets the score through: let all of them, until one does by itself
            with Rectifiers("deconvnet"):
                slope = torch.where(asleep[:, None, None, None], looked(pixels.detach(), step), slope)
        awake |= ~asleep
        touched += slope.abs().mean(1)
        (gradient,) = torch.autograd.grad(pixels, here, slope)
        parameters.grad = -gradient
        optimiser.step()
        if step + 1 == min(how.steps, _PATIENCE) and not bool(touched.any()):
            raise DoesNotFit(
                f"Asked to visualise {bound.descriptions[0]['label']}",
                "Its score has no gradient at the images",
                "Choose another layer or target",
            )
        execution.step(step + 1, how.steps, what)
    with torch.no_grad():
        last = _eight_bits(canvas.pixels(parameters))
        reached = bound(model.answer(as_input(model, last), read), rows)
        in_views = [looked.afterwards(image) for image in (first, last)]
    passes.forward += 2 * how.images
    home = [t.float().cpu() for t in (last, touched, start, reached, *in_views)]
    return Ascended(home[0], home[1], home[2], home[3], home[4], home[5], bound.descriptions[0], passes)


def as_input(model: Model, pixels: Tensor) -> Tensor:
    """Return the model's input for `(n, c, h, w)` pixels in [0, 1], differentiable."""
    look = model.preprocess
    if look is None:
        raise DoesNotFit(
            f"Asked {model.name} about an image",
            "It has no preprocessing",
            "Give Model(module, preprocess=Preprocessing(...))",
        )
    mean, std = (torch.tensor(v, device=pixels.device).reshape(-1, 1, 1) for v in (look.mean, look.std))
    return ((pixels * 255 * look.scale - mean) / std).to(model.device, model.dtype)


def _eight_bits(pixels: Tensor) -> Tensor:
    return (pixels * 255).round() / 255


def _style_layer(model: Model, target: Target, images: Tensor) -> str:
    """Return the layer in which images are compared: the target's own, or the default one."""
    shape = tuple(images.shape[1:])
    return target.layers[0] if target.layers else default_layer(model, shape).name


@dataclass
class _Look:
    """From pixels to the gradient of what is sought."""

    model: Model
    bound: BoundTarget
    read: tuple[str, ...]
    layer: str | None
    how: Ascent
    execution: Execution
    passes: Passes

    def __call__(self, pixels: Tensor, step: int) -> Tensor:
        """Return `(n, c, h, w)`: the gradient at `(n, c, h, w)` pixels, mean over the views."""
        n, each, how = len(pixels), self.how.views_each, self.how
        size = self.execution.batch_size or default_batch_size(pixels, differentiated=True)
        quiet = replace(self.execution, progress=None, cancelled=None)
        total = torch.zeros_like(pixels)

        def run(start: int, stop: int) -> Tensor:
            own = pixels.detach().requires_grad_()
            with torch.enable_grad():
                shown = how.views(own, self.execution.seed, step, how.steps, range(start, stop))
                rows = torch.arange(n, device=pixels.device).repeat_interleave(stop - start)
                answer = self.model.answer(as_input(self.model, shown), self.read)
                scores = self.bound(answer, rows)
                if not bool(scores.isfinite().all()):
                    label = self.bound.descriptions[0]["label"]
                    raise NotFinite(f"Asked to visualise {label}", f"Step {step} gives a score of NaN")
                if self.layer is not None:
                    scores = scores - how.diversity * scores.detach().abs() * likeness(self.cells(answer), n)
            if not scores.requires_grad:
                return torch.zeros_like(pixels)
            (slope,) = torch.autograd.grad(scores.sum(), own, allow_unused=True)
            self.passes.forward += len(rows)
            self.passes.backward += len(rows)
            return torch.zeros_like(pixels) if slope is None else slope

        for part in in_batches(each, max(1, size // n), quiet, run, "views"):
            total += part
        return total / each

    def afterwards(self, pixels: Tensor) -> Tensor:
        """Return `(n,)` mean scores of views that no step has shown."""
        steps, total = self.how.steps, torch.zeros(len(pixels), device=pixels.device)
        rows = torch.arange(len(pixels), device=pixels.device)
        for k in range(_AFTERWARDS):
            step = round(k * (steps - 1) / (_AFTERWARDS - 1))
            number = self.how.views_each + k
            shown = self.how.views(pixels, self.execution.seed, step, steps, range(number, number + 1))
            total += self.bound(self.model.answer(as_input(self.model, shown), self.read), rows)
            self.passes.forward += len(rows)
        return total / _AFTERWARDS

    def cells(self, answer: Answer) -> Tensor:
        """Return `(n, channels, cells)` of the layer in which images are compared."""
        assert self.layer is not None
        activation = answer.activations[self.layer]
        grid = None if activation.ndim == 2 else grid_of(self.model, self.layer, answer.input_shape)
        return (activation[:, :, None] if grid is None else grid.read(activation)).flatten(2).float()


def likeness(cells: Tensor, images: int) -> Tensor:
    """Return, for each row, the mean cosine of its Gram matrix with those of the same view of other images.

    Parameters
    ----------
    cells
        `(images * views, channels, cells)`, the views of an image together.
    images
        At least 2.
    """
    f = cells.unflatten(0, (images, -1))  # image, view, channel, cell
    # <F F', G G'> = |F' G| ** 2, in cells rather than channels squared
    products = torch.einsum("ivcp,jvcq->vijpq", f, f).square().sum((3, 4))
    size = products.diagonal(dim1=1, dim2=2).clamp_min(1e-24).sqrt()
    cosines = products / (size[:, :, None] * size[:, None])
    others = ~torch.eye(images, dtype=torch.bool, device=f.device)
    return (cosines * others).sum(2).div(images - 1).T.flatten()
