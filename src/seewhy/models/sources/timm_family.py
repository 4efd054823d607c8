"""`timm:NAME`: models of timm, with the preprocessing of their own pretrained configuration.

Options besides the usual ones go to `timm.create_model` (`num_classes=10`, `in_chans=1` ...). With
`size=192x320`, models of a fixed input size are built for it.
"""

from __future__ import annotations

from math import floor
from typing import Any

from seewhy.errors import BadInput, UnknownName
from seewhy.extras import optional
from seewhy.models.labels import Labels, imagenet_labels
from seewhy.models.model import Model
from seewhy.models.preprocessing import Fit, Preprocessing
from seewhy.models.sources.base import FAMILIES, MODELS, Family, from_network, pair
from seewhy.specs import Options

_COMMON = ("size", "mean", "std", "resize", "fit", "interpolation", "output", "activation", "probe")


@FAMILIES.register
class Timm(Family):
    """PyTorch image models."""

    name = "timm"
    example = "timm:resnet50"

    def load(self, which: str, options: Options) -> Model:
        """See `Family.load`."""
        asked = f"Asked for the model {options.spec!r}"
        timm = optional("timm", "timm", asked, MODELS)
        pretrained = options.take("pretrained", True)
        if ":" not in which:  # "hf-hub:ORG/NAME" and "local-dir:PATH" are timm's to look up
            self._check(timm, which, pretrained)
        extra: dict[str, Any] = {k: options.values.pop(k) for k in list(options.values) if k not in _COMMON}
        size = str(options.values.get("size", ""))
        with from_network(
            asked, "Connect to the network once, or add ?pretrained=false for untrained weights"
        ):
            module = self._create(
                timm, which, pretrained, pair(size, options.spec) if size else None, extra, asked
            )
        config = timm.data.resolve_model_data_config(module)
        classes = getattr(module, "num_classes", 0)
        notes = () if pretrained else ("Its weights are untrained.",)
        return Model(
            module,
            preprocess=preprocessing(config),
            labels=_labels(timm, module, classes) if classes else None,
            kind="classes" if classes > 1 else None if classes else "embedding",
            notes=notes,
        )

    def names(self) -> list[str]:
        """See `Family.names`."""
        try:
            return list(optional("timm", "timm", "", MODELS).list_models())
        except (BadInput, ImportError):
            return []

    def _check(self, timm: Any, which: str, pretrained: bool) -> None:
        architecture, _, tag = which.partition(".")
        if not timm.is_model(architecture):
            raise UnknownName("timm model", architecture, timm.list_models())
        if not pretrained:
            return
        tagged = timm.list_pretrained(f"{architecture}.*") + timm.list_pretrained(architecture)
        if not tagged:
            raise BadInput(
                f"Asked for the timm model {which!r}", "It has no pretrained weights", "Add ?pretrained=false"
            )
        if tag and which not in tagged:
            raise UnknownName("timm model", which, tagged)

    def _create(
        self,
        timm: Any,
        which: str,
        pretrained: bool,
        size: tuple[int, int] | None,
        extra: dict[str, Any],
        asked: str,
    ) -> Any:
        try:
            if size is not None:
                try:
                    return timm.create_model(which, pretrained=pretrained, img_size=size, **extra)
                except TypeError:
                    pass  # most CNNs take any size and no such argument
            return timm.create_model(which, pretrained=pretrained, **extra)
        except (TypeError, AssertionError) as error:
            raise BadInput(asked, f"timm refuses: {error}", "Check the options") from error


def preprocessing(config: dict[str, Any]) -> Preprocessing:
    """Return what timm's evaluation transform does, from `timm.data.resolve_model_data_config`."""
    channels, *size = config["input_size"]
    share = config.get("crop_pct") or 0.875
    resize = tuple(floor(edge / share) for edge in size)
    fit: Fit = {"squash": "squash", "border": "pad"}.get(config.get("crop_mode") or "center", "crop")  # type: ignore[assignment]
    simple = fit == "crop" and resize[0] == resize[1]
    mean, std = (
        (tuple(v) * channels)[:channels] if len(v) == 1 else tuple(v) for v in (config["mean"], config["std"])
    )
    if channels == 1 and len(mean) == 3:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    return Preprocessing(
        tuple(size),
        fit,
        resize[0] if simple else resize,
        config.get("interpolation") or "bilinear",
        mean,
        std,
    )


def _labels(timm: Any, module: Any, classes: int) -> Labels | None:
    names = (getattr(module, "pretrained_cfg", None) or {}).get("label_names")
    if names and len(names) == classes:
        return Labels(list(names))
    if classes == 1000 and (labels := imagenet_labels()) is not None:
        return labels
    subset = timm.data.infer_imagenet_subset(module)
    if not subset:
        return None
    info = timm.data.ImageNetInfo(subset)
    return Labels([info.index_to_description(i) for i in range(info.num_classes())])
