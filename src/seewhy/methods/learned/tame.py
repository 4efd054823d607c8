"""TAME: a small head, trained once, turns features of the explained network into a map for every class.

The features of three layers, each at its own resolution, pass attention branches and are fused into one map
a class. The head is trained without labels and without masks: what it shows must keep the network's own
answer, and show little. After that, the pass that gives the answer gives the map.

Formula
    For layer l of the explained network (the last three resolutions), A_l = relu(F_l + norm(conv(F_l))), 1
    x 1; the map of class c is z_c = b[c] + sum over l of enlarged(W_l[c] A_l) on the grid of the finest
    layer. In training m = sigmoid(z_c) enlarged to the input, c being the network's answer, and the loss is
    1.5 CE(f(x behind m), c) + 2 mean((m + 5e-4)^0.3) + 0.01 TV(m), behind m being black. An explanation is
    (z_c - min z_c) / (max z_c - min z_c), in [0, 1]. Not signed.
Needs
    a trained explainer (`seewhy train tame`); layers with grids over rows and columns, of two resolutions
    or more. Transformers of one resolution: ttame.
Cost
    one forward pass; the pass that finds the answer gives the features, too.
Paper
    Ntrougkas, Gkalelis, Mezaris: TAME: Attention Mechanism Based Feature Fusion for Generating Explanation
    Maps of Convolutional Neural Networks, 2022, https://arxiv.org/abs/2301.07407
Departures
    Layers are found, not listed. In ResNet-50 they are the published ones (layer2, layer3, layer4); in
    VGG-16 the paper reads the last three max-pools (`stages` of the training takes their names), and the
    last layers of those resolutions are found. Stages are enlarged after their fusion, which is the same
    map. AdamW with one cycle of the learning rate in place of SGD with momentum. A class without training
    images has no row of its own: it gets the mean of the others, and a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.learned.own_features import OwnFeatures


@METHODS.register
@dataclass(frozen=True)
class TAME(OwnFeatures):
    """Maps of all classes from features of the explained network at three resolutions.

    Parameters
    ----------
    explainer
        File that `seewhy train tame` wrote for the model.
    """

    name: ClassVar[str] = "tame"
    title: ClassVar[str] = "TAME"
    paper: ClassVar[Paper] = Paper(
        "TAME: Attention Mechanism Based Feature Fusion for Generating Explanation Maps of CNNs",
        "Ntrougkas, Gkalelis, Mezaris",
        2022,
        "https://arxiv.org/abs/2301.07407",
    )
