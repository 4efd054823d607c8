"""Contact sheets and heat tables: shared scales, shapes, refusals."""

import numpy as np
import pytest

from seewhy.errors import BadInput
from seewhy.show import Panel, Row, contact_sheet, heat_table, sheet
from seewhy.show.colour import DIVERGING, table

PHOTO = np.full((50, 80, 3), 90, np.uint8)
WEAK, STRONG = np.linspace(0, 0.1, 4000).reshape(50, 80), np.linspace(0, 1, 4000).reshape(50, 80)


def rows():
    return [
        Row("weak", PHOTO, [Panel(WEAK, False), Panel(-WEAK, True)]),
        Row("strong", PHOTO, [Panel(STRONG, False), None]),
    ]


def test_scales_are_shared_as_asked():
    own, column, everything = (sheet._scales(rows(), share) for share in ("panel", "column", "all"))
    assert own[0][0].high == pytest.approx(0.0995, rel=1e-3)
    assert column[0][0] == column[1][0]
    assert column[0][0].high > 0.9
    assert column[0][1].high == own[0][1].high
    assert everything[0][0] == everything[0][1] == everything[1][0]
    assert everything[0][0].signed
    assert own[1][1] is column[1][1] is everything[1][1] is None


@pytest.mark.parametrize("share", ["panel", "column", "all"])
def test_sheet_has_a_cell_for_each_map(share):
    picture = contact_sheet(
        rows(), ["a method with a very long name indeed", "b"], share=share, cell=100, title="T"
    )
    assert picture.width == 3 * 100 + 2 * 14 + 2 * 18
    assert picture.mode == "RGB"


def test_weak_map_looks_weak_on_a_shared_scale_only():
    def darkest_change(share):
        picture = np.asarray(contact_sheet(rows(), ["a", "b"], share=share, cell=96)).astype(int)
        cell = picture[60:110, 18 + 96 + 14 + 60 : 18 + 96 + 14 + 90]
        return np.abs(cell - 90).max()

    assert darkest_change("column") < darkest_change("panel") / 2


def test_refuses_a_ragged_table():
    with pytest.raises(BadInput, match="one map, or None, for each column"):
        contact_sheet([Row("x", PHOTO, [])], ["a"])
    with pytest.raises(BadInput, match="column"):
        contact_sheet(rows(), ["a", "b"], share="rows")
    with pytest.raises(BadInput, match="contact sheet"):
        contact_sheet([], [])
    with pytest.raises(BadInput, match="clip"):
        contact_sheet([Row("x", PHOTO[None], [])], [])


def test_heat_table_paints_each_number():
    picture = heat_table(["a", "b"], np.array([[1.0, -1.0], [np.nan, 0.0]]), title="t", caption="c")
    colours = {tuple(c) for c in np.asarray(picture).reshape(-1, 3).tolist()}
    ends = table(DIVERGING)
    assert {tuple(ends[255].tolist()), tuple(ends[1].tolist()), tuple(ends[128].tolist())} <= colours
    with pytest.raises(BadInput, match="square"):
        heat_table(["a"], np.eye(2))


def test_a_wide_table_goes_on_below() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    panels = [Panel(np.full((32, 32), i / 7.0), signed=False) for i in range(7)]
    row, names = [Row("photo", pixels, panels)], [f"m{i}" for i in range(7)]
    wide, wrapped = contact_sheet(row, names), contact_sheet(row, names, wrap=3)
    assert wrapped.width < wide.width
    assert wrapped.height > 2 * wide.height
    assert contact_sheet(row, names, wrap=7).size == wide.size
