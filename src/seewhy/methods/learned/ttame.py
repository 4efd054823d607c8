"""T-TAME: TAME for vision transformers: tokens of three blocks, read as grids, give a map for every class.

The patch tokens of the last three blocks lie on one grid; class and register tokens are left out. They pass
attention branches and are fused into one map a class, trained as TAME is: what the map shows must keep the
network's own answer, and show little.

Formula
    For block l of the last three, A_l = relu(F_l + norm(conv(F_l))), 1 x 1, on the grid of patches; the map
    of class c is z_c = b[c] + sum over l of W_l[c] A_l. In training m = sigmoid(z_c) enlarged to the input,
    c being the network's answer, and the loss is 1.5 CE(f(m x), c) + 2 mean((m + 5e-4)^0.3) + 0.01 TV(m), x
    being normalised: what is hidden is the mean colour. An explanation is (z_c - min z_c) / (max z_c - min
    z_c), in [0, 1]. Not signed.
Needs
    a trained explainer (`seewhy train ttame`); blocks that put out tokens. CNNs, and transformers of
    several resolutions: tame.
Cost
    one forward pass; the pass that finds the answer gives the features, too.
Paper
    Ntrougkas, Gkalelis, Mezaris: T-TAME: Trainable Attention Mechanism for Explaining Convolutional
    Networks and Vision Transformers, 2024, https://arxiv.org/abs/2403.04523
Departures
    The layers are those that the paper reads in ViT-B/16 (the norm in front of the attention of blocks 10,
    11 and 12), found by what they do, so that other transformers have theirs. The paper's name covers CNNs
    as well: they are `tame` here. AdamW with one cycle of the learning rate in place of SGD with momentum.
    A class without training images has no row of its own: it gets the mean of the others, and a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.learned.own_features import OwnFeatures


@METHODS.register
@dataclass(frozen=True)
class TTAME(OwnFeatures):
    """Maps of all classes from patch tokens of the explained transformer.

    Parameters
    ----------
    explainer
        File that `seewhy train ttame` wrote for the model.
    """

    name: ClassVar[str] = "ttame"
    title: ClassVar[str] = "T-TAME"
    paper: ClassVar[Paper] = Paper(
        "T-TAME: Trainable Attention Mechanism for Explaining CNNs and Vision Transformers",
        "Ntrougkas, Gkalelis, Mezaris",
        2024,
        "https://arxiv.org/abs/2403.04523",
    )
