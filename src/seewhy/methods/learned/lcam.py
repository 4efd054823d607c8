"""L-CAM: a 1 x 1 convolution, trained once, turns the last feature map into a map for every class.

A class activation map with learned weights: each class has one weight a channel of the last feature map,
trained without labels and without masks so that what the map shows keeps the network's own answer, and is
little.

Formula
    z_c = b[c] + sum over k of W[c, k] F_k, F being the last feature map. In training m = sigmoid(z_c), c
    being the network's answer, and the loss is 1.5 CE(f behind m, c) + 2 mean((m + 5e-4)^0.3) + 0.01 TV(m),
    where f behind m is the network on m x (m enlarged to the image x; hide="image"), or with m F in place
    of F (hide="features"). An explanation is (z_c - min z_c) / (max z_c - min z_c), in [0, 1]. Not signed.
Needs
    a trained explainer (`seewhy train lcam`); a layer with a grid over rows and columns.
Cost
    one forward pass; the pass that finds the answer gives the features, too.
Paper
    Gkartzonika, Gkalelis, Mezaris: Learning Visual Explanations for DCNN-Based Image Classifiers Using an
    Attention Mechanism, 2022, https://arxiv.org/abs/2209.11189
Departures
    Images are hidden behind black (`fill` of the training). The weights of the loss are those of TAME.
    AdamW with one cycle of the learning rate in place of SGD. A class without training images has no row of
    its own: it gets the mean of the others, and a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.learned.own_features import OwnFeatures


@METHODS.register
@dataclass(frozen=True)
class LCAM(OwnFeatures):
    """Maps of all classes from the last feature map of the explained network.

    Parameters
    ----------
    explainer
        File that `seewhy train lcam` wrote for the model.
    """

    name: ClassVar[str] = "lcam"
    title: ClassVar[str] = "L-CAM"
    paper: ClassVar[Paper] = Paper(
        "Learning Visual Explanations for DCNN-Based Image Classifiers Using an Attention Mechanism",
        "Gkartzonika, Gkalelis, Mezaris",
        2022,
        "https://arxiv.org/abs/2209.11189",
    )
