"""Pictures: what is opaque where, and that every input has a drawing."""

import numpy as np
import pytest
from PIL import Image

from seewhy.errors import BadInput
from seewhy.show import Look, Scale, overlay
from seewhy.show.drawing import MODES, colour_bar, painted
from seewhy.show.lettering import INK, MUTED, PAPER, contrast, paragraph, plain, shorten, width, wrap

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SIGNED = RNG.normal(size=(40, 60))
PLAIN = Look(upscale=1)


def test_value_zero_shows_the_photo_untouched():
    values = SIGNED.copy()
    values[10:20, 10:20] = 0.0
    for signed, v in ((True, values), (False, np.abs(values))):
        picture = np.asarray(overlay(PHOTO, v, signed, look=PLAIN, bar=False))
        np.testing.assert_array_equal(picture[10:20, 10:20], PHOTO[10:20, 10:20])
        assert (picture != PHOTO).any()


def test_missing_values_show_the_photo_untouched():
    values = SIGNED.copy()
    values[0, :5] = np.nan
    picture = np.asarray(overlay(PHOTO, values, True, look=PLAIN, bar=False))
    np.testing.assert_array_equal(picture[0, :5], PHOTO[0, :5])


def _grows(blend) -> bool:
    """On black, the blend of one colour is the brighter the larger the value."""
    ramp = np.linspace(0, 1, 60)[None].repeat(40, 0)
    picture = np.asarray(blend(np.zeros_like(PHOTO), ramp)).astype(float).sum(-1)[0]
    distance = picture / np.maximum(1, picture.max())
    return bool((np.diff(distance) >= 0).all() and distance[0] == 0 and distance[30] < 0.6)


def test_opacity_grows_with_the_value():
    assert _grows(lambda p, v: overlay(p, v, False, look=Look(upscale=1, cmap="magma"), bar=False))


def test_planted_bug_a_flat_veil_does_not_grow():
    from seewhy.show import colourise

    assert not _grows(
        lambda p, v: (0.5 * p + 0.5 * colourise(v, Scale.of(v, False), "viridis")).astype(np.uint8)
    )


def test_map_mode_is_the_colour_table():
    from seewhy.show import colourise

    picture = overlay(PHOTO, SIGNED, True, look=Look(mode="map", upscale=1), bar=False)
    np.testing.assert_array_equal(np.asarray(picture), colourise(SIGNED, Scale.of(SIGNED, True)))


def test_mask_mode_is_grey_at_zero_and_the_photo_at_full_strength():
    values = np.zeros((40, 60))
    values[:20] = 1.0
    picture = np.asarray(overlay(PHOTO, values, False, look=Look(mode="mask", upscale=1), bar=False))
    np.testing.assert_array_equal(picture[:20], PHOTO[:20])
    assert (picture[20:] == 128).all()


def test_contours_run_where_the_levels_change_only():
    values = np.zeros((40, 60))
    values[10:30, 20:40] = 1.0
    picture = np.asarray(
        overlay(PHOTO, values, False, look=Look(mode="contour", upscale=1), bar=False)
    ).astype(int)
    coloured = picture.max(-1) - picture.min(-1) > 20
    assert coloured[8:12, 20:40].any()
    assert not coloured[16:24, 26:34].any()
    assert not coloured[:5].any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["zero", "constant", "nan", "negative", "huge", "tiny"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (3, 12, 9)])
def test_everything_has_a_drawing(mode, signed, kind, shape):
    fill = {"zero": 0.0, "constant": 2.0, "nan": np.nan, "negative": -1.0, "huge": 3e38, "tiny": 1e-45}[kind]
    values = np.full(shape, fill, np.float32)
    pixels = np.zeros((*shape, 1), np.uint8)
    picture = overlay(
        pixels, values, signed, look=Look(mode=mode, upscale=2), unit="score: logit", caption="a caption"
    )
    assert isinstance(picture, Image.Image)
    assert picture.mode == "RGB"


def test_small_inputs_are_enlarged_and_keep_their_cells():
    pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = overlay(pixels, np.zeros((8, 8)), False, bar=False)
    assert picture.size == (384, 384)
    np.testing.assert_array_equal(np.asarray(picture)[24::48, 24::48], pixels)
    np.testing.assert_array_equal(
        np.asarray(picture), np.asarray(picture)[::48, ::48].repeat(48, 0).repeat(48, 1)
    )
    smooth = overlay(pixels, np.zeros((8, 8)), False, look=Look(smooth=True), bar=False)
    assert np.unique(np.asarray(smooth)).size > np.unique(pixels).size / 2
    assert (np.asarray(smooth) != np.asarray(picture)).any()


def test_a_clip_is_a_strip_of_its_first_to_last_frames():
    clip = np.stack([np.full((20, 20, 3), 10 * t, np.uint8) for t in range(21)])
    picture = overlay(clip, np.zeros((21, 20, 20)), False, look=PLAIN, bar=False)
    colours = set(np.unique(np.asarray(picture)[-1]).tolist()) - {255}
    assert {0, 200} <= colours
    assert len(colours) == 8


@pytest.mark.parametrize(
    ("pixels", "values"),
    [
        (PHOTO, SIGNED[1:]),
        (PHOTO.astype(float), SIGNED),
        (PHOTO[..., 0], SIGNED),
        (PHOTO[:0], SIGNED[:0]),
    ],
)
def test_refuses_what_does_not_go_together(pixels, values):
    with pytest.raises(BadInput, match="uint8 pixels"):
        overlay(pixels, values, True)


@pytest.mark.parametrize(
    "look",
    [
        {"mode": "jet"},
        {"opacity": 1.5},
        {"upscale": 0},
        {"cmap": "jet"},
        {"fade": 0.0},
        {"fade": float("nan")},
    ],
)
def test_refuses_looks_that_do_not_exist(look):
    with pytest.raises(BadInput):
        Look(**look)


def test_bar_writes_what_was_clipped_and_fades_like_the_map():
    scale = Scale.of(np.abs(SIGNED), False)
    with_words, without = (
        colour_bar(s, 200, Look(), "score: logit") for s in (scale, Scale(0.0, scale.high))
    )
    assert with_words.size == without.size
    assert (np.asarray(with_words) != np.asarray(without)).any()
    bar = np.asarray(without)[5]
    assert np.abs(bar[1].astype(int) - PAPER).max() <= 2
    full = painted(np.full((1, 1, 3), 255, np.uint8), np.array([[scale.high]]), scale, PLAIN)
    assert np.abs(bar[-2].astype(int) - np.asarray(full)[0, 0]).max() <= 8


def test_text_is_dark_enough_on_paper():
    assert contrast(INK, PAPER) >= 4.5
    assert contrast(MUTED, PAPER) >= 4.5


@pytest.mark.parametrize("text", ["a" * 400, "several words " * 30, "één – 日本語\ttab\nline", "", "<b>"])
def test_text_never_runs_out_of_its_room(text):
    lines = wrap(text, 13, 150)
    assert all(width(line, 13) <= 150 for line in lines)
    assert len(lines) <= 6
    assert paragraph(text, 13, 150).size[0] == 150
    assert width(shorten(text, 13, 90), 13) <= 90


def test_letters_that_the_font_lacks_are_replaced():
    assert plain("Crème brûlée – 5 × 3") == "Creme brulee - 5 x 3"
    assert plain("日本") == "??"
