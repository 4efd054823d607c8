"""Numbers and maps in words."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.show import number, percent, text_twin


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1, "1"),
        (-4.5, "-4.5"),
        (0.01234, "0.0123"),
        (99.96, "100"),
        (12345.0, "12,300"),
        (1.234e-5, "1.23e-5"),
        (1.5e6, "1.5e6"),
        (math.nan, "no number"),
        (0.99999, "1"),
        (9.999e-5, "0.0001"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@given(st.floats(-1e307, 1e307))
def test_numbers_keep_three_digits(value):
    read = float(number(value).replace(",", ""))
    assert read == pytest.approx(value, rel=0.006, abs=0)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0 %"), (0.005, "0.5 %"), (1e-6, "< 0.1 %"), (0.412, "41 %"), (1, "100 %"), (0.0996, "10 %")],
)
def test_percent(fraction, text):
    assert percent(fraction) == text


def test_twin_names_peak_quarter_and_mass():
    values = np.zeros((160, 224))
    values[80, 112] = 5.0
    assert (
        text_twin(values, False)
        == "Peak at x 112, y 80 (bottom right quarter); 100 % of the mass in 10 % of the area."
    )
    values[:] = 1.0
    values[79, 111] = 1.1
    assert text_twin(values, False).startswith("Peak at x 111, y 79 (top left quarter); 10 % of the mass")


def test_twin_says_the_sign_frame_and_emptiness():
    values = np.zeros((3, 10, 10))
    values[2, 9, 0], values[0, 0, 0] = -3.0, 1.0
    assert text_twin(values, True) == (
        "Peak at frame 2, x 0, y 9 (bottom left quarter); 100 % of the mass in 10 % of the area; "
        "75 % of the mass is evidence against."
    )
    assert "empty" in text_twin(np.zeros((2, 2)), True)
    assert "empty" in text_twin(-np.ones((2, 2)), False)
    assert "flat" in text_twin(np.ones((2, 2)), False)
    assert "empty" in text_twin(np.full((2, 2), np.nan), False)
