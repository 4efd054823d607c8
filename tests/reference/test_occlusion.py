"""Occlusion equals captum's, windows that hang over the edge and clips included."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.targets import Class


def _reference_captum_occlusion(
    net: nn.Module,
    x: Tensor,
    c: int,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    fill: float | Tensor = 0,
) -> Tensor:
    with torch.no_grad():
        maps = CaptumOcclusion(lambda batch: net(batch).softmax(1)).attribute(
            x,
            sliding_window_shapes=(x.shape[1], *window),
            strides=(x.shape[1], *stride),
            target=c,
            baselines=fill,
            perturbations_per_eval=4,
        )
    return maps[:, 0]  # all channels are hidden together and get the same value


IMAGES = [
    ((16, 16), (4, 4), (4, 4)),
    ((16, 16), (4, 4), (2, 2)),
    ((17, 22), (5, 4), (3, 3)),
    ((16, 16), (7, 3), (5, 2)),
    ((16, 16), (16, 16), (1, 1)),
    ((13, 16), (1, 16), (1, 5)),
]


@pytest.mark.parametrize(("size", "window", "stride"), IMAGES)
def test_equals_captum(size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    net, x = networks.cnn().eval(), networks.batch((3, *size), n=2)
    found = Occlusion(window=window, stride=stride)(Model(net), x, 1)
    wanted = _reference_captum_occlusion(net, x, 1, window, stride)
    assert float((found.values - wanted).abs().max()) <= 1e-5
    assert float(wanted.abs().max()) > 1e-3
    assert found.provenance["passes"]["forward"] == Occlusion(window=window, stride=stride).cost(size).forward


@pytest.mark.parametrize(("window", "stride"), [((2, 4, 4), (2, 4, 4)), ((3, 5, 7), (2, 3, 4))])
def test_equals_captum_on_clips(window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    net, x = networks.cnn3d().eval(), networks.batch((3, 7, 16, 18), n=2)
    found = Occlusion(window=window, stride=stride)(Model(net), x, 1)
    wanted = _reference_captum_occlusion(net, x, 1, window, stride)
    assert float((found.values - wanted).abs().max()) <= 1e-5


def test_equals_captum_behind_grey() -> None:
    preprocess = Preprocessing(size=(16, 16))
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=2)
    found = Occlusion(window=5, stride=3, operator="constant:127.5")(Model(net, preprocess=preprocess), x, 1)
    grey = preprocess.normalised(127.5).reshape(1, 3, 1, 1).expand_as(x)
    assert (
        float((found.values - _reference_captum_occlusion(net, x, 1, (5, 5), (3, 3), grey)).abs().max())
        <= 1e-5
    )


def test_a_wrong_stride_would_be_seen() -> None:
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=2)
    found = Occlusion(window=4, stride=4)(Model(net), x, 1).values
    assert float((found - _reference_captum_occlusion(net, x, 1, (4, 4), (3, 3))).abs().max()) > 1e-4


def test_the_native_grid_is_the_fall_of_each_window() -> None:
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=1)
    native = Occlusion(window=6, stride=4)(Model(net), x, Class(2, "logit")).native
    assert native.shape == (1, 4, 4)
    hidden = x.clone()
    hidden[..., 12:, 4:10] = 0  # row 3 hangs over the edge
    with torch.no_grad():
        assert float(native[0, 3, 1]) == pytest.approx(float((net(x) - net(hidden))[0, 2]), abs=1e-6)


def test_usual_windows() -> None:
    usual = Occlusion()
    assert usual.windows((224, 224)).window == (32, 32)
    assert usual.windows((224, 224)).counts == (13, 13)
    assert usual.windows((16, 224, 224)).window == (4, 32, 32)
    assert usual.windows((16, 224, 224)).counts == (4, 13, 13)
    assert usual.windows((5, 3)).counts == (5, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": 20}, "The input has 16 x 16"),
        ({"window": 4, "stride": 5}, "uncovered"),
        ({"window": (2, 4, 4)}, "one an axis"),
        ({"window": 0}, "at least 1"),
        ({"stride": (2, 0)}, "at least 1"),
    ],
)
def test_windows_that_do_not_fit(parameters: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Occlusion(**parameters)(Model(networks.cnn().eval()), networks.batch((3, 16, 16)), 1)
