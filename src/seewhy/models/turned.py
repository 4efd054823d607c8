"""Turned weights: the gradient of a convolution's input as a convolution of the gradient of its output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from torch import Tensor
from torch.nn import functional


def turned(weight: Tensor, groups: int) -> Tensor:
    """Return the weights that take gradients back through a convolution of stride 1.

    Parameters
    ----------
    weight
        `(k, c / groups, h, w)`.
    groups
        Of the convolution.

    Returns
    -------
    Tensor
        `(c, k / groups, h, w)`.
    """
    c, high, wide = weight.shape[1:]
    split = weight.reshape(groups, -1, c, high, wide).transpose(1, 2)
    return split.flip(-1, -2).flatten(0, 1).contiguous()


def phases(weight: Tensor, stride: int, above: int, left: int) -> tuple[Tensor, list[int]]:
    """Return weights that give the gradient of every cell of a stride at once, as channels.

    `pixel_shuffle` of what they give is the gradient: cell `s u + r` of the input has met, of the output, the
    cells `u + t` with the weights `r + above - s t`. It costs some multiplications by zero, and pays where
    the input has few channels.

    Parameters
    ----------
    weight
        `(k, c, h, w)`, undilated, in one group.
    stride
        In both directions.
    above, left
        Zeros around the input.

    Returns
    -------
    tuple
        `(c * stride ** 2, k, h', w')`, and the margins `[down, across]` that they need.
    """
    k, c, *sides = weight.shape
    margins, reaches = (above, left), range(stride)
    shifts = [_shifts(side, stride, margin) for side, margin in zip(sides, margins, strict=True)]
    wide = [max(-s[0], s[-1]) for s in shifts]  # as far on one side as on the other
    found = weight.new_zeros(c, stride, stride, k, *(2 * w + 1 for w in wide))
    for down, across in product(reaches, reaches):
        for t, q in product(*shifts):
            a, b = down + above - stride * t, across + left - stride * q
            if 0 <= a < sides[0] and 0 <= b < sides[1]:
                found[:, down, across, :, t + wide[0], q + wide[1]] = weight[:, :, a, b].T
    return found.flatten(0, 2).contiguous(), wide


def evened(weight: Tensor, margins: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Return weights with zeros around them that do with equal margins what the given do with unequal ones.

    Parameters
    ----------
    weight
        `(k, c, h, w)`, undilated.
    margins
        Zeros left, right, above and below of the input.

    Returns
    -------
    tuple
        `(k, c, h', w')`, and the margins `[down, across]`.
    """
    left, right, above, below = margins
    down, across = max(above, below), max(left, right)
    zeros = (across - left, across - right, down - above, down - below)
    return functional.pad(weight, zeros).contiguous(), [down, across]


def _shifts(side: int, stride: int, margin: int) -> list[int]:
    """Return which cells of the output some cell of a stride has met, in order."""
    return sorted(
        {t for t in range(-side, side + 1) if any(0 <= r + margin - stride * t < side for r in range(stride))}
    )
