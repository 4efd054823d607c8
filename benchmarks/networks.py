"""The networks that benchmarks run on: real ones out of packages, and the usual large ones, untrained.

Speed does not depend on weights. Untrained networks get the statistics of their batch normalisation from
noise, so that their scores vary with the input as those of trained ones do.
"""

from __future__ import annotations

import torch

import seewhy
from seewhy.models.model import Model

UNTRAINED = {"resnet50": "torchvision:resnet50", "vit_b16": "timm:vit_base_patch16_224"}


def network(name: str, device: str) -> Model:
    """Return a model on `device`, frozen, in evaluation mode: a name above, or a spec of `seewhy.load`."""
    torch.manual_seed(0)
    if name == "resnet50":
        import torchvision

        model = Model(torchvision.models.resnet50(), name=name)
    elif name == "vit_b16":
        import timm

        model = Model(timm.create_model("vit_base_patch16_224"), name=name)
    else:
        model = seewhy.load(name)
    net = model.module.to(device).requires_grad_(False)
    if name in UNTRAINED:
        net.train()
        with torch.no_grad():
            for _ in range(3):
                net(torch.randn(32, 3, 224, 224, device=device))
    net.eval()
    return model
