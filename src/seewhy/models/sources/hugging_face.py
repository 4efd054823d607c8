"""`hf:ORG/NAME` or `hf:FOLDER`: classifiers and encoders of transformers.

A checkpoint with a classification head is loaded with it; any other is an encoder whose answer is an
embedding (of CLIP and SigLIP, the image side). Preprocessing is read from the image processor's configuration
as plain data. Code from the hub is never executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seewhy.errors import BadInput, UnreadableInput
from seewhy.extras import optional
from seewhy.models.model import Model
from seewhy.models.preprocessing import Fit, Interpolation, Preprocessing
from seewhy.models.sources import timm_family
from seewhy.models.sources.base import FAMILIES, MODELS, Family, from_network
from seewhy.specs import Options
from seewhy.types import Json

_CLIP_MEAN, _CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_SQUARE = {"height": 224, "width": 224}

# What each kind of processor assumes where its configuration is silent. A kind that is not here does
# something that `Preprocessing` cannot (turns channels round, cuts to other rules): better none than a wrong
# one.
_DEFAULTS: dict[str, Json] = {
    "ViT": {"size": _SQUARE, "resample": 2},
    "Pvt": {
        "size": _SQUARE,
        "resample": 2,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "Siglip": {"size": _SQUARE, "resample": 3},
    "Beit": {"size": _SQUARE, "crop_size": _SQUARE, "do_center_crop": False, "resample": 3},
    "DeiT": {
        "size": {"height": 256, "width": 256},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "resample": 3,
    },
    "CLIP": {
        "size": {"shortest_edge": 224},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _CLIP_MEAN,
        "image_std": _CLIP_STD,
    },
    "Bit": {
        "size": {"shortest_edge": 224},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _CLIP_MEAN,
        "image_std": _CLIP_STD,
    },
    "ConvNext": {"size": {"shortest_edge": 384}, "crop_pct": 224 / 256, "resample": 3},
    "MobileNetV1": {
        "size": {"shortest_edge": 256},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "resample": 2,
    },
    "MobileNetV2": {
        "size": {"shortest_edge": 256},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "resample": 2,
    },
}
_FILTERS: dict[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
_IMAGE_SIDE = {"clip": "CLIPVisionModelWithProjection", "siglip": "SiglipVisionModel"}


@FAMILIES.register
class HuggingFace(Family):
    """Models in the format of transformers."""

    name = "hf"
    example = "hf:microsoft/resnet-50"

    def load(self, which: str, options: Options) -> Model:
        """See `Family.load`."""
        asked = f"Asked for the model {options.spec!r}"
        transformers = optional("transformers", "transformers", asked, MODELS)
        folder = Path(which).expanduser()
        if folder.is_dir():
            config, module, loading, kind = _from_folder(transformers, folder, asked)
            which = str(folder)
        elif which.startswith((".", "/", "~", "\\")) or which.count("/") > 1:
            raise UnreadableInput(asked, "There is no such folder", "Check the path")
        else:
            with from_network(asked, "Check the name and the connection, or give a local folder: hf:FOLDER"):
                config, module, loading, kind = _checkpoint(transformers, which)
        preprocess, notes = preprocessing_of(transformers, which, config)
        if missing := sorted(loading["missing_keys"]):
            notes.append(
                f"The checkpoint lacks {len(missing)} weights, left untrained: {', '.join(missing[:3])} ..."
            )
        labels = _labels(config) if kind == "classes" else None
        return Model(
            module,
            preprocess=preprocess,
            labels=labels,
            notes=notes,
            kind="classes"
            if kind == "classes" and config.num_labels > 1
            else kind
            if kind != "classes"
            else None,
            activation="sigmoid" if config.problem_type == "multi_label_classification" else "softmax",
        )


def _from_folder(transformers: Any, folder: Path, asked: str) -> tuple[Any, Any, Json, Any]:
    if not (folder / "config.json").is_file():
        raise UnreadableInput(
            asked, f"The folder {folder} holds no config.json", "Save it with save_pretrained"
        )
    try:
        return _checkpoint(transformers, str(folder))
    except BadInput:
        raise
    except Exception as error:
        # Damaged files make the readers of three libraries raise what they like.
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableInput(asked, f"The folder cannot be loaded: {found}", "Save it again") from error


def _checkpoint(transformers: Any, which: str) -> tuple[Any, Any, Json, Any]:
    """Return the configuration, the module, what was found on loading it, and the kind of its answer."""
    config = transformers.AutoConfig.from_pretrained(which)
    maker, kind = _class_for(transformers, config)
    return config, *quietly(transformers, maker, which), kind


def _class_for(transformers: Any, config: Any) -> tuple[Any, Any]:
    """Return the class to load a checkpoint with, and the kind of its answer."""
    architectures = list(config.architectures or [])
    if any("ForImageClassification" in a for a in architectures):
        return transformers.AutoModelForImageClassification, "classes"
    if config.model_type in _IMAGE_SIDE:
        return getattr(transformers, _IMAGE_SIDE[config.model_type]), "embedding"
    return transformers.AutoModel, "embedding"


def quietly(transformers: Any, maker: Any, which: str) -> tuple[Any, Json]:
    """Load without progress bars and lists of keys on the terminal: what matters of them becomes a note."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        module, loading = maker.from_pretrained(which, output_loading_info=True)
        return module, loading
    except ValueError as error:
        raise BadInput(
            f"Asked for the model hf:{which}",
            f"transformers refuses: {error}".splitlines()[0],
            "Choose an image classifier or encoder",
        ) from error
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()


def _labels(config: Any) -> list[str] | None:
    names = [str(config.id2label[i]) for i in sorted(config.id2label)]
    return None if all(n == f"LABEL_{i}" for i, n in enumerate(names)) else names


def preprocessing_of(transformers: Any, which: str, config: Any) -> tuple[Preprocessing | None, list[str]]:
    """Return the preprocessing of a checkpoint, and what had to be assumed."""
    if config.model_type == "timm_wrapper" and getattr(config, "pretrained_cfg", None):
        timm = optional("timm", "timm", f"Asked for the model hf:{which}", MODELS)
        return timm_family.preprocessing(
            timm.data.resolve_data_config({}, pretrained_cfg=config.pretrained_cfg)
        ), []
    mixin = transformers.image_processing_base.ImageProcessingMixin
    try:
        processor, _ = mixin.get_image_processor_dict(which)
    except OSError:
        side = getattr(getattr(config, "vision_config", config), "image_size", None)
        size = (224, 224) if side is None else (side, side) if isinstance(side, int) else (side[0], side[1])
        return Preprocessing(size), ["It comes without a preprocessing: ImageNet's was assumed."]
    preprocess = preprocessing(processor)
    kind = _kind(processor)
    return preprocess, [] if preprocess else [
        f"Its preprocessing ({kind or 'of no known kind'}) has no counterpart here: "
        "give tensors that it prepared."
    ]


def preprocessing(processor: Json) -> Preprocessing | None:
    """Return what an image processor does, from its configuration; None for what has no counterpart."""
    kind = _kind(processor)
    if kind and kind not in _DEFAULTS:
        return None
    p: Json = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": _SQUARE,
    }
    p |= _DEFAULTS.get(kind, {}) | {k: v for k, v in processor.items() if v is not None}
    scale = float(p["rescale_factor"]) if p["do_rescale"] else 1.0
    mean, std = (p["image_mean"], p["image_std"]) if p["do_normalize"] else ([0.0] * 3, [1.0] * 3)
    size, fit, resize = _sizes(p, kind)
    filter_ = _FILTERS[int(p["resample"])]
    return Preprocessing(size, fit, resize, filter_, tuple(mean), tuple(std), scale, centre="down")


def _sizes(p: Json, kind: str) -> tuple[tuple[int, int], Fit, int | tuple[int, int] | None]:
    size = p["size"]
    if isinstance(size, int):
        # Old configurations: an edge of a square, or the shorter edge where a crop follows.
        shorter = kind in ("CLIP", "Bit", "ConvNext")
        size = {"shortest_edge": size} if shorter else {"height": size, "width": size}
    crop = p.get("crop_size", _SQUARE)
    crop = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
    cropped = bool(p.get("do_center_crop", "crop_size" in p))
    if not p["do_resize"]:
        return crop, "none", None
    edge = size.get("shortest_edge")
    if kind == "ConvNext" and edge:
        # Below 384 pixels a border is cut away, from there on the photo is squashed.
        return (edge, edge), *(("crop", int(edge / p["crop_pct"])) if edge < 384 else ("squash", None))
    if edge:
        return (crop if cropped else (edge, edge)), "crop", edge
    exact = (size["height"], size["width"])
    return (crop if cropped else exact), "squash", exact


def _kind(processor: Json) -> str:
    name = str(processor.get("image_processor_type") or processor.get("feature_extractor_type") or "")
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(ending)
    return name
