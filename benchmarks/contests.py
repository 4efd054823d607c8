"""What is contested: one function a task, from a model and photos to a `Contest`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

import seewhy
from benchmarks import peers
from benchmarks.contest import Contest, Entrant, best_batch
from benchmarks.floors import Floor
from seewhy.attribution import Attribution
from seewhy.methods.cam.grad_cam import GradCAM
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.models.layers import default_layer, survey
from seewhy.models.model import Model
from seewhy.models.taps import read
from seewhy.perturb.noisy_linear import linear
from seewhy.perturb.ranks import ranks
from seewhy.targets import Class

_MANY = 32
_NARROW = 128
"""Channels at most of the layer whose channels are scored one by one, where work is scaled down."""


@dataclass
class Setting:
    """One model, photos and a scale of work.

    Parameters
    ----------
    model
        On its device, frozen.
    x
        `(n, c, h, w)` on that device.
    half
        Half precision whose bare passes are a second floor, or None.
    batch
        Batch for peers that let one choose.
    scale
        How many passes tasks ask for, as a part of the full ones.
    exact
        Whether single precision takes part where there is a half.
    """

    model: Model
    x: Tensor
    half: str | None
    batch: int
    scale: float = 1.0
    exact: bool = True

    def __post_init__(self) -> None:
        self.net: nn.Module = self.model.module
        self.one = self.x[:1]
        with torch.no_grad():
            self.target = int(self.net(self.one).argmax())
        shape = tuple(self.x.shape[1:])
        self.layer = default_layer(self.model, shape).name
        narrow = [f for f in survey(self.model, shape) if f.fits and f.shape[0] <= _NARROW]
        self.narrow = self.layer if self.scale >= 1 else narrow[-1].name
        self.plain = Floor(self.net, self.one)
        self.fast = self.plain if self.half is None else Floor(self.net, self.one, self.half)

    @property
    def cuda(self) -> bool:
        """Whether on an accelerator."""
        return self.x.is_cuda

    def channels(self) -> tuple[int, bool]:
        """Return the channels of the layer that channel-wise tasks use, and whether they lie first."""
        with torch.no_grad(), read(self.net, [self.narrow]) as kept:
            self.net(self.one)
        convolutional = kept[self.narrow].ndim == 4
        return kept[self.narrow].shape[1 if convolutional else -1], convolutional

    def scaled(self, passes: int, least: int = 1) -> int:
        """Return how many passes of a task are made."""
        return max(least, round(passes * self.scale))

    def explain(self, method: str, x: Tensor | None = None, **options: Any) -> Attribution:
        """Explain with SeeWhy."""
        return seewhy.explain(
            self.model, self.one if x is None else x, method=method, target=self.target, **options
        )

    def floors(self, passes: int) -> list[Entrant]:
        """Return the bare passes: in the half precision that is fast here first, if there is one."""
        found = [Entrant(self.fast.name, lambda: self.fast.work(passes))]
        if self.exact and self.fast is not self.plain:
            found.append(Entrant(self.plain.name, lambda: self.plain.work(passes), repeats=2))
        return found

    def ours(self, work: Callable[[str], Tensor | None]) -> list[Entrant]:
        """Return SeeWhy in automatic precision, in the half precision of the floor, and in single."""
        found = [Entrant("SeeWhy, automatic precision", lambda: work("auto"))]
        if self.half is not None:
            half = self.half
            found.append(Entrant(f"SeeWhy, {half} as asked", lambda: work(half)))
        if self.exact:
            found.append(Entrant("SeeWhy, fp32 as asked", lambda: work("fp32"), repeats=2))
        return found


def rise(s: Setting) -> Contest:
    """RISE on one photo; the published estimator, which everyone can check."""
    masks, few = s.scaled(8192), s.scaled(2000)
    floor, *others = s.floors(masks)

    def ours(precision: str) -> Tensor:
        found = s.explain("rise", masks=masks, estimator="published", precision=precision)
        return found.values

    entrants = [
        *s.ours(ours),
        Entrant("SeeWhy, every default but the masks", lambda: _done(s.explain("rise", masks=masks))),
        Entrant(
            f"the same masks in a plain loop, fp32, batch {s.plain.batch}",
            lambda: peers.same_masks(s.net, s.one, s.target, masks, s.plain.batch),
            repeats=1,
        ),
        Entrant(
            "the published recipe, masks made on the host",
            _quiet(lambda: peers.published_rise(s.net, s.one, s.target, few)),
            share=few / masks,
            repeats=1,
        ),
    ]
    if s.cuda:
        entrants += [
            Entrant(
                f"TorchRay, batch {batch}",
                _quiet(lambda batch=batch: peers.torchray_rise(s.net, s.one, s.target, few, batch)),
                share=few / masks,
                repeats=3,
            )
            for batch in (128, s.batch)
        ]
    # Half precision keeps the order of pixels, not every digit.
    return Contest(f"RISE, {masks} masks", masks, floor, [*entrants, *others], rank=0.99)


def occlusion(s: Setting) -> Contest:
    """Windows of 16 pixels every 8 over one photo; fewer and larger ones where work is scaled down."""
    return _occlusion(s, *((16, 8) if s.scale >= 1 else (32, 24)))


def small_windows(s: Setting) -> Contest:
    """Windows of 16 pixels side by side over one photo."""
    return _occlusion(s, 16, 16)


def _occlusion(s: Setting, window: int, stride: int) -> Contest:
    count = prod(-(-(side - window) // stride) + 1 for side in s.one.shape[2:])
    floor, *others = s.floors(count)
    score = Class(s.target, "logit")

    def ours(precision: str, incremental: bool | None = None) -> Attribution:
        method = Occlusion(window=window, stride=stride, incremental=incremental)
        return seewhy.explain(s.model, s.one, method=method, target=score, precision=precision)

    told = ours("fp32").provenance["incremental"]
    whole = [Entrant("SeeWhy, fp32 as asked, whole passes", lambda: ours("fp32", False).values, repeats=2)]
    entrants = [
        *s.ours(lambda precision: ours(precision).values),
        *(whole if told["used"] else []),
        *(
            Entrant(
                f"captum, {each} an evaluation",
                lambda each=each: peers.captum_occlusion(s.net, s.one, s.target, window, stride, each),
                repeats=1 if each == 1 else 3,
            )
            for each in (1, s.batch)
        ),
    ]
    task = f"Occlusion, {count} windows of {window}"
    if told["used"]:
        task += f", {told['times_fewer_multiply_adds']:.2f} times fewer multiply-adds"
    return Contest(task, count, floor, [*entrants, *others], rank=0.99)


def score_cam(s: Setting) -> Contest:
    """Score-CAM over every channel of a layer, one photo."""
    channels, convolutional = s.channels()
    floor, *others = s.floors(channels)
    entrants = [*s.ours(lambda precision: _done(s.explain("score_cam", layer=s.narrow, precision=precision)))]
    if convolutional:
        entrants += [
            Entrant(
                f"grad-cam, batch {s.batch}",
                _quiet(lambda: peers.library_cam("ScoreCAM", s.net, s.one, s.target, s.narrow, s.batch)),
                repeats=3,
            ),
            Entrant(
                f"torchcam, batch {s.batch}",
                lambda: peers.torchcam_score_cam(s.net, s.one, s.target, s.narrow, s.batch),
                repeats=3,
            ),
        ]
    return Contest(f"Score-CAM, {channels} channels", channels, floor, [*entrants, *others])


def deletion_insertion(s: Setting) -> Contest:
    """Both curves of the photos."""
    steps = s.scaled(224, 28)
    passes = 2 * (steps + 1) * len(s.x)
    floor, *others = s.floors(passes)
    maps = seewhy.explain(s.model, s.x, method="gradient")
    metrics = [Deletion(steps), Insertion(steps)]

    def ours(precision: str) -> None:
        seewhy.evaluate(s.model, s.x, maps, metrics, baselines=False, precision=precision)

    return Contest(
        f"Deletion and insertion, {steps} steps, {len(s.x)} photos", passes, floor, [*s.ours(ours), *others]
    )


def imputation(s: Setting) -> Contest:
    """What ROAD removes of one photo in 18 steps, filled; a rough map and a smooth one."""
    shares = torch.linspace(0.1, 0.9, 9)
    rough = seewhy.explain(s.model, s.one, method="gradient").values
    smooth = s.explain("grad_cam", relu=False).values
    places = ranks(torch.cat([rough, smooth]).cpu()).flatten(1)
    edges = (shares * places.shape[1]).int()[:, None, None]
    order = torch.cat([places, places.shape[1] - 1 - places])[None]
    hidden = (order < edges).reshape(-1, *s.one.shape[2:])
    pictures = s.one.cpu().expand(len(hidden), -1, -1, -1)
    floor, *_ = s.floors(len(hidden))
    return Contest(
        f"Linear imputation, {len(hidden)} masks (the floor: passes for as many)",
        len(hidden),
        floor,
        [
            Entrant("SeeWhy, batch 8", lambda: _filled(s.one, hidden.to(s.one.device))),
            Entrant("grad-cam", lambda: _flat(peers.library_imputation(pictures, hidden)), repeats=2),
        ],
    )


def road(s: Setting) -> Contest:
    """ROAD of the photos, both orders, nine shares, without noise."""
    metric = ROAD(operator="noisy-linear:0")
    passes = metric.cost(tuple(s.x.shape[2:])).forward * len(s.x)
    floor, *_ = s.floors(passes)
    given = seewhy.explain(s.model, s.x, method=GradCAM(relu=False), target=s.target)

    def ours() -> Tensor | None:
        table = seewhy.evaluate(
            s.model, s.x, given, metric, Class(s.target), baselines=False, precision="fp32"
        )
        # Scores of untrained networks hardly react to what is removed: there is nothing to agree on.
        return None if s.model.preprocess is None else torch.tensor([[row.value] for row in table])

    return Contest(
        f"ROAD, 18 removals, {len(s.x)} photos",
        passes,
        floor,
        [
            Entrant("SeeWhy, fp32 as asked", ours),
            Entrant(
                "grad-cam", lambda: peers.library_road(s.net, s.x.cpu(), given.values, s.target), repeats=2
            ),
        ],
        # Percentiles and shares differ by a pixel.
        tolerance=1e-2,
    )


def grad_cam(s: Setting) -> Contest:
    """Grad-CAM of the photos: their forward pass, and backward from the score to the layer."""
    return _grad_cam(s, s.x)


def grad_cam_batch(s: Setting) -> Contest:
    """The same of 32 photos."""
    return _grad_cam(s, s.x.repeat(-(-_MANY // len(s.x)), 1, 1, 1)[:_MANY])


def _grad_cam(s: Setting, x: Tensor) -> Contest:
    with torch.no_grad(), read(s.net, [s.layer]) as kept:
        s.net(x)

    def bare() -> None:
        with torch.enable_grad(), read(s.net, [s.layer], differentiable=True) as activations:
            score = s.net(x)[:, s.target].sum()
        torch.autograd.grad(score, activations[s.layer])

    def ours(precision: str) -> Tensor:
        return s.explain("grad_cam", x, relu=False, precision=precision).native

    half = s.half == "bf16" and not s.cuda
    convolutional = kept[s.layer].ndim == 4
    theirs = [
        Entrant("captum", lambda: peers.captum_grad_cam(s.net, x, s.target, s.layer)),
        Entrant(
            "grad-cam", _quiet(lambda: peers.library_cam("GradCAM", s.net, x, s.target, s.layer, len(x)))
        ),
    ]
    return Contest(
        f"Grad-CAM, {len(x)} photos",
        len(x),
        Entrant("floor: forward, and backward to the layer", bare),
        [
            Entrant("SeeWhy", lambda: ours("auto")),
            *([Entrant("SeeWhy, bf16 as asked", lambda: ours("bf16"), rank=0.95)] if half else []),
            *(theirs if convolutional else []),
        ],
        tolerance=1e-4,
        # TensorFloat-32 leaves three digits of a map, and not the same ones: see `benchmarks.tensor_float`.
        rank=0.995 if s.cuda else None,
    )


def integrated_gradients(s: Setting) -> Contest:
    """Fifty steps from the baseline to one photo; the floor and captum in the batch that is best for them."""
    steps = 50

    def bare(batch: int, passes: int = steps) -> None:
        for start in range(0, passes, batch):
            copies = s.one.expand(min(batch, passes - start), -1, -1, -1).contiguous().requires_grad_()
            torch.autograd.grad(s.net(copies)[:, s.target].sum(), copies)
        if s.cuda:
            torch.cuda.synchronize()

    def speed(batch: int) -> float:
        bare(batch, batch)
        start = time.perf_counter()
        bare(batch, 2 * batch)
        return 2 * batch / (time.perf_counter() - start)

    batch = best_batch(speed, (25, 50) if s.cuda else (2, 4, 8, 10, 16))

    def ours(precision: str) -> Tensor:
        return s.explain("integrated_gradients", steps=steps, precision=precision).native

    return Contest(
        f"Integrated Gradients, {steps} steps",
        steps,
        Entrant(f"floor: bare forward and backward, batch {batch}", lambda: bare(batch)),
        [
            Entrant("SeeWhy", lambda: ours("auto")),
            *([] if s.cuda else [Entrant("SeeWhy, fp32 as asked", lambda: ours("fp32"))]),
            Entrant(
                f"captum, internal batch {batch}",
                lambda: peers.captum_gradients(s.net, s.one, s.target, steps, batch),
            ),
        ],
        # Rounding puts a rectifier whose input is almost 0 on its other side, in a folded copy elsewhere: a
        # few pixels differ by a hundredth of the largest. On accelerators TensorFloat-32 keeps the network's
        # own gradients about as far from single precision: see `benchmarks.tensor_float`.
        tolerance=5e-3,
        rank=0.98 if s.cuda else 0.999,
    )


def ablation_cam(s: Setting) -> Contest:
    """Every channel of a layer switched off in turn, one photo."""
    channels, convolutional = s.channels()
    floor, *_ = s.floors(channels)
    entrants = [
        Entrant("SeeWhy, resumed from the layer", lambda: _done(s.explain("ablation_cam", layer=s.narrow)))
    ]
    if convolutional:
        entrants.append(
            Entrant(
                f"grad-cam, batch {s.batch}",
                _quiet(lambda: peers.library_cam("AblationCAM", s.net, s.one, s.target, s.narrow, s.batch)),
                repeats=3,
            )
        )
    return Contest(f"Ablation-CAM, {channels} channels", channels, floor, entrants)


def compiled_rise(s: Setting) -> Contest:
    """RISE on many photos through the compiled network."""
    photos, masks = 64, s.scaled(8192)
    floor = Floor(s.net, s.one, s.half or "fp32", compiled=True, sizes=(1024,) if s.cuda else (8,))
    x = s.one.expand(photos, -1, -1, -1).contiguous()
    x = x + 0.01 * torch.randn(photos, 1, 1, 1, device=x.device)
    return Contest(
        f"RISE, {masks} masks, {photos} photos, compiled",
        photos * masks,
        Entrant(floor.name, lambda: floor.work(photos * masks // 8), share=1 / 8),
        [
            Entrant(
                "SeeWhy, automatic precision, compiled",
                lambda: _done(s.explain("rise", x, masks=masks, compiled=True)),
                repeats=1,
                warm=lambda: _done(s.explain("rise", x, masks=masks // 8, compiled=True)),
            )
        ],
    )


def extremal(s: Setting) -> Contest:
    """An extremal perturbation of one photo; the floor is its forward and backward passes, one at a time."""
    steps, area = s.scaled(800, 20), 0.1

    def bare() -> None:
        x = s.one.clone().requires_grad_()
        for _ in range(steps):
            torch.autograd.grad(s.net(x)[0, s.target], x)

    entrants = [Entrant("SeeWhy", lambda: _done(s.explain("extremal_perturbation", steps=steps)), repeats=2)]
    if s.cuda:
        work = _quiet(lambda: peers.torchray_extremal(s.net, s.one, s.target, area, steps))
        entrants.append(Entrant("TorchRay", work, repeats=1))
    return Contest(
        f"Extremal perturbation, {steps} steps",
        steps,
        Entrant("floor: bare forward and backward, eager", bare, repeats=1),
        entrants,
    )


CONTESTS: dict[str, Callable[[Setting], Contest]] = {
    c.__name__: c
    for c in (
        rise,
        occlusion,
        small_windows,
        score_cam,
        deletion_insertion,
        imputation,
        road,
        grad_cam,
        grad_cam_batch,
        integrated_gradients,
        ablation_cam,
        compiled_rise,
        extremal,
    )
}
"""By name, in order."""


def _flat(pictures: Tensor) -> Tensor:
    """Return `(k, ...)` pictures as one map each."""
    return pictures.flatten(1)


def _filled(x: Tensor, hidden: Tensor) -> Tensor:
    """Return the linear imputation of one photo behind some masks, eight at a time."""
    each = [linear(x.expand(len(part), -1, -1, -1), part) for part in hidden.split(8)]
    return _flat(torch.cat(each))


def _done(found: object) -> None:
    """Claim nothing of a result."""


def _quiet(work: Callable[[], Any]) -> Callable[[], Tensor | None]:
    """Return work that prints nothing and whose result, made of other random numbers, is not compared."""
    import contextlib
    import io

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            work()

    return run
