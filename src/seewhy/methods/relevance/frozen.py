"""Normalisations with their scale held fixed, as they count for relevance: linear in what they scale.

Each has the arguments of the torch function of its name and returns the same values; the mean is part of the
linear map, the deviation or length is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / deviation * weight + bias over the last axes."""
    axes = tuple(range(-len(normalized_shape), 0))
    return _affine(_standardised(input, axes, eps), weight, bias)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """X / root mean square * weight over the last axes."""
    axes = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input * (input.square().mean(axes, keepdim=True) + eps).rsqrt().detach(), weight, None)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise groups of channels, each over its channels and all places."""
    grouped = input.unflatten(1, (num_groups, -1))
    x = _standardised(grouped, tuple(range(2, grouped.ndim)), eps).flatten(1, 2)
    column = (-1, *[1] * (x.ndim - 2))
    return _affine(
        x, None if weight is None else weight.reshape(column), None if bias is None else bias.reshape(column)
    )


def normalize(
    input: Tensor,
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
    out: None = None,
) -> Tensor:
    """X / max(length, eps)."""
    length: Tensor = torch.linalg.vector_norm(input, p, dim, keepdim=True)
    return input / length.clamp_min(eps).detach()


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Product of unit vectors."""
    return (normalize(x1, dim=dim, eps=eps) * normalize(x2, dim=dim, eps=eps)).sum(dim)


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    variance = x.var(axes, correction=0, keepdim=True)
    return (x - x.mean(axes, keepdim=True)) * (variance + eps).rsqrt().detach()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


FROZEN: dict[str, Callable[..., Tensor]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "normalize": normalize,
    "cosine_similarity": cosine_similarity,
}


class LengthsFixed(TorchFunctionMode):
    """Inside the block, `normalize` and `cosine_similarity` hold lengths fixed: for scores of embeddings.

    A cosine does not change with the embedding's length, so that its plain gradient times the embedding sums
    to nothing; with the length fixed the sum is the cosine.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation; torch calls this."""
        name = getattr(func, "__name__", "")
        func = FROZEN[name] if name in ("normalize", "cosine_similarity") else func
        return func(*args, **(kwargs or {}))
