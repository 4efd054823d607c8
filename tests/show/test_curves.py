"""The plot as SVG: well-formed, labelled, every point inside its frame."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import BadInput
from seewhy.show import Curve, plot
from seewhy.show.curves import COLOURS, _step
from seewhy.show.lettering import contrast

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)


@given(NUMBERS, st.booleans())
def test_every_point_is_inside(values, baseline):
    at = [i / max(1, len(values) - 1) for i in range(len(values))]
    text = plot([Curve("a", at, values, baseline=baseline)], title="t", across="x", up="y", size=(400, 300))
    (line,) = ElementTree.fromstring(text).iter(f"{SVG}polyline")
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    assert all(0 <= x <= 400 and 0 <= y <= 300 for x, y in points)


def test_baselines_bands_legend_and_names_are_there():
    curves = [
        Curve("random", [0, 1], [1, 0.5], baseline=True, note="0.7"),
        Curve("a <b>", [0, 1], [1, 0], [0.9, 0], [1, 0.2], note="0.3"),
    ]
    root = ElementTree.fromstring(plot(curves, title='x "y" & z', across="fraction", up="p"))
    text = [t.text for t in root.iter(f"{SVG}text")]
    assert "a <b> (0.3)" in text
    assert "random (0.7)" in text
    assert text.index("a <b> (0.3)") > 0
    assert {"fraction", "p", 'x "y" & z'} <= set(text)
    assert len(list(root.iter(f"{SVG}polygon"))) == 1
    assert root.attrib["aria-label"].startswith('x "y" & z: a <b> from 1 to 0, 0.3; random from 1 to 0.5')


def test_higher_values_are_drawn_higher():
    root = ElementTree.fromstring(plot([Curve("a", [0, 1], [0.2, 0.9])], title="t", across="x", up="y"))
    (line,) = root.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1) = (tuple(map(float, p.split(","))) for p in line.attrib["points"].split())
    assert x1 > x0
    assert y1 < y0


def test_lines_can_be_seen_on_light_and_dark():
    for colour in COLOURS:
        rgb = tuple(int(c, 16) for c in re.findall("..", colour[1:]))
        assert contrast(rgb, (255, 255, 255)) >= 2.9
        assert contrast(rgb, (0x15, 0x17, 0x1B)) >= 2.9


@pytest.mark.parametrize(
    ("rough", "step"), [(0.2, 0.2), (0.21, 0.5), (0.051, 0.1), (3, 5), (70, 100), (1e-9, 1e-9)]
)
def test_steps_are_round(rough, step):
    assert _step(rough) == pytest.approx(step)


def test_refuses_curves_without_points():
    for curves in ([], [Curve("a", [0, 1], [1])], [Curve("a", [], [])]):
        with pytest.raises(BadInput, match="curve"):
            plot(curves, title="t", across="x", up="y")
