"""Run lengths, polygons, boxes and grown regions, against slow decoders and peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from seewhy.errors import UnreadableInput
from seewhy.inputs.datasets.regions import box_region, grown, polygon_region
from seewhy.inputs.datasets.rle import counts_of, decode

Mask = NDArray[np.bool_]


def ellipse() -> Mask:
    y, x = np.mgrid[:60, :80]
    inside: Mask = ((y - 30) / 25) ** 2 + ((x - 40) / 30) ** 2 < 1
    return inside


def pieces(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros((height, width), dtype=np.bool_)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


PUBLISHED: list[tuple[str, Mask]] = [
    ("42102", pieces(3, 4, (1, 3, 1, 3))),
    ("0Pcj1Pcj1", pieces(300, 400, (0, 300, 0, 200))),
    ("0161M000002O", pieces(5, 6, (0, 1, 0, 1), (2, 4, 1, 5), (4, 5, 5, 6))),
    (
        "\\e0=]14L4L4M2N2M4N0O2N2N2O0O2N2O0O2O000O2O000O2O00000000000000000000000000000001N10001N10001N101N2"
        "N101N2N2N102L3N2N3L4L4LRb0",
        ellipse(),
    ),
]
"""Strings that pycocotools 2.0 wrote for these masks."""


def slowly(text: str, height: int, width: int, *, signed: bool = True, by_rows: bool = False) -> Mask:
    """Decode bit by bit and pixel by pixel."""
    counts: list[int] = []
    bits: list[int] = []
    for character in text:
        digit = [(ord(character) - 48) >> k & 1 for k in range(6)]
        bits += digit[:5]
        if digit[5]:
            continue
        number = sum(bit << k for k, bit in enumerate(bits))
        if signed and bits[-1]:
            number -= 1 << len(bits)
        counts.append(number + (counts[-2] if len(counts) >= 3 else 0))
        bits = []
    mask, at, on = np.zeros((height, width), dtype=np.bool_), 0, False
    for count in counts:
        for _ in range(max(count, 0)):
            if at < height * width:
                mask[(at // width, at % width) if by_rows else (at % height, at // height)] = on
            at += 1
        on = not on
    return mask


def encode(mask: Mask) -> str:
    """Write a mask as the format has it."""
    runs, on, run = [], False, 0
    for pixel in mask.T.ravel():
        if bool(pixel) != on:
            runs.append(run)
            on, run = bool(pixel), 0
        run += 1
    runs.append(run)
    text = ""
    for k, count in enumerate(runs):
        number = count - runs[k - 2] if k > 2 else count
        while True:
            digit, number = number & 31, number >> 5
            done = number == (-1 if digit & 16 else 0)
            text += chr(48 + (digit if done else digit | 32))
            if done:
                break
    return text


@pytest.mark.parametrize(("text", "mask"), PUBLISHED, ids=range(len(PUBLISHED)))
def test_compressed_strings_of_the_reference_tool(text: str, mask: Mask) -> None:
    assert (decode(text, *mask.shape, "Asked") == mask).all()
    assert (slowly(text, *mask.shape) == mask).all()
    assert encode(mask) == text


def test_slips_in_decoding_would_be_seen() -> None:
    text, mask = PUBLISHED[3]
    assert (slowly(text, *mask.shape, signed=False) != mask).any()
    assert (slowly(text, *mask.shape, by_rows=True) != mask).any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_any_mask_comes_back(height: int, width: int, seed: int, share: float) -> None:
    coarse = np.random.default_rng(seed).random((height, width)) < share
    for mask in (coarse, np.kron(coarse, np.ones((9, 5), dtype=np.bool_))):
        assert (decode(encode(mask), *mask.shape, "Asked") == mask).all()
        assert (decode(counts_of(encode(mask), "Asked"), *mask.shape, "Asked") == mask).all()


@pytest.mark.parametrize("counts", ["42", "4210", "p", "oooooooooo", "ä", [4, 9], [14, -2]])
def test_wrong_run_lengths_are_told(counts: Any) -> None:
    with pytest.raises(UnreadableInput, match=r"^Asked\. Its run lengths"):
        decode(counts, 3, 4, "Asked")


def test_uncompressed_counts_by_hand() -> None:
    assert decode([4, 2, 1, 2, 3], 3, 4, "").astype(int).tolist() == [[0] * 4, [0, 1, 1, 0], [0, 1, 1, 0]]


def star(seed: int, corners: int, height: int, width: int) -> list[float]:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.random(corners)) * 2 * np.pi
    radius = rng.uniform(0.1, 0.7, corners)  # some reach beyond the photo
    return (
        np.stack(
            [width / 2 + np.cos(angle) * radius * width, height / 2 + np.sin(angle) * radius * height], 1
        )
        .ravel()
        .tolist()
    )


@pytest.mark.parametrize("seed", range(20))
def test_polygons_hold_the_centres_inside_them(seed: int) -> None:
    height, width = 37, 53
    corners = star(seed, 3 + seed, height, width)
    y, x = np.mgrid[:height, :width]
    outline = Outline(np.reshape([*corners, *corners[:2]], (-1, 2)), closed=True)
    expected = outline.contains_points(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1))
    found = polygon_region(corners, height, width)
    assert (found == expected.reshape(height, width)).all()
    assert found.any()
    # A planted bug: corners taken as if pixels began at their centre.
    assert (polygon_region([c + 0.5 for c in corners], height, width) != found).any()


def test_a_polygon_on_whole_pixels_by_hand() -> None:
    assert (polygon_region([1, 2, 4, 2, 4, 5, 1, 5], 7, 6) == pieces(7, 6, (2, 5, 1, 4))).all()


def test_boxes_hold_the_pixels_that_they_touch() -> None:
    assert (box_region((1, 2, 4, 5), 7, 6) == pieces(7, 6, (2, 5, 1, 4))).all()
    assert (box_region((1.9, 2.1, 3.1, 4.0), 7, 6) == pieces(7, 6, (2, 4, 1, 4))).all()
    assert (box_region((-3, -2, 2.5, 99), 7, 6) == pieces(7, 6, (0, 7, 0, 3))).all()
    assert not box_region((8, 8, 9, 9), 7, 6).any()
    assert not box_region((-5, 0, -1, 7), 7, 6).any()


@pytest.mark.parametrize("distance", [0, 0.5, 1, 1.5, 2, 5, 15, 40.3])
@pytest.mark.parametrize("seed", range(3))
def test_grown_regions_are_those_of_a_distance_transform(distance: float, seed: int) -> None:
    region = np.random.default_rng(seed).random((31, 44)) < 0.003
    region[3 * seed, 5] = True
    expected = region | (distance_transform_edt(~region) < distance)
    assert (grown(region, distance) == expected).all()
    if distance == 5:  # strictly nearer: a planted `<=` differs
        assert (grown(region, np.nextafter(5, 6)) != expected).any()
