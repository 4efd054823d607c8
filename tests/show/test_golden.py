"""What Python and the page paint is the same, byte for byte: both are held against one committed file.

`python tests/show/test_golden.py` writes it again after a change of the drawing that is meant.
"""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np

from seewhy.show import Look, Scale, colour_maps, number, percent, text_twin
from seewhy.show.drawing import painted
from seewhy.show.packed import pack, unpack

GOLDEN = Path(__file__).parents[2] / "web" / "tests" / "golden.json"
SIDE = 24
MODES = ("alpha", "map", "mask", "contour")
NUMBERS = [0.0, -0.0, 1.0, -4.5, 0.0123, 1.2e-5, 12345.0, 999999.0, 1e6, 0.00012345, 1.125, -1.125, 1.135]
NUMBERS += [0.5, 2.5, 1234.5, 1235.5, 100.5, 101.5, 0.125, 0.375, 9.995, 99.95, 123456.5, 1e-300, 7e22, 0.1]
SHARES = [0.0, 0.0005, 0.001, 0.005, 0.01, 0.0125, 0.0995, 0.09949, 0.1, 0.105, 0.115, 0.4, 0.625, 1.0]


def maps():
    """Return maps of each kind by name, with their sign."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    hill = np.exp(-8 * ((x - 0.3) ** 2 + (y - 0.6) ** 2))
    waves = np.sin(6 * x) * np.cos(5 * y) + 0.1 * rng.standard_normal((SIDE, SIDE))
    holes = waves.copy()
    holes[3, 4:9], holes[10, 10], holes[11, 11] = np.nan, np.inf, -np.inf
    grain = rng.standard_normal((SIDE, SIDE)) ** 9
    point = np.zeros((SIDE, SIDE))
    point[5, 7] = 3.0
    return {
        "hill": (hill, False),
        "veil": (0.8 + 0.1 * hill, False),
        "noise": (rng.random((SIDE, SIDE)) * 40, False),
        "waves": (waves, True),
        "holes": (holes, True),
        "holes unsigned": (holes, False),
        "grain": (grain, True),
        "point": (point, False),
        "zero": (np.zeros((SIDE, SIDE)), True),
        "below zero": (-hill, False),
        "flat": (np.full((SIDE, SIDE), 2.0), False),
        "nothing": (np.full((SIDE, SIDE), np.nan), False),
    }


def looks():
    """Return ways to draw, as the page writes them."""
    for cmap in (None, *colour_maps()):
        for mode in MODES if cmap is None else ("alpha", "map", "contour"):
            yield {"mode": mode, "cmap": cmap}
    yield {"mode": "alpha", "opacity": 0.4, "grey": True}
    yield {"mode": "mask", "grey": True}
    yield {"mode": "alpha", "fade": 0.7}


def drawn(photo, values, scale, look):
    settled = Look(**look, upscale=1).settled(values, scale)
    return np.asarray(painted(photo, values, scale, settled)).tobytes()


def built():
    photo = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    cases = []
    for name, (values, signed) in maps().items():
        factor, data = pack(values)
        v = unpack(factor, data, values.shape)
        scale = Scale.of(v, signed)
        tight = Scale.of(v, signed, 0.9)
        cases.append(
            {
                "name": name,
                "signed": signed,
                "packed": {"shape": [SIDE, SIDE], "factor": factor, "data": _text(data)},
                "text": text_twin(v, signed),
                "scale": [scale.low, scale.high, scale.clipped, scale.missing],
                "tight": [tight.low, tight.high, tight.clipped, tight.missing],
                "remarks": scale.remarks(),
                "ticks": [label for _, label in scale.ticks()],
                "painted": [
                    hashlib.sha256(drawn(photo, v, scale, look)).hexdigest()[:16] for look in looks()
                ],
            }
        )
    return {
        "photo": _text(photo.tobytes()),
        "looks": list(looks()),
        "cases": cases,
        "numbers": [[n, number(n)] for n in NUMBERS],
        "shares": [[s, percent(s)] for s in SHARES],
    }


def _text(data):
    return base64.b64encode(data).decode()


def written(golden):
    return json.dumps(golden, ensure_ascii=False, indent=1) + "\n"


def test_python_draws_what_the_page_is_tested_against() -> None:
    assert json.loads(written(built())) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_a_changed_colour_would_be_seen() -> None:
    values, signed = maps()["hill"]
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    scale = Scale.of(values, signed)
    other = Scale(scale.low, scale.high * 1.02)
    assert drawn(photo, values, scale, {"mode": "map"}) != drawn(photo, values, other, {"mode": "map"})


def test_what_is_packed_comes_back() -> None:
    for values, _ in maps().values():
        factor, data = pack(values)
        back = unpack(factor, data, values.shape)
        finite = np.isfinite(values)
        np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
        np.testing.assert_array_equal(np.isinf(back), np.isinf(values))
        error = np.abs(back[finite] - values[finite])
        size = np.abs(values[finite])
        assert (error <= np.maximum(size * 2**-11, factor * 2**-25)).all()


if __name__ == "__main__":
    GOLDEN.write_text(written(built()), encoding="utf-8")
