"""Maps that know nothing of the model: what any explanation must beat.

A number without them says little: on photos with the object in the middle a centre Gaussian scores well, and
on some networks an edge detector does. None of them runs the model.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from seewhy.perturb.counters import uniform
from seewhy.types import Maps

Baseline = Callable[[Tensor, int], Maps]
"""From `(n, c, *size)` uint8 display pixels and a seed to `(n, *size)` float32 maps."""


def random_map(pixels: Tensor, seed: int) -> Maps:
    """Return uniform noise in [0, 1), one for all samples: it follows from the seed and the size."""
    size = pixels.shape[2:]
    return (
        uniform(seed, torch.arange(prod(size)), 1).reshape(1, *size).expand(len(pixels), *size).contiguous()
    )


def centre_map(pixels: Tensor, seed: int) -> Maps:
    """Return a Gaussian around the centre of each frame, deviation a quarter of each side, 1 at its peak."""
    size = pixels.shape[2:]
    profiles = []
    for length in size[-2:]:
        at = (torch.arange(length, dtype=torch.float64) + 0.5) / length - 0.5
        profiles.append(torch.exp(-(at**2) / (2 * 0.25**2)))
    frame = torch.outer(*profiles).float()
    return frame.expand(len(pixels), *size).contiguous()


def edge_map(pixels: Tensor, seed: int) -> Maps:
    """Return the Sobel gradient's magnitude of the mean over channels, in grey levels a pixel."""
    grey = pixels.float().mean(1)
    frames = pad(grey.reshape(-1, 1, *grey.shape[-2:]), (1, 1, 1, 1), mode="replicate")
    across = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])) / 8
    gradient = conv2d(frames, torch.stack([across, across.T])[:, None])
    return gradient.square().sum(1).sqrt().reshape(grey.shape)


BASELINES: dict[str, Baseline] = {"random": random_map, "centre": centre_map, "edges": edge_map}
"""By the name that tables print."""
