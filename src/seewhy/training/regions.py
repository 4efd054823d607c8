"""Losses of masks that must show a smallest sufficient and a smallest destroying region.

Two forms: hinges on the margin of the true class, which the public code of real-time saliency trains with,
and probabilities, as its paper writes the objective. Where the mask was drawn for a class that is not in the
image, roles are swapped: what is shown must not give the true class, what remains must.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seewhy.types import Rows

SHOWN_MARGIN = 1.0
"""By how much the true class must lead in what is shown."""
HIDDEN_MARGIN = 5.0
"""By how much it must trail in what remains."""
SWAPPED_MARGIN = 1.0
"""Either, where the mask was drawn for a wrong class."""
HIDDEN_POWER = 0.3
"""Of the probability in what remains."""


def margin(scores: Tensor, classes: Rows) -> Tensor:
    """Return `(n,)`: the score of each sample's class less the highest other, from `(n, classes)`."""
    own = scores.gather(1, classes[:, None])[:, 0]
    others = scores.scatter(1, classes[:, None], -torch.inf)
    return own - others.amax(1)


def hinges(shown: Tensor, hidden: Tensor, classes: Rows, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two losses as hinges, means over samples: of what is shown, and of what remains.

    Parameters
    ----------
    shown, hidden
        `(n, classes)` logits of what the mask shows and of what remains.
    classes
        `(n,)` the true class of each sample.
    wrong
        `(n,)` bool: whether the mask was drawn for another one.
    """
    lead, rest = margin(shown, classes), margin(hidden, classes)
    preserve = torch.where(wrong, lead + SWAPPED_MARGIN, SHOWN_MARGIN - lead)
    destroy = torch.where(wrong, SWAPPED_MARGIN - rest, rest + HIDDEN_MARGIN)
    return preserve.relu().mean(), destroy.relu().mean()


def probabilities(shown: Tensor, hidden: Tensor, classes: Rows, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two losses from `(n, classes)` log-probabilities: -log p where due, p^0.3 elsewhere."""
    lead = shown.gather(1, classes[:, None])[:, 0]
    rest = hidden.gather(1, classes[:, None])[:, 0]
    preserve = torch.where(wrong, (HIDDEN_POWER * lead).exp(), -lead)
    destroy = torch.where(wrong, -rest, (HIDDEN_POWER * rest).exp())
    return preserve.mean(), destroy.mean()


Objective = Callable[[Tensor, Tensor, Rows, Tensor], tuple[Tensor, Tensor]]
OBJECTIVES: dict[str, Objective] = {"hinge": hinges, "probability": probabilities}


def wrong_classes(classes: Rows, count: int, draws: Tensor) -> Rows:
    """Return for each of `(n,)` classes a wrong one: another image's, or any where that has the same.

    Parameters
    ----------
    count
        How many classes there are, at least 2.
    draws
        `(n, 2)` uniform numbers in [0, 1).
    """
    n = len(classes)
    places = torch.arange(n, device=classes.device)
    other = classes[(places + 1 + (draws[:, 0] * (n - 1)).long()) % n]
    anywhere = (classes + 1 + (draws[:, 1] * (count - 1)).long()) % count
    return torch.where(other == classes, anywhere, other)
