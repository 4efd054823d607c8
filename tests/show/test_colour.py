"""Colour tables against matplotlib's, and scales against their definition."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seewhy.errors import UnknownName
from seewhy.show.colour import NO_VALUE, Scale, colour_maps, colourise, describe, table
from seewhy.show.lettering import contrast, ink_on

FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(width=32)
)


@pytest.mark.parametrize("name", ["viridis", "inferno", "magma", "cividis", "turbo"])
def test_sequential_table_is_matplotlibs(name):
    import matplotlib

    reference = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(table(name), reference)


def test_diverging_table_is_matplotlibs_resampled_about_its_middle():
    import matplotlib

    reference = matplotlib.colormaps["RdBu_r"].resampled(255)(np.arange(255), bytes=True)[:, :3]
    np.testing.assert_array_equal(table("blue-red")[1:], reference)
    np.testing.assert_array_equal(table("blue-red")[0], reference[0])


def test_no_default_is_jet_and_turbo_says_that_it_is_not_uniform():
    assert "jet" not in colour_maps()
    assert [n for n in colour_maps() if "not uniform" in describe(n)] == ["turbo"]
    with pytest.raises(UnknownName, match="viridis"):
        table("viridi")


@pytest.mark.parametrize("name", ["viridis", "inferno", "magma", "cividis"])
def test_uniform_tables_rise_in_lightness(name):
    linear = (table(name) / 255.0) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(linear) > -1e-3).all()
    turbo = (table("turbo") / 255.0) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(turbo) < -1e-3).any()  # the check can fail


def test_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        table("viridis")[0, 0] = 7


def test_unsigned_scale_runs_from_zero_to_the_quantile():
    values = np.arange(1000.0).reshape(20, 50)
    scale = Scale.of(values, signed=False)
    assert (scale.low, scale.centre) == (0.0, None)
    assert scale.high == pytest.approx(np.percentile(values, 99.5))
    assert scale.clipped == np.mean(values > scale.high) == 0.005


def test_signed_scale_is_symmetric_and_zero_is_exactly_neutral():
    values = np.random.default_rng(0).normal(1.0, 2.0, (40, 40))
    scale = Scale.of(values, signed=True)
    assert scale.low == -scale.high
    assert scale.high == pytest.approx(np.percentile(np.abs(values), 99.5))
    r, g, b = colourise(np.zeros((1, 1)), scale)[0, 0]
    assert r == g == b


def _symmetric(positions) -> bool:
    """Mirrored values lie at mirrored places around 128, for any map and any scale."""
    rng = np.random.default_rng(1)
    return all(
        (positions(v, s).astype(int) + positions(-v, s).astype(int) == 256).all()
        for v in (rng.normal(0, sd, (30, 30)) for sd in (1e-6, 1.0, 1e6))
        for s in [Scale.of(v, signed=True)]
    )


def test_positions_are_symmetric():
    assert _symmetric(lambda v, s: s.positions(v))


def test_planted_bug_min_max_scaling_is_not_symmetric():
    assert not _symmetric(lambda v, s: np.rint(255 * (v - v.min()) / (v.max() - v.min())).astype(np.uint8))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("values", "flat"),
    [
        (np.zeros((4, 4)), "zero everywhere"),
        (np.full((4, 4), np.nan), "no finite value"),
        (np.full((4, 4), 3.0), "the same value everywhere"),
        (np.zeros((0, 4)), "no finite value"),
    ],
)
def test_flat_maps_are_named(values, flat, signed):
    scale = Scale.of(values, signed)
    assert scale.flat == flat
    assert flat in scale.remarks()


def test_all_negative_unsigned_map_is_flat_and_all_clipped():
    scale = Scale.of(-np.ones((4, 4)), signed=False)
    assert scale.flat == "nothing above zero"
    assert scale.clipped == 1.0
    assert (scale.strength(-np.ones((4, 4))) == 0).all()


def test_a_map_of_few_points_keeps_them():
    values = np.zeros((100, 100))
    values[3, 4] = 2.0
    scale = Scale.of(values, signed=False)
    assert (scale.high, scale.clipped) == (2.0, 0.0)


def test_a_veil_starts_above_zero_and_says_so():
    values = np.random.default_rng(0).uniform(0.4, 0.5, (50, 50))
    scale = Scale.of(values, signed=False)
    assert 0.4 <= scale.low < 0.41
    assert "starts above 0" in scale.remarks()
    assert scale.strength(values).min() == 0
    assert Scale.of(values - 0.4, signed=False).low == 0


def test_missing_values_are_grey_counted_and_without_strength():
    values = np.array([[np.nan, np.inf], [-np.inf, 1.0]])
    scale = Scale.of(values, signed=True)
    assert scale.missing == 0.75
    assert "75 % without a number" in scale.remarks()
    np.testing.assert_array_equal(colourise(values, scale).reshape(4, 3)[:3], [NO_VALUE] * 3)
    np.testing.assert_array_equal(scale.strength(values), [[0, 0], [0, 1]])


@given(FLOATS, st.booleans())
def test_any_map_has_a_scale_without_warnings(values, signed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scale = Scale.of(values, signed)
        strength = scale.strength(values)
        colours = colourise(values, scale)
    assert ((strength >= 0) & (strength <= 1)).all()
    assert colours.shape == (*values.shape, 3)
    assert 0 <= scale.clipped <= 1
    assert 0 <= scale.missing <= 1


def test_ink_is_legible_on_every_colour_of_every_map():
    worst = min(contrast(ink_on(c), c) for n in colour_maps() for c in map(tuple, table(n).tolist()))
    assert worst >= 4.5
    assert min(contrast((255, 255, 255), c) for c in map(tuple, table("viridis").tolist())) < 4.5  # can fail


def test_contrast_is_the_standards():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.005)
