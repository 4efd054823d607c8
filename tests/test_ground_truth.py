"""The study of known evidence: pictures hold it where they say, cells are kept, the page counts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.ground_truth import composites, nets, page, stamps, study
from benchmarks.ground_truth.plan import Plan
from benchmarks.ground_truth.settings import Setting
from benchmarks.ground_truth.synthetic import CELLS, LABELS, SIDE, draw
from PIL import Image
from torch import Tensor, nn

from seewhy.errors import BadInput, SeeWhyError
from seewhy.inputs.batch import Inputs
from seewhy.models.model import Model

# -- synthetic pictures ------------------------------------------------------------------------------------


def test_a_picture_follows_from_seed_and_index() -> None:
    whole, again, other = draw(3, 0, 12), draw(3, 5, 1), draw(4, 5, 1)
    assert torch.equal(whole.pixels[5:6], again.pixels)
    assert torch.equal(whole.truth[5:6], again.truth)
    assert int(whole.classes[5]) == int(again.classes)
    assert not torch.equal(again.pixels, other.pixels)
    assert 0 <= float(whole.pixels.amin()) < float(whole.pixels.amax()) <= 1


def outside_differs(one: Tensor, two: Tensor, truth: Tensor) -> bool:
    return bool(((one != two).any(1) & ~truth).any())


def test_the_class_changes_the_evidence_and_nothing_else() -> None:
    kinds = [draw(0, 0, 24, torch.full((24,), c)) for c in range(len(LABELS))]
    for other in kinds[1:]:
        assert torch.equal(kinds[0].truth, other.truth)
        assert not outside_differs(kinds[0].pixels, other.pixels, other.truth)
        inside = (kinds[0].pixels != other.pixels).any(1) & other.truth
        assert bool((inside.flatten(1).sum(1) > 0.5 * other.truth.flatten(1).sum(1)).all())
    # A planted leak of the class into one corner is seen.
    leaking = kinds[1].pixels.clone()
    leaking[:, :, 0, 0] += 0.01 * kinds[1].classes[:, None]
    assert outside_differs(kinds[0].pixels, leaking, kinds[1].truth & ~_corner(kinds[1].truth))


def _corner(truth: Tensor) -> Tensor:
    corner = torch.zeros_like(truth)
    corner[:, 0, 0] = True
    return corner


def test_the_stripes_run_as_the_class_says() -> None:
    """By the spectrum of the disc alone, in NumPy: its strongest wave lies across the stripes."""
    pictures = draw(1, 0, 60)
    for pixels, c, truth in zip(pictures.pixels, pictures.classes.tolist(), pictures.truth, strict=True):
        rows, columns = (torch.nonzero(truth.any(d))[:, 0] for d in (1, 0))
        box = pixels[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].double().numpy()
        inside = truth[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].numpy()
        mean = box[:, inside].mean(1)[:, None, None]
        power = (np.abs(np.fft.fft2((box - mean) * inside, (64, 64))) ** 2).sum(0)
        v, u = np.unravel_index(int(power[:32].argmax()), (32, 64))
        wave = math.atan2(v, (u + 32) % 64 - 32)
        along = (wave + math.pi / 2) % math.pi
        difference = abs((along - c * math.pi / 4 + math.pi / 2) % math.pi - math.pi / 2)
        assert difference < math.pi / 8


def test_classes_and_places_are_even() -> None:
    pictures = draw(2, 0, 600)
    counts = pictures.classes.bincount()
    assert counts.min() > 115
    at = pictures.truth.flatten(1).float().argmax(1)  # the top of the disc
    cell = (at // SIDE * CELLS // SIDE) * CELLS + at % SIDE * CELLS // SIDE
    assert cell.bincount(minlength=CELLS**2).min() > 40
    cover = pictures.truth.float().mean(0)
    assert float(cover[30:34, 30:34].mean()) < 2.6 * float(cover.mean())
    areas = pictures.truth.flatten(1).sum(1)
    assert bool(((areas - math.pi * 64).abs() < 12).all())


# -- composites --------------------------------------------------------------------------------------------


def things() -> list[stamps.CutOut]:
    """A magenta disc and a green cross, drawn."""
    at = np.arange(100) - 49.5
    disc = at[:, None] ** 2 + at[None] ** 2 < 45**2
    cross = (np.abs(at)[:, None] < 12) | (np.abs(at)[None] < 12)
    found = []
    for name, index, shape, colour in (("disc", 1, disc, (255, 0, 255)), ("cross", 2, cross, (0, 255, 0))):
        rgba = np.zeros((100, 100, 4), np.uint8)
        rgba[shape] = (*colour, 255)
        found.append(stamps.cut_out(name, index, Image.fromarray(rgba)))
    return found


def greys() -> dict[str, Image.Image]:
    noise = np.random.default_rng(0).integers(80, 170, (300, 400, 1), np.uint8)
    return {"noise": Image.fromarray(noise.repeat(3, 2)), "flat": Image.new("RGB", (300, 300), (128,) * 3)}


@pytest.mark.parametrize("objects", [1, 2])
def test_masks_are_where_the_objects_are(objects: int) -> None:
    cuts, photos = things(), greys()
    assert {c.picture.size for c in cuts} == {(90, 90), (100, 100)}  # cut to their own boxes
    colours = {1: (255, 0, 255), 2: (0, 255, 0)}
    for index in range(20):
        scene = composites.scene(0, index, objects, cuts, photos)
        again = composites.scene(0, index, objects, cuts, photos)
        assert scene is not None
        assert again is not None
        assert scene.picture.tobytes() == again.picture.tobytes()
        assert len(set(scene.classes)) == len(scene.masks) == objects
        assert scene.masks.sum(0).max() == 1
        pixels = np.asarray(scene.picture).astype(int)
        for c, mask in zip(scene.classes, scene.masks, strict=True):
            painted = (np.abs(pixels - colours[c]) < 100).all(-1)
            assert (painted != mask).mean() < 0.01  # a soft rim alone
            moved = np.roll(mask, 6, 1)
            assert (painted != moved).mean() > 0.015  # a planted shift of the mask is seen


def test_the_centre_is_no_gift() -> None:
    cuts, photos = things(), greys()
    scenes = [composites.scene(1, i, 1, cuts, photos) for i in range(300)]
    cover = np.mean([s.masks[0] for s in scenes if s is not None], 0)
    assert cover[102:122, 102:122].mean() < 1.6 * cover.mean()
    # Objects that stay whole, as they are often pasted, would make it one.
    whole = [s.masks[0] for s in scenes if s is not None and _whole(s.masks[0])]
    assert np.mean(whole, 0)[102:122, 102:122].mean() > 2 * cover.mean()


def _whole(mask: np.ndarray) -> bool:
    return not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_missing_stamps_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"0 of 75 are there.*apt-get install tuxpaint-stamps-default.*--stamps"
    ):
        stamps.read_stamps(tmp_path)


def test_a_drawing_does_not_stand_in_for_a_photo(tmp_path: Path) -> None:
    for i, stem in enumerate(sorted(stamps.CLASSES)):
        folder = tmp_path / ("z" if i else "animals/cartoon")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(folder / f"{stem}.png")
    found = {c.name: c.index for c in stamps.read_stamps(tmp_path)}
    assert set(stamps.CLASSES) - set(found) == {min(stamps.CLASSES)}
    assert found["zebra"] == 340


# -- networks, cells, page ---------------------------------------------------------------------------------


def test_a_network_that_misses_the_evidence_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nets, "TESTS", 200)
    recipe = nets.Recipe("tiny", "tiny network", nets.cnn, steps=10, rate=1e-3, pictures=64)
    with pytest.raises(SeeWhyError, match=r"tiny network names 0\.\d+ of the test pictures, below 0.97"):
        nets.trained(recipe, tmp_path)
    monkeypatch.setattr(nets, "ACCURACY", 0.0)
    state = torch.random.get_rng_state()
    model, accuracy, seconds = nets.trained(recipe, tmp_path)  # from the kept weights
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.module.training
    assert 0 < accuracy < 0.97
    assert seconds > 0
    assert nets.trained(recipe, tmp_path / "anew")[0].weights_hash == model.weights_hash


def setting(others: bool = False) -> Setting:
    torch.manual_seed(0)
    pictures = draw(0, 0, 12)
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    model = Model(net.eval(), preprocess=nets.LOOK, labels=LABELS, kind="classes")
    names = tuple(f"picture {i}" for i in range(12))
    truth, rest = pictures.truth, pictures.truth.flip(1) if others else None
    inputs = Inputs(nets.normalised(pictures.pixels), names)
    plans = {"rise": Plan({"masks": 10}, 0.1)}
    return Setting(
        "s", "A setting", model, inputs, pictures.classes.tolist(), truth, rest, 4.0, plans, "Note."
    )


def test_cells_are_kept_and_measured_again_when_something_changed(tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    given = setting()

    def get(name: str, s: Setting) -> dict[str, object]:
        return study.Cells(tmp_path / "s.json", s).get(name, lambda *step: steps.append(step))

    first = get("gradient", given)
    assert steps == [(0, 12, "gradient"), (10, 12, "gradient")]
    assert get("gradient", given) == first
    assert len(steps) == 2
    rise = get("rise", given)
    assert rise["samples"] == 8  # a share, but at least eight
    assert steps[2:] == [(0, 8, "rise")]
    given.plans["rise"] = Plan({"masks": 11}, 0.1)
    assert get("rise", given) != rise
    assert len(steps) == 4
    with torch.no_grad():
        given.model.module[0].weight.mul_(2)  # type: ignore[index]
    assert get("gradient", given) != first
    assert "attention" in str(get("attention_rollout", given)["unfit"])
    assert set(json.loads((tmp_path / "s.json").read_text())) == {"gradient", "rise", "attention_rollout"}


def test_baselines_know_the_area_and_the_page_counts_pairs() -> None:
    s = setting(others=True)
    found = study.baselines(s)
    area = s.truth.double().flatten(1).mean(1).tolist()
    assert found["constant"]["exact"] == pytest.approx(area, abs=1e-6)
    assert found["constant"]["energy"] == pytest.approx(area, abs=1e-6)
    centre = found["centre"]["pointing"]
    assert study.scores(s, s.truth[:8].float())["exact"] == [1.0] * 8
    assert study.scores(s, s.truth.flip(1).float())["other"] == [1.0] * 12
    perfect = {"samples": 8, "seconds": 4.0, "passes": {"forward": 3, "backward": 0}}
    perfect |= study.scores(s, s.truth[:8].float())
    worst = {**perfect, **study.scores(s, (~s.truth[:8]).float())}
    result = page.Result(s, {"rise": perfect, "lime": worst, "le_grad": {"unfit": "no attention"}}, found)
    gain = result.summaries()["rise", "gain"]
    assert gain.samples == 8
    assert gain.mean == pytest.approx(1 - sum(centre[:8]) / 8)
    text = page.page([result], "python -m benchmarks.ground_truth")
    assert "| `rise` | 8 | 1.00 [1.00, 1.00] |" in text
    assert "- [`lime`](methods.md#lime) does not beat the centre on: A setting" in text
    assert "- [`rise`]" not in text
    assert "Does not fit: `le_grad` (no attention)." in text
