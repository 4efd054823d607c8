"""SeeWhy, its peers and the bare-forward floor: `python -m benchmarks [--repeats N] [--model SPEC]`.

Prints a markdown table and writes it to benchmarks/results/. Fails when two that claim the same map differ.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch import Tensor

import seewhy
from benchmarks.contest import HEADER, Contest, Entrant
from seewhy.inputs.photos import demo_photos
from seewhy.models.layers import default_layer
from seewhy.models.model import Model

BATCH = 16


def contests(model: Model, x: Tensor) -> list[Contest]:
    """Return the contests on one model and a batch of photos."""
    net, one = model.module, x[:1]
    target = int(net(one).argmax())
    layer = default_layer(model, tuple(x.shape[1:])).name
    size = tuple(x.shape[2:])

    def forward(passes: int, batch: int = BATCH) -> None:
        copies = one.expand(batch, -1, -1, -1).contiguous()
        with torch.inference_mode():
            for start in range(0, passes, batch):
                net(copies[: min(batch, passes - start)])

    def forward_backward(passes: int, batch: int = BATCH) -> None:
        for start in range(0, passes, batch):
            copies = one.expand(min(batch, passes - start), -1, -1, -1).contiguous().requires_grad_()
            torch.autograd.grad(net(copies)[:, target].sum(), copies)

    def ours(method: str, inputs: Tensor, **options: object) -> Tensor:
        return seewhy.explain(model, inputs, method=method, target=target, **options).native

    def cam_floor() -> None:
        with torch.inference_mode():
            net(x)

    steps, masks, window, stride = 20, 200, 64, 32
    windows = int(np.prod([-(-(s - window) // stride) + 1 for s in size]))
    logit = seewhy.targets.Class(target, "logit")
    return [
        Contest(
            f"Grad-CAM, {len(x)} photos",
            len(x),
            Entrant("floor: bare forward of the batch", cam_floor),
            [
                Entrant("seewhy", lambda: ours("grad_cam", x, relu=False)),
                Entrant(
                    "captum LayerGradCam",
                    lambda: (
                        LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=target)[:, 0].detach()
                    ),
                ),
            ],
        ),
        Contest(
            f"Integrated Gradients, {steps} steps",
            steps,
            Entrant("floor: bare forward and backward", lambda: forward_backward(steps)),
            [
                Entrant("seewhy", lambda: ours("integrated_gradients", one, steps=steps, batch_size=BATCH)),
                Entrant(
                    f"captum, internal batch {BATCH}",
                    lambda: (
                        IntegratedGradients(net)
                        .attribute(one, target=target, n_steps=steps, internal_batch_size=BATCH)
                        .sum(1)
                        .detach()
                        .float()
                    ),
                ),
            ],
        ),
        Contest(
            f"Occlusion, {windows} windows of {window}, stride {stride}",
            windows,
            Entrant("floor: bare forward", lambda: forward(windows)),
            [
                Entrant(
                    "seewhy",
                    lambda: (
                        seewhy.explain(
                            model,
                            one,
                            method="occlusion",
                            target=logit,
                            window=window,
                            stride=stride,
                            batch_size=BATCH,
                        ).values
                    ),
                ),
                *(
                    Entrant(
                        f"captum, {n} an evaluation",
                        lambda n=n: captum_occlusion(net, one, target, window, stride, n),
                    )
                    for n in (1, BATCH)
                ),
            ],
        ),
        Contest(
            f"RISE, {masks} masks",
            masks,
            Entrant("floor: bare forward", lambda: forward(masks)),
            [
                Entrant(
                    "seewhy", lambda: ours("rise", one, masks=masks, estimator="published", batch_size=BATCH)
                ),
                Entrant(
                    "the published recipe (masks on the host)",
                    lambda: published_rise(net, one, target, masks),
                ),
            ],
            tolerance=float("inf"),  # other random masks: only the work is the same
        ),
    ]


def captum_occlusion(
    net: torch.nn.Module, x: Tensor, target: int, window: int, stride: int, each: int
) -> Tensor:
    """Return captum's occlusion map of one photo."""
    with torch.inference_mode():
        return (
            Occlusion(net)
            .attribute(
                x,
                target=target,
                sliding_window_shapes=(3, window, window),
                strides=(3, stride, stride),
                perturbations_per_eval=each,
            )[:, 0]
            .float()
        )


def published_rise(net: torch.nn.Module, x: Tensor, target: int, masks: int, cells: int = 7) -> Tensor:
    """Return RISE as published: masks resized one by one on the host, batches of 100, one sum at the end."""
    from skimage.transform import resize

    rng, (h, w) = np.random.default_rng(0), x.shape[2:]
    cell = -(-h // cells)
    stack = np.empty((masks, h, w), dtype=np.float32)
    for i in range(masks):
        grid = (rng.random((cells, cells)) < 0.5).astype(np.float32)
        u, v = rng.integers(0, cell, 2)
        side = (cells + 1) * cell
        stack[i] = resize(grid, (side, side), order=1, mode="reflect", anti_aliasing=False)[
            u : u + h, v : v + w
        ]
    on_device = torch.from_numpy(stack).to(x)[:, None]
    with torch.inference_mode():
        scores = torch.cat([net(x * m).softmax(1)[:, target] for m in on_device.split(100)])
    return (torch.einsum("n,nhw->hw", scores, on_device[:, 0]) / masks / 0.5)[None]


def main() -> None:
    """Run the contests and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="efficientnet-lite0")
    arguments = parser.parse_args()
    model = seewhy.load(arguments.model)
    for p in model.module.parameters():
        p.requires_grad_(False)  # for the peers' sake; SeeWhy freezes by itself
    x = model.prepare(list(demo_photos().values())[:4]).tensor
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    threads = torch.get_num_threads()
    lines = [
        f"{model.name} at {tuple(x.shape[2:])}, {device}, {threads} threads, torch {torch.__version__}, "
        f"captum {captum.__version__}, {arguments.repeats} repeats in turn.\n",
        HEADER,
    ]
    for contest in contests(model, x):
        lines += contest.run(arguments.repeats)
    table = "\n".join(lines) + "\n"
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{model.name}.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
