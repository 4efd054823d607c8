"""Network dissection: thresholds and agreements by plain loops, and a channel that was built to detect."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.concepts import dissection as module
from seewhy.concepts.annotated import raster_of
from seewhy.concepts.dissection import Dissecting, dissect
from seewhy.concepts.dissection_result import Dissection
from seewhy.concepts.draws import permutations, resamples
from seewhy.concepts.record import open_record
from seewhy.concepts.store import Features, FeatureStore
from seewhy.concepts.upper_quantiles import upper_quantiles
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.datasets import Dataset, open_dataset
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

# -- thresholds ----------------------------------------------------------------------------------------------


def sorted_quantile(values: Tensor, share: float) -> Tensor:
    """`(channels, cells)`: the value at whose place in the descending order the share is used up."""
    return values.sort(dim=1, descending=True).values[:, int(share * values.shape[1] + 1e-9)]


def kept(folder: Path, grids: Tensor) -> tuple[Features, list[str]]:
    features = Features(folder)
    digests = [f"{i:064x}" for i in range(len(grids))]
    features.add(digests, grids)
    return features, digests


def hard_grids() -> Tensor:
    """Normal values, many ties, all negative, zeros of both signs, subnormal and huge values, a constant."""
    draw = torch.Generator().manual_seed(0)
    grids = torch.randn(37, 7, 3, 5, generator=draw)
    grids[:, 1] = (grids[:, 1] * 2).round()
    grids[:, 2] = -grids[:, 2].abs() - 3
    grids[:, 3] = torch.where(grids[:, 3] > 0, 0.0, -0.0)
    grids[:, 4] *= 1e-7
    grids[:, 5] = (grids[:, 5] * 3e4).clamp(-65504, 65504)
    grids[:, 6] = 2.5
    return grids


@pytest.mark.parametrize("share", [0.0001, 0.005, 0.1, 0.5, 0.999])
def test_thresholds_are_those_of_sorted_values(tmp_path: Path, share: float) -> None:
    grids = hard_grids()
    features, digests = kept(tmp_path, grids)
    found = upper_quantiles(features, digests, share, Execution())
    values = grids.half().float().movedim(1, 0).flatten(1)
    assert torch.equal(found, sorted_quantile(values, share))
    above = (values > found[:, None]).sum(1)
    assert int(above.max()) <= share * values.shape[1]
    some = digests[3:20]
    part = grids[3:20].half().float().movedim(1, 0).flatten(1)
    assert torch.equal(upper_quantiles(features, some, share, Execution()), sorted_quantile(part, share))


def test_that_check_notices_keys_out_of_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantiles = importlib.import_module("seewhy.concepts.upper_quantiles")
    right = quantiles._keys
    monkeypatch.setattr(quantiles, "_keys", lambda *a: (k ^ 0x8000 for k in right(*a)))
    features, digests = kept(tmp_path, hard_grids())
    values = hard_grids().half().float().movedim(1, 0).flatten(1)
    found = upper_quantiles(features, digests, 0.1, Execution())
    assert not torch.equal(found, sorted_quantile(values, 0.1))


def test_shares_that_are_none_are_refused(tmp_path: Path) -> None:
    features, digests = kept(tmp_path, hard_grids()[:1])
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(BadInput, match="share of cells"):
            upper_quantiles(features, digests, share, Execution())


# -- agreement with masks ------------------------------------------------------------------------------------


class Colours(nn.Module):
    """One channel each for red, green and blue, a mixture, and one that never answers; cells of 4 pixels."""

    WEIGHTS = torch.tensor(
        [[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0], [0.2, 0.3, 0.4], [0.0, 0.0, 0.0]]
    )

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 5, 4, stride=4, bias=False)
        self.head = nn.Linear(5, 2)
        self.see.weight.data = (self.WEIGHTS / 16)[:, :, None, None].expand(-1, -1, 4, 4).clone()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.see(x).relu().mean((2, 3)))


def model() -> Model:
    torch.manual_seed(1)
    look = Preprocessing((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Model(Colours(), preprocess=look, name="colours")


SPOTS = {"cherry": 0, "leaf": 1, "sky": 2}


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Noisy photos with a red, a green or a blue rectangle, or two of them, as COCO writes them."""
    draw = np.random.default_rng(4)
    (tmp_path / "photos").mkdir()
    images, annotations = [], []
    for i in range(40):
        pixels = draw.integers(0, 40, (32, 32, 3)).astype(np.uint8)
        names = [list(SPOTS)[i % 3]] + (["leaf"] if i % 6 == 0 else [])
        for name in names:
            top, left = (int(v) for v in draw.integers(0, 16, 2))
            tall, wide = (int(v) for v in draw.integers(6, 16, 2))
            pixels[top : top + tall, left : left + wide] = draw.integers(0, 60, 3)
            pixels[top : top + tall, left : left + wide, SPOTS[name]] = draw.integers(150, 255)
            annotations.append(
                {"image_id": i, "category_id": SPOTS[name], "bbox": [left, top, wide, tall], "iscrowd": 0}
            )
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
    named = [{"id": k, "name": name} for name, k in SPOTS.items()]
    listing = {"images": images, "annotations": annotations, "categories": named}
    (tmp_path / "spots.json").write_text(json.dumps(listing))
    return open_dataset(f"coco:{tmp_path / 'spots.json'}?images={tmp_path / 'photos'}")


SHUFFLES = 20
ASKED = Dissecting(("see",), quantile=0.05, rows=16, shuffles=SHUFFLES, resamples=50, examples=3)


def by_hand(data: Dataset, quantile: float, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Thresholds, IoU `(channels, concepts)`, and the largest IoU a shuffle `(shuffles, channels)`."""
    m, concepts = model(), sorted(SPOTS)
    photos: dict[str, tuple[Tensor, dict[str, Tensor]]] = {}
    for i in range(len(data)):
        sample, category = data.load(i), data.category(i)
        assert sample.truth is not None
        assert category is not None
        full = torch.from_numpy(np.array(sample.truth) > 0)
        step = 32 // rows
        mask = full[step // 2 :: step, step // 2 :: step]  # the pixel below each centre
        with torch.no_grad():
            grid = m.answer(m.prepare(sample.image).tensor, ["see"]).activations["see"][0]
        photos.setdefault(data.name(i).split(" ")[0], (grid.half().double(), {}))[1][category.name] = mask
    grids = torch.stack([g for g, _ in photos.values()])
    thresholds = sorted_quantile(grids.movedim(1, 0).flatten(1), quantile)
    # Bilinear by hand: each axis a matrix of weights of the two nearest centres.
    weights = torch.zeros(rows, 8, dtype=torch.float64)
    for r in range(rows):
        at = min(max((r + 0.5) * 8 / rows - 0.5, 0), 7)
        low = int(at)
        weights[r, low] += 1 - (at - low)
        weights[r, min(low + 1, 7)] += at - low
    places = [weights @ g @ weights.T > thresholds[:, None, None] for g in grids]
    nothing = torch.zeros(rows, rows, dtype=torch.bool)
    masks = [[there.get(name, nothing) for name in concepts] for _, there in photos.values()]

    def iou(order: list[int]) -> Tensor:
        table = torch.zeros(5, 3, dtype=torch.float64)
        for c in range(5):
            for k in range(3):
                both = sum(int((p[c] & masks[j][k]).sum()) for p, j in zip(places, order, strict=True))
                either = sum(int((p[c] | masks[j][k]).sum()) for p, j in zip(places, order, strict=True))
                size = sum(int(p[c].sum()) for p in places) + sum(int(m[k].sum()) for m in masks)
                assert both + either == size
                table[c, k] = both / either
        return table

    shuffles = [iou(order).amax(1) for order in permutations(0, SHUFFLES, len(photos)).tolist()]
    return thresholds, iou(list(range(len(photos)))), torch.stack(shuffles)


def agrees(data: Dataset) -> Dissection:
    found = dissect(model(), data, ASKED)
    thresholds, iou, chance = by_hand(data, 0.05, 16)
    torch.testing.assert_close(found.thresholds["see"].double(), thresholds)
    torch.testing.assert_close(found.tables["see"].double(), iou, rtol=1e-5, atol=1e-7)
    for unit in found.units:
        largest = iou[unit.channel].max()
        assert sorted(SPOTS)[int(iou[unit.channel].argmax())] == unit.concept
        assert unit.iou == pytest.approx(float(largest))
        by_chance = chance[:, unit.channel]
        assert unit.chance == pytest.approx(float(by_chance.mean()))
        assert unit.p == pytest.approx((1 + int((by_chance >= largest).sum())) / (1 + SHUFFLES))
    return found


def test_agreements_are_those_of_a_plain_loop(data: Dataset) -> None:
    found = agrees(data)
    assert len(found.photos) == 40
    assert sum(found.concepts.values()) == len(data)
    assert found.failures == ()


@pytest.mark.parametrize("bug", ["corners", "threshold", "cells"])
def test_that_check_notices(data: Dataset, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    if bug == "corners":  # cells taken to lie on the input's border
        monkeypatch.setattr(
            module,
            "resize",
            lambda maps, size: nn.functional.interpolate(
                maps[:, None], size=tuple(size), mode="bilinear", align_corners=True
            )[:, 0],
        )
    elif bug == "threshold":
        monkeypatch.setattr(module, "upper_quantiles", lambda f, d, q, *a: upper_quantiles(f, d, 1.1 * q, *a))
    else:  # on where the cell is, without interpolation
        monkeypatch.setattr(
            module,
            "resize",
            lambda maps, size: nn.functional.interpolate(maps[:, None], size=tuple(size))[:, 0],
        )
    with pytest.raises(AssertionError):
        agrees(data)


def test_channels_that_detect_bear_their_concept(data: Dataset) -> None:
    found = dissect(model(), data, ASKED)
    red, green, blue, mixture, dead = found.units
    assert [u.concept for u in (red, green, blue)] == ["cherry", "leaf", "sky"]
    for unit in (red, green, blue):
        assert unit.detector
        assert unit.chance < unit.low < unit.iou < unit.high
        assert unit.stable == 1
    assert mixture.iou < min(red.iou, green.iou, blue.iou)
    assert (dead.iou, dead.high, dead.chance, dead.p, dead.on, dead.detector) == (0, 0, 0, 1, 0, False)
    assert 0 < red.on < 0.1
    assert found.counts("see")["cherry"] == 1
    assert found.summary("see").endswith("detect 3 of 3 concepts; 1 never on")
    strict = dissect(model(), data, Dissecting(("see",), 0.05, 0.9, 16, 20, 20))
    assert strict.detectors() == []


def test_masks_of_other_photos_make_no_detector(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The places stay, the photos they belong to change: agreement falls to what chance says."""
    right = module.annotate

    def shuffled(*args: object) -> object:
        photos = right(*args)
        photos._masks = photos._masks[7:] + photos._masks[:7]
        return photos

    before = dissect(model(), data, ASKED)
    monkeypatch.setattr(module, "annotate", shuffled)
    after = dissect(model(), data, ASKED)
    assert max(u.iou for u in after.units) < 0.5 * min(u.iou for u in before.units[:3])
    assert after.detectors() == []
    assert len(before.detectors()) == 4


def test_channels_of_noise_pass_the_test_at_the_rate_told(data: Dataset, tmp_path: Path) -> None:
    """Smooth noise in place of what the layer put out, 300 channels: about one in twenty has p < 0.05."""
    store = FeatureStore(tmp_path / "store")
    m, settings = model(), Dissecting(("see",), 0.05, 0.0, 16, resamples=20)
    grid = grid_of(m, "see", (3, 32, 32))
    photos = module.annotate(m, data, {"see": (store.layer(m, "see"), grid)}, 16, Execution())
    noise = torch.randn(40, 300, 3, 3, generator=torch.Generator().manual_seed(2))
    smooth = nn.functional.interpolate(noise, (8, 8), mode="bilinear")
    features = Features(tmp_path)
    features.add(photos.digests, smooth)
    units, *_ = module._dissected("see", features, photos, settings, Execution())
    assert sum(u.detector for u in units) / 300 == pytest.approx(0.05, abs=0.035)
    assert [u.p for u in units if u.detector] == [1 / 40] * sum(u.detector for u in units)


def test_intervals_are_those_of_drawn_photos(data: Dataset) -> None:
    """Drawing by hand: repeat photos as often as they are drawn, count again."""
    found = dissect(model(), data, ASKED, Execution(seed=5))
    m = model()
    photos: dict[str, tuple[Tensor, Tensor]] = {}
    limit = found.thresholds["see"][0]
    for i in range(len(data)):
        sample, category = data.load(i), data.category(i)
        assert sample.truth is not None
        assert category is not None
        with torch.no_grad():
            grid = m.answer(m.prepare(sample.image).tensor, ["see"]).activations["see"][:, :1].half().float()
        on = nn.functional.interpolate(grid, (16, 16), mode="bilinear")[0, 0] > limit
        mask = torch.from_numpy(np.array(sample.truth) > 0)[1::2, 1::2]
        key = data.name(i).split(" ")[0]
        old = photos.get(key, (on, torch.zeros(16, 16, dtype=torch.bool)))
        photos[key] = (on, old[1] | mask if category.name == "cherry" else old[1])
    values = []
    for row in resamples(5, 50, 40).long():
        drawn = [pair for pair, n in zip(photos.values(), row.tolist(), strict=True) for _ in range(n)]
        both = sum(int((on & mask).sum()) for on, mask in drawn)
        values.append(both / sum(int((on | mask).sum()) for on, mask in drawn))
    low, high = np.quantile(values, [0.025, 0.975])
    assert (found.units[0].low, found.units[0].high) == (pytest.approx(low), pytest.approx(high))


# -- how it runs ---------------------------------------------------------------------------------------------


def test_a_store_saves_the_passes_and_changes_nothing(data: Dataset, tmp_path: Path) -> None:
    m, store = model(), FeatureStore(tmp_path / "store")
    calls = []
    m.module.register_forward_hook(lambda *_: calls.append(1))
    first = dissect(m, data, ASKED, Execution(batch_size=7), store=store)
    assert len(store.layer(m, "see")) == 40
    calls.clear()
    again = dissect(m, data, ASKED, Execution(batch_size=3), store=store)
    assert not calls
    alone = dissect(m, data, ASKED)
    assert first.units == again.units == alone.units
    assert torch.equal(first.tables["see"], alone.tables["see"])


def test_a_stopped_run_goes_on(data: Dataset, tmp_path: Path) -> None:
    m, store, seen = model(), FeatureStore(tmp_path / "store"), []

    def stop() -> bool:
        seen.append(1)
        return len(seen) > 20

    with pytest.raises(Cancelled):
        dissect(m, data, ASKED, Execution(batch_size=4, cancelled=stop), store=store)
    before = len(store.layer(m, "see"))
    assert 0 < before < 40
    assert dissect(m, data, ASKED, store=store).units == dissect(m, data, ASKED).units


def test_results_save_and_show_themselves(data: Dataset, tmp_path: Path) -> None:
    m = model()
    found = dissect(m, data, ASKED)
    found.save(tmp_path / "found")
    tensors, notes = open_record(tmp_path / "found", "dissection")
    assert torch.equal(tensors["iou/see"], found.tables["see"])
    assert notes["units"] == found.to_rows()
    chapters = found.chapters(m, data, [found.units[0], found.units[4]], count=2)
    assert [len(c.strips[0].tiles) for c in chapters] == [2, 0]
    assert chapters[0].title == "cherry: see, channel 0"
    assert "No detector" in chapters[1].note
    shown = np.asarray(chapters[0].strips[0].tiles[0].picture, dtype=float)
    seen = shown[shown.min(2) < 100]  # what is not faint is the red rectangle
    assert seen[:, 0].mean() > 2 * seen[:, 1].mean()
    assert found.picture(m, data, found.detectors()).size[0] > 300


def test_damaged_photos_cost_themselves(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "photos" / "5.png").write_bytes(b"no")
    found = dissect(model(), data, ASKED)
    assert len(found.photos) == 39
    assert len(found.failures) == 1
    assert "5.png" in found.failures[0]


def refusals(data: Dataset, photos: Path) -> list[tuple[Callable[[], object], str]]:
    return [
        (lambda: Dissecting(quantile=0.0), "Give a quantile"),
        (lambda: Dissecting(threshold=1.0), "Give a quantile"),
        (lambda: Dissecting(resamples=3), "Give a quantile"),
        (lambda: Dissecting(()), "Give a quantile"),
        (lambda: dissect(model(), open_dataset(str(photos))), "do not say where concepts are"),
    ]


def test_what_cannot_be_dissected_is_refused(data: Dataset, tmp_path: Path) -> None:
    for call, message in refusals(data, tmp_path / "photos"):
        with pytest.raises(BadInput, match=message):
            call()
    with pytest.raises(DoesNotFit):
        dissect(model(), data, Dissecting(("head",)))
    for path in (tmp_path / "photos").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(BadInput, match="None can be used"):
        dissect(model(), data, ASKED)


def test_rasters_keep_the_proportions() -> None:
    assert raster_of((224, 224), 112) == (112, 112)
    assert raster_of((100, 300), 50) == (50, 150)
    assert raster_of((20, 10), 112) == (20, 10)
