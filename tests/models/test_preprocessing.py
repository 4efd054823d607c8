"""Preprocessing: the tensors that timm, torchvision and transformers make, and back to pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.inputs import demo_photos, read_image
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources import hugging_face, timm_family, torchvision_family


def photo(width: int, height: int) -> Image.Image:
    """Return a picture with edges at all angles and fine grain: every misplaced pixel shows."""
    y, x = np.mgrid[0:height, 0:width]
    rings = 127 + 120 * np.sin(np.stack([(x + 2 * y) / 9, (x * y) / 900, np.hypot(x - 50, y - 80) / 5], 2))
    grain = np.random.default_rng(width).normal(0, 20, (height, width, 3))
    return Image.fromarray((rings + grain).clip(0, 255).astype(np.uint8))


PHOTOS = [(451, 300), (600, 400), (300, 517), (512, 512), (97, 140), (1001, 333)]
"""Width and height: wide, tall, square, smaller than the model's input, very wide."""

LEVEL = 1 / 255


def same(ours: Tensor, theirs: Tensor, p: Preprocessing) -> None:
    """Assert equality within one grey level everywhere, and that nearly all pixels are closer."""
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs() * torch.tensor(p.std).reshape(-1, 1, 1)
    assert float(difference.max()) <= 1.01 * LEVEL
    assert float(difference.mean()) <= 0.1 * LEVEL


# -- timm ------------------------------------------------------------------------------------------


def timm_config(**changes: Any) -> dict[str, Any]:
    return {
        "input_size": (3, 224, 224),
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "crop_pct": 0.875,
        "crop_mode": "center",
    } | changes


TIMM = {
    "usual": timm_config(),
    "bilinear": timm_config(interpolation="bilinear", crop_pct=0.95),
    "whole": timm_config(crop_pct=1.0),
    "odd": timm_config(input_size=(3, 237, 237), crop_pct=0.89),
    "squash": timm_config(crop_mode="squash", crop_pct=1.0),
    "squash and cut": timm_config(crop_mode="squash", crop_pct=0.9),
    "border": timm_config(crop_mode="border", crop_pct=1.0, mean=(0.5, 0.4, 0.3)),
    "border and cut": timm_config(crop_mode="border", crop_pct=0.9),
    "not square": timm_config(input_size=(3, 192, 320)),
    "not square, tall": timm_config(input_size=(3, 320, 160), crop_pct=0.93),
    "half": timm_config(mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.9),
}


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("size", PHOTOS, ids=lambda s: f"{s[0]}x{s[1]}")
def test_same_as_timm(name: str, size: tuple[int, int]) -> None:
    from timm.data import create_transform

    ours = timm_family.preprocessing(TIMM[name])
    image = photo(*size)
    same(ours(image), create_transform(**TIMM[name])(image), ours)


# -- torchvision -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["resnet50", "efficientnet_b1", "vit_b_16", "inception_v3", "swin_v2_t", "vgg16"]
)
@pytest.mark.parametrize("size", PHOTOS, ids=lambda s: f"{s[0]}x{s[1]}")
def test_same_as_torchvision(name: str, size: tuple[int, int]) -> None:
    from torchvision.models import get_model_weights

    preset = get_model_weights(name).DEFAULT.transforms()
    ours = torchvision_family.preprocessing(preset, None)
    image = photo(*size)
    same(ours(image), preset(image), ours)


@pytest.mark.real
@pytest.mark.parametrize("name", ["cat", "coffee", "astronaut", "rocket"])
def test_real_photos(name: str) -> None:
    from timm.data import create_transform
    from torchvision.models import get_model_weights

    image = read_image(demo_photos()[name])
    for config in TIMM.values():
        ours = timm_family.preprocessing(config)
        same(ours(image), create_transform(**config)(image), ours)
    for preset in (
        get_model_weights(m).DEFAULT.transforms() for m in ("resnet50", "convnext_tiny", "vit_l_16")
    ):
        ours = torchvision_family.preprocessing(preset, None)
        same(ours(image), preset(image), ours)


@pytest.mark.parametrize("crop", [(180, 300), (301, 301), (400, 700)])
def test_images_smaller_than_the_crop_are_padded_as_in_torchvision(crop: tuple[int, int]) -> None:
    from torchvision.transforms.functional import center_crop

    image = photo(257, 203)
    ours = Preprocessing(crop, resize=203, mean=(0.0,) * 3, std=(1.0,) * 3)
    theirs = np.asarray(center_crop(image, list(crop)))
    np.testing.assert_array_equal(np.asarray(ours.frame(image)), theirs)


def test_a_centre_that_is_merely_rounded_would_be_noticed() -> None:
    from torchvision.transforms.functional import center_crop

    image = photo(257, 203)
    left, top = round((257 - 400) / 2), round((203 - 300) / 2)
    naive = image.crop((left, top, left + 400, top + 300))
    assert not np.array_equal(np.asarray(naive), np.asarray(center_crop(image, [300, 400])))


@pytest.mark.parametrize("name", ["r3d_18", "mvit_v2_s", "s3d", "swin3d_t"])
@pytest.mark.parametrize("size", [(340, 256), (171, 128), (320, 480)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_clips_as_in_torchvision(name: str, size: tuple[int, int]) -> None:
    from torchvision.models import get_model_weights

    preset = get_model_weights(name).DEFAULT.transforms()
    ours = torchvision_family.preprocessing(preset, 4)
    frames = [photo(*size).rotate(3 * i) for i in range(4)]
    theirs = preset(torch.stack([torch.from_numpy(np.array(f)).permute(2, 0, 1) for f in frames]))
    clip = ours.clip(frames)
    assert clip.shape == (3, 4, *ours.size)
    same(clip.flatten(1, 2), theirs.flatten(1, 2), ours)


# -- transformers ----------------------------------------------------------------------------------

PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {}),
    "vit-384": ("ViTImageProcessor", {"size": {"height": 384, "width": 320}, "resample": 3}),
    "deit": ("DeiTImageProcessor", {}),
    "clip": ("CLIPImageProcessor", {}),
    "dinov2": ("BitImageProcessor", {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406]}),
    "convnext-224": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    "convnext-384": ("ConvNextImageProcessor", {}),
    "mobilenet": ("MobileNetV2ImageProcessor", {}),
    "beit": ("BeitImageProcessor", {}),
    "siglip": ("SiglipImageProcessor", {}),
    "raw": ("ViTImageProcessor", {"do_normalize": False}),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", PHOTOS, ids=lambda s: f"{s[0]}x{s[1]}")
def test_same_as_transformers(name: str, size: tuple[int, int]) -> None:
    import transformers

    cls, options = PROCESSORS[name]
    theirs = getattr(transformers, cls)(**options)
    ours = hugging_face.preprocessing(json.loads(theirs.to_json_string()))
    silent = hugging_face.preprocessing({"image_processor_type": cls, **options})
    assert ours is not None
    assert silent == ours  # what a short configuration leaves out, we fill in as transformers does
    image = photo(*size)
    pillow = getattr(transformers, f"{cls}Pil", getattr(transformers, cls))(**options)
    same(ours(image), torch.as_tensor(pillow(image, return_tensors="pt")["pixel_values"][0]), ours)


@pytest.mark.parametrize(
    "kind", ["MobileViTImageProcessor", "EfficientNetImageProcessor", "LevitFeatureExtractor"]
)
def test_processors_that_do_something_else_have_no_counterpart(kind: str) -> None:
    assert hugging_face.preprocessing({"image_processor_type": kind, "size": 224}) is None


def test_old_configurations_with_a_bare_number() -> None:
    vit = hugging_face.preprocessing({"feature_extractor_type": "ViTFeatureExtractor", "size": 224})
    clip = hugging_face.preprocessing(
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}
    )
    assert vit is not None
    assert (vit.fit, vit.size) == ("squash", (224, 224))
    assert clip is not None
    assert (clip.fit, clip.resize) == ("crop", 224)


# -- back to pixels --------------------------------------------------------------------------------


def truncating_display(p: Preprocessing, x: Tensor) -> Tensor:
    """The bug that `display` must not have: cutting off instead of rounding."""
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (p.mean, p.std))
    return ((x * std + mean) / p.scale - 0.5).clamp(0, 255).to(torch.uint8)


def round_trip_error(display: Callable[[Preprocessing, Tensor], Tensor], seed: int, p: Preprocessing) -> int:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (*p.size, 3), dtype=np.uint8))
    back = display(p, p(image)).permute(1, 2, 0).numpy().astype(int)
    return int(np.abs(back - np.asarray(image).astype(int)).max())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 1)] * 3),
    tf=st.booleans(),
)
def test_display_undoes_the_normalisation(
    seed: int, mean: tuple[float, ...], std: tuple[float, ...], tf: bool
) -> None:
    p = Preprocessing((8, 9), "squash", mean=mean, std=std, scale=1 / 127.5 if tf else 1 / 255)
    assert round_trip_error(Preprocessing.display, seed, p) == 0


def test_the_round_trip_would_notice_a_wrong_display() -> None:
    assert any(
        round_trip_error(truncating_display, seed, Preprocessing((8, 9), "squash")) for seed in range(5)
    )


def test_display_of_clips_and_of_values_out_of_range() -> None:
    p = Preprocessing((4, 5), frames=2)
    clip = p.clip([photo(5, 4), photo(5, 4).rotate(180)])
    assert p.display(clip).shape == (3, 2, 4, 5)
    assert torch.equal(p.display(clip)[:, 0], p.display(clip[:, 0]))
    assert p.display(torch.full((3, 4, 5), 1e6)).unique().tolist() == [255]


def test_normalised_grey_is_what_a_grey_photo_becomes() -> None:
    p = Preprocessing((2, 2), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    grey = p(Image.new("RGB", (2, 2), (90, 90, 90)))
    torch.testing.assert_close(p.normalised(90), grey[:, 0, 0])


def test_frame_shows_exactly_what_the_model_gets() -> None:
    for p in (
        Preprocessing(),
        Preprocessing(fit="pad"),
        Preprocessing((112, 112), "squash", (128, 171), antialias=False),
    ):
        image = photo(451, 300)
        np.testing.assert_array_equal(p.display(p(image)).permute(1, 2, 0), np.asarray(p.frame(image)))


# -- everything else -------------------------------------------------------------------------------


def test_greyscale_models_and_greyscale_photos() -> None:
    grey = Preprocessing((8, 8), mean=(0.5,), std=(0.5,))
    assert grey(photo(20, 10)).shape == (1, 8, 8)
    colour = Preprocessing((8, 8))(Image.new("L", (20, 10), 50))
    assert colour.shape == (3, 8, 8)


def test_none_keeps_the_photos_size() -> None:
    assert Preprocessing(fit="none")(photo(31, 17)).shape == (3, 17, 31)


def test_any_mode_is_read_as_a_file_would_be() -> None:
    p = Preprocessing((4, 4), mean=(0.0,) * 3, std=(1.0,) * 3)
    assert p(Image.new("RGBA", (4, 4), (0, 0, 0, 0))).unique().tolist() == [1.0]
    assert p(Image.fromarray(np.full((4, 4), 65535, np.uint16))).unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("p", "size", "resize"),
    [
        (Preprocessing((224, 224), resize=256), (192, 320), (219, 365)),
        (Preprocessing((224, 224), resize=256), (448, 448), 512),
        (Preprocessing((160, 160), resize=168), (160, 320), (168, 336)),
        (Preprocessing((224, 224)), (64, 96), None),
        (Preprocessing((112, 112), "squash", (128, 171)), (224, 224), (256, 342)),
    ],
)
def test_at_another_size_the_same_share_is_cut_away(
    p: Preprocessing, size: tuple[int, int], resize: Any
) -> None:
    other = p.at(size)
    assert (other.size, other.resize) == (size, resize)
    assert other(photo(200, 300)).shape == (3, *size)


def test_json_and_back() -> None:
    p = Preprocessing((192, 320), "squash", (200, 330), "bicubic", frames=8)
    again = Preprocessing.from_json(json.loads(json.dumps(p.to_json())))
    assert again == p
    assert hash(again) == hash(p)


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": (0.0, 1.0, 1.0)},
        {"mean": (0.5,)},
        {"mean": (0.5, 0.5), "std": (0.5, 0.5)},
        {"size": (0, 5)},
        {"size": (5,)},
        {"resize": 0},
        {"frames": 0},
        {"fit": "squash", "resize": 256},
        {"interpolation": "lanczos", "antialias": False},
    ],
    ids=str,
)
def test_senseless_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="Asked for a preprocessing"):
        Preprocessing(**wrong)


def test_clips_of_nothing_or_of_differing_frames_are_refused() -> None:
    with pytest.raises(BadInput, match="no frames"):
        Preprocessing().clip([])
    with pytest.raises(BadInput, match="differ in size"):
        Preprocessing().clip([photo(10, 10), photo(10, 11)])


# -- in all its detail -------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(1001, 333), (600, 800), (90, 60)])
def test_what_the_model_sees_in_all_detail_is_the_same_part_of_the_photo(
    fit: Any, size: tuple[int, int]
) -> None:
    resize = 72 if fit == "crop" else None
    p = Preprocessing(size=(64, 64), fit=fit, resize=resize)
    picture = photo(*size)
    fine, own = p.finely(picture, 2048), p.frame(picture)
    factor = fine.width // 64
    assert fine.size == (64 * factor, 64 * factor)
    scale = max(a / b for a, b in zip((picture.height, picture.width), p._grown(*size[::-1]), strict=True))
    assert factor - 1 < scale <= factor or factor == 1
    smaller = np.asarray(fine.resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    apart = [np.abs(np.roll(smaller, by, 1) - np.asarray(own, np.float32)).mean() for by in (0, 1, -1)]
    assert apart[0] < 8
    assert min(apart[1:]) > 1.25 * apart[0], "another part of the photo would be seen"


def test_detail_is_bounded() -> None:
    p = Preprocessing(size=(64, 64))
    assert p.finely(photo(1001, 1001), 200).size == (192, 192)
    assert p.finely(photo(1001, 1001), 10).size == (64, 64)
    assert Preprocessing(size=(64, 64), fit="none").finely(photo(97, 140), 10).size == (97, 140)
