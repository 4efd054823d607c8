"""`evaluate --truth`: masks go where the photo went, and what is wrong with them is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.attribution import Attribution
from seewhy.cli.loading import load_model
from seewhy.metrics.evaluation import evaluate
from seewhy.models.preprocessing import Preprocessing

CUTTING = "Preprocessing(size=(16, 16), resize=20, fit='crop')"
GAMES = "pointing_game,energy_pointing_game,iou"
LOOKS = [
    Preprocessing(size=(32, 32), resize=40),
    Preprocessing(size=(32, 48), fit="squash", interpolation="bicubic"),
    Preprocessing(size=(40, 40), fit="pad"),
    Preprocessing(size=(64, 64), resize=30, antialias=False),
    Preprocessing(fit="none"),
    Preprocessing(size=(32, 32), resize=37, centre="down", mean=(0.5,), std=(0.5,)),
]


@pytest.fixture
def explained(run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path) -> Path:
    """The folder with the map of cat.png, 20 pixels wide and 24 high, by a network that sees its middle."""
    models.write_text(models.read_text().replace('Preprocessing(size=(16, 16), fit="squash")', CUTTING))
    out = tmp_path / "out"
    assert run("explain", photo, "--model", f"{models}:tiny", "--method", "occlusion", "--out", out).code == 0
    return out


def masked(folder: Path, pixels: Any, name: str = "cat.png") -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder


def half(value: int = 255) -> Any:
    """An object over the left half of the photo, which the crop cuts at its left, top and bottom."""
    mask = np.zeros((24, 20), dtype=np.uint8)
    mask[:, :10] = value
    return mask


def test_the_mask_is_cut_where_the_photo_is(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path
) -> None:
    spec, folder = f"{models}:tiny", masked(tmp_path / "masks", half())
    argv = ("evaluate", explained, "--model", spec, "--metrics", GAMES, "--truth", folder, "--json")
    said = run(*argv)
    assert said.code == 0, said.err
    found = {m["name"]: m["metrics"] for m in json.loads(said.out)["methods"]}
    # 20 x 24 pixels keep their size (the shorter edge is 20); 2 columns and 4 rows go at each side.
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[..., :8] = True
    kept, model = Attribution.open(explained / "cat.occlusion"), load_model(spec)
    photo = kept.provenance["inputs"][0]["path"]
    names = GAMES.split(",")
    for place, same in ((truth, True), (truth.flip(-1), False)):  # a planted mirror is seen
        table = evaluate(model, [photo], kept, names, truth=place)
        values = [row.value for row in table if row.method == "occlusion"]
        means = [found["occlusion"][name]["mean"] for name in names]
        assert (means == pytest.approx(values, abs=1e-6)) == same
    assert found["centre"]["energy_pointing_game"]["mean"] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("kind", ["levels", "bits", "palette", "colour", "opaque", "deep"])
def test_masks_of_any_kind_are_one(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path, kind: str
) -> None:
    image = Image.fromarray(half())
    if kind == "palette":
        other = Image.fromarray(half(1))
        image = other.convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    else:
        image = {
            "levels": lambda: Image.fromarray(half(1)),
            "bits": lambda: image.convert("1"),
            "colour": lambda: Image.merge("RGB", [image.point(lambda v: 0), image, image.point(lambda v: 0)]),
            "opaque": lambda: image.convert("RGBA"),
            "deep": lambda: Image.fromarray(half(1).astype(np.uint16)),
        }[kind]()
    folder = tmp_path / "masks"
    folder.mkdir()
    image.save(folder / "cat.png")
    argv = ("evaluate", explained, "--model", f"{models}:tiny", "--metrics", "energy_pointing_game", "--json")
    said = run(*argv, "--truth", folder)
    assert said.code == 0, said.err
    found = {m["name"]: m["metrics"]["energy_pointing_game"]["mean"] for m in json.loads(said.out)["methods"]}
    assert found["centre"] == pytest.approx(0.5, abs=1e-6)


def test_a_photo_that_has_moved(
    run: Callable[..., Any], models: Path, explained: Path, photo: Path, tmp_path: Path
) -> None:
    photo.unlink()
    folder = masked(tmp_path / "masks", half())
    said = run("evaluate", explained, "--model", f"{models}:tiny", "--metrics", "iou", "--truth", folder)
    assert said.code == 0
    assert "is gone, so the size of its mask cannot be compared" in said.err
    assert "iou, higher is better" in said.out


def transparent() -> Any:
    return np.stack([half(), half(), half(), half()], 2)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (None, "There is no cat.png"),
        (half()[:, :18], "The mask measures 18 x 24 pixels, the photo 20 x 24"),
        (half(0), "black all over"),
        (np.pad(np.full((24, 1), 9, np.uint8), ((0, 0), (0, 19))), "None of the object is in the part"),
        (transparent(), "transparent pixels"),
    ],
)
def test_bad_masks_are_refused(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path, mask: Any, words: str
) -> None:
    folder = tmp_path / "masks"
    masked(folder, half() if mask is None else mask, "dog.png" if mask is None else "cat.png")
    said = run("evaluate", explained, "--model", f"{models}:tiny", "--metrics", GAMES, "--truth", folder)
    refused(said, words)


def refused(said: Any, words: str) -> None:
    assert said.code == 2, said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--metrics", "iou"), "no masks were given"),
        (("--truth", "masks"), "Nothing among deletion, insertion does that"),
        (("--truth", "nowhere", "--metrics", "iou"), "There is no such folder"),
        (("--truth", "masks", "--metrics", "iou,nss"), "Evaluate apart, each with its own --truth FOLDER"),
        (("--metrics", "correlation"), "no densities were given"),
        (("--metrics", "nss"), "no fixations were given"),
    ],
)
def test_requests_that_do_not_go_together(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path, argv: tuple[str, ...], words: str
) -> None:
    masked(tmp_path / "masks", half())
    given = [tmp_path / a if before == "--truth" else a for before, a in zip(("", *argv), argv, strict=False)]
    refused(run("evaluate", explained, "--model", f"{models}:tiny", *given), words)


@pytest.mark.parametrize("metric", ["nss", "auc_judd", "correlation", "similarity", "kl_divergence"])
def test_gaze_is_cut_where_the_photo_is(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path, metric: str
) -> None:
    spec, pixels = f"{models}:tiny", np.zeros((24, 20), dtype=np.uint8)
    pixels[5, 4], pixels[11, 9], pixels[2, 3] = 200, 100, 255  # the last one is cut away
    argv = ("evaluate", explained, "--model", spec, "--metrics", metric, "--json")
    said = run(*argv, "--truth", masked(tmp_path / "gaze", pixels))
    assert said.code == 0, said.err
    found = {m["name"]: m["metrics"] for m in json.loads(said.out)["methods"]}["occlusion"][metric]["mean"]
    truth = torch.zeros(1, 16, 16)  # 2 columns and 4 rows go at each side
    truth[0, 1, 2], truth[0, 7, 7] = 200, 100
    kept, model = Attribution.open(explained / "cat.occlusion"), load_model(spec)
    photo = kept.provenance["inputs"][0]["path"]
    for shown, same in ((truth, True), (truth.flip(-1), False)):  # a planted mirror is seen
        gaze = shown > 0 if metric in ("nss", "auc_judd") else shown
        (mean, *_) = evaluate(model, photo, kept, metric, truth=gaze, baselines=False).mean()
        assert (mean.mean == pytest.approx(found, rel=1e-6)) is same


def test_a_coloured_density_is_refused(
    run: Callable[..., Any], models: Path, explained: Path, tmp_path: Path
) -> None:
    folder = masked(tmp_path / "gaze", np.zeros((24, 20, 3), dtype=np.uint8))
    argv = ("evaluate", explained, "--model", f"{models}:tiny", "--metrics", "similarity", "--truth", folder)
    refused(run(*argv), "picture in colours")


def test_photos_of_one_name_are_refused(
    run: Callable[..., Any], models: Path, explained: Path, photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "cat.png").write_bytes(photo.read_bytes())
    out = tmp_path / "more"
    spec = f"{models}:tiny"
    assert run("explain", other / "cat.png", "--model", spec, "--method", "gradient", "--out", out).code == 0
    folder = masked(tmp_path / "masks", half())
    said = run("evaluate", explained, out, "--model", spec, "--metrics", "iou", "--truth", folder)
    refused(said, "would share cat.png")


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.fit}-{look.resize}")
@pytest.mark.parametrize("size", [(91, 60), (50, 77)])
def test_masks_lie_on_what_the_model_sees(look: Preprocessing, size: tuple[int, int]) -> None:
    """A white disc on black, as photo and as mask: the mask is where the photo is bright, but for its rim."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    disc = Image.fromarray((np.hypot(x - 22, y - 25) < 19).astype(np.uint8) * 255)
    bright = look.display(look(disc)).float().mean(0) / 255
    if look.fit == "pad":  # bars in the mean colour
        bright = bright * (look.display(look(disc.point(lambda v: 255))).float().mean(0) > 200)
    mask = look.mask(disc)
    assert mask.shape == bright.shape
    assert mask.dtype == torch.bool
    middle = (bright - 0.5).abs() < 0.45  # the rim
    assert bool((mask == (bright > 0.5))[~middle].all())
    assert float(middle.float().mean()) < 0.15
    assert 0.02 < float(mask.float().mean()) < 0.98
    # A planted shift by two pixels is seen.
    assert not bool((mask.roll(2, 1) == (bright > 0.5))[~middle].all())


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.fit}-{look.resize}")
@pytest.mark.parametrize("size", [(91, 60), (50, 77), (300, 320)])
def test_no_fixation_is_lost_or_moved(look: Preprocessing, size: tuple[int, int]) -> None:
    """A fixated pixel lies inside the mask of a block around it, and is gone only where that is, too."""
    draw = np.random.default_rng(0)
    scale = max(1, max(size) // min(look.size or size))
    lost = 0
    for x, y in draw.integers(0, size, (40, 2)):
        pixels, block = (np.zeros((size[1], size[0]), dtype=np.uint8) for _ in range(2))
        pixels[y, x] = 1
        reach = 2 * scale
        block[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 255
        seen, around = look.fixations(Image.fromarray(pixels)), look.mask(Image.fromarray(block))
        assert seen.shape == around.shape
        assert int(seen.sum()) <= 1
        assert bool((seen & ~around).sum() == 0)
        core = look.mask(Image.fromarray(pixels * 255))
        assert bool(seen.any()) or not bool(core.any())
        lost += not bool(core.any()) and bool(seen.any())
    # What a mask's way of resizing would lose where photos shrink.
    assert lost > 0 or scale == 1 or look.fit == "none"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.fit}-{look.resize}")
def test_a_density_lies_where_the_photo_does(look: Preprocessing) -> None:
    y, x = np.mgrid[0:77, 0:50]
    hill = np.exp(-((x - 22.0) ** 2 + (y - 25.0) ** 2) / 200).astype(np.float32)
    density = look.density(Image.fromarray(hill))
    shown = look.display(look(Image.fromarray((hill * 255).astype(np.uint8)))).float().mean(0) / 255
    inside = look.mask(Image.fromarray(np.full((77, 50), 255, dtype=np.uint8)))
    assert density.dtype == torch.float32
    assert float((density - shown)[inside].abs().max()) < 0.04
    assert not bool(density[~inside].any())
    assert float((density.roll(3, 0) - shown)[inside].abs().max()) > 0.1  # a planted shift is seen
