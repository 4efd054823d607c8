"""Terms of the loss that mask-making methods share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

AREA_OFFSET = 5e-4
"""Added to a mask before its power: a power below 1 has an infinite slope at 0."""


def area(mask: Tensor, power: float = 0.3) -> Tensor:
    """Return the mean of `(mask + 5e-4) ** power` over `(n, h, w)` masks in [0, 1].

    A power below 1 prefers few high values to many low ones.
    """
    return (mask + AREA_OFFSET).pow(power).mean()


def total_variation(mask: Tensor, border: float = 0.3) -> Tensor:
    """Return half the mean over samples of the summed squared differences of neighbours in `(n, h, w)` masks.

    `border` weighs the squares of the outermost cells, which are added: masks should not stick to the frame.
    """
    down = (mask[:, 1:] - mask[:, :-1]).square().sum()
    across = (mask[:, :, 1:] - mask[:, :, :-1]).square().sum()
    frame = (
        mask[:, 0].square().sum()
        + mask[:, -1].square().sum()
        + mask[:, :, 0].square().sum()
        + mask[:, :, -1].square().sum()
    )
    return (down + across + border * frame) / (2 * len(mask))


def cross_entropy(log_probabilities: Tensor, classes: Tensor) -> Tensor:
    """Return `(n,)`, minus the log-probability of each sample's class, from `(n, classes)` of them."""
    return -log_probabilities.gather(1, classes[:, None])[:, 0]


def generalised_cross_entropy(lost: Tensor, q: Tensor) -> Tensor:
    """Return `(n,)` losses `(1 - p**q) / q` of `(n,)` lost log-odds, p = sigmoid(-lost); at most 1 / q.

    With `q` (`(n,)`, above 0, at most 1) of 1 it is sigmoid(lost): an image whose answer is lost anyway no
    longer pulls. Towards 0 it becomes softplus(lost), which pulls the more the more is lost. Zhang, Sabuncu:
    Generalized Cross Entropy Loss, 2018, https://arxiv.org/abs/1805.07836, where p is a class's probability.
    """
    return -torch.expm1(-q * softplus(lost)) / q
