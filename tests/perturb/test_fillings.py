"""Operators that look at what is left, against independent references."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

import networks
from seewhy.errors import BadInput, DoesNotFit, MissingExtra
from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.methods.masking.rise import RISE
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.edits import compose
from seewhy.perturb.harmonic import harmonic
from seewhy.perturb.infill import register_infill
from seewhy.perturb.operators import OPERATORS, MaskOperator, operator
from seewhy.perturb.pyramid import blur_levels, mixed
from seewhy.question import Question, ask


def question(x: Tensor, preprocess: Preprocessing | None = None) -> Question:
    net = networks.cnn3d() if x.ndim == 5 else networks.cnn()
    return ask(Model(net.eval(), preprocess=preprocess), x, 0, Execution(), "probability")


def holes(size: tuple[int, ...], n: int = 2) -> Tensor:
    """Smooth random regions, about half hidden."""
    noise = networks.batch((1, *size), n=n, seed=3)[:, 0]
    return noise < 0


def solved(x: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Laplace's equation in the hidden region, as one sparse system."""
    number = -np.ones(x.shape, dtype=int)
    number[hidden] = np.arange(hidden.sum())
    rows, columns, values, right = [], [], [], np.zeros(hidden.sum())
    for place in zip(*np.nonzero(hidden), strict=True):
        i, neighbours = number[place], 0
        for axis in range(x.ndim):
            for step in (-1, 1):
                near = list(place)
                near[axis] += step
                if not 0 <= near[axis] < x.shape[axis]:
                    continue
                neighbours += 1
                if hidden[tuple(near)]:
                    rows.append(i), columns.append(number[tuple(near)]), values.append(-1.0)
                else:
                    right[i] += x[tuple(near)]
        rows.append(i), columns.append(i), values.append(float(neighbours))
    out = x.copy()
    out[hidden] = spsolve(sparse.csc_matrix((values, (rows, columns))), right)
    return out


@pytest.mark.parametrize("size", [(17, 24), (5, 8, 9)])
def test_harmonic_solves_laplace(size: tuple[int, ...]) -> None:
    x, hidden = networks.batch((3, *size)), holes(size)
    found = harmonic(x, hidden)
    for i in range(2):
        for c in range(3):
            wanted = solved(x[i, c].double().numpy(), hidden[i].numpy())
            assert float((found[i, c] - torch.from_numpy(wanted)).abs().max()) < 1e-5


def test_harmonic_continues_a_plane_and_a_large_hole_converges() -> None:
    rows, columns = torch.meshgrid(torch.arange(120.0), torch.arange(90.0), indexing="ij")
    plane = (0.02 * rows - 0.03 * columns + 1)[None, None]
    hidden = torch.zeros(1, 120, 90, dtype=torch.bool)
    hidden[:, 10:110, 10:80] = True
    assert float((harmonic(plane, hidden) - plane).abs().max()) < 1e-5
    assert float(harmonic(plane, torch.ones_like(hidden)).abs().max()) == 0
    assert torch.equal(
        harmonic(plane, ~hidden | hidden & False)[0, 0, 10:110, 10:80], plane[0, 0, 10:110, 10:80]
    )


def test_local_mean() -> None:
    x = networks.batch((2, 20, 31))
    padded = ndimage.uniform_filter(
        np.pad(x.double().numpy(), [(0, 0), (0, 0), (9, 9), (9, 9)]), [0, 0, 5, 5]
    )
    inside = ndimage.uniform_filter(np.pad(np.ones((20, 31)), 9), 5)
    wanted = (padded / np.maximum(inside, 1e-9))[..., 9:-9, 9:-9]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 20 * 31, 3))
    found = operator("local-mean:29").fill(ask(Model(net.eval()), x, 0, Execution(), "logit"))
    assert found is not None
    assert float((found - torch.from_numpy(wanted)).abs().max()) < 1e-5


def test_the_pyramid_is_a_gather_between_two_blurs() -> None:
    x = networks.batch((3, 20, 24)).double()
    levels = blur_levels(x, 3.0)
    for level in range(7):
        sigma = 3 * (1 - level / 7)
        wanted = ndimage.gaussian_filter(
            x.numpy(), [0, 0, sigma, sigma], mode="constant", radius=[0, 0, *[int(np.ceil(4 * sigma))] * 2]
        )
        assert float((levels[level] - torch.from_numpy(wanted)).abs().max()) < 1e-12
    assert torch.equal(levels[7], x)
    keep = torch.rand(4, 1, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keep[:, :, 0], keep[:, :, 1], keep[:, :, 2] = 0, 1, 3 / 7
    rows = torch.tensor([0, 1, 1, 0])
    found = mixed(levels, keep.requires_grad_(), rows)
    at = (keep.detach().numpy()[:, 0] * 7).clip(0, 7)
    low = np.minimum(np.floor(at).astype(int), 6)
    k, y, z = np.indices(low.shape)
    stack = levels.numpy()[:, rows.numpy()]
    below, above = stack[low, k, :, y, z], stack[low + 1, k, :, y, z]
    wanted = below + (at - low)[..., None] * (above - below)
    assert float((found.detach() - torch.from_numpy(wanted).movedim(-1, 1)).abs().max()) < 1e-12
    (slope,) = torch.autograd.grad(found.sum(), keep)
    assert float((slope[:, 0] - torch.from_numpy(7 * (above - below).sum(-1))).abs().max()) < 1e-9


def test_the_pyramid_as_an_operator_gives_its_picture() -> None:
    x = networks.batch((3, 16, 20), n=2)
    keep = torch.rand(2, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    keep[:, :, :3], keep[:, :, 3:6] = 1, 0
    found = compose(x, keep, operator("blur-pyramid:25").behind(question(x)))
    wanted = mixed(blur_levels(x, 4.0), keep, torch.arange(2))
    assert float((found - wanted).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["telea", "navier-stokes"])
def test_inpainting_continues_what_is_around(name: str) -> None:
    pytest.importorskip("cv2")
    x = networks.batch((3, 16, 20), n=3)
    x[:, 0] = torch.linspace(-1, 1, 20)
    hidden = torch.zeros(3, 16, 20, dtype=torch.bool)
    hidden[:2, 5:9, 8:12] = True
    hidden[2] = True
    behind = operator(name).behind(question(x))
    assert not isinstance(behind, Tensor)
    assert behind is not None
    found = behind(x, (~hidden).float()[:, None], torch.arange(3))
    assert float((found - x)[:2, :, 0].abs().max()) < 1e-5
    assert float((found - x)[:2, 0].abs().max()) < 0.2
    assert float(found[2].abs().max()) == 0
    alone = behind(x[1:2], (~hidden).float()[1:2, None], torch.tensor([1]))
    assert torch.equal(alone[0], found[1])


def test_inpainting_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match="opencv"):
        operator("telea").behind(question(networks.batch((3, 16, 16))))


LOOKING = [name for name in OPERATORS.names() if issubclass(OPERATORS[name], MaskOperator)]


@pytest.mark.parametrize("name", LOOKING)
def test_operators_that_look_at_the_mask(name: str) -> None:
    if name in ("telea", "navier-stokes"):
        pytest.importorskip("cv2")
    x = networks.batch((3, 16, 16), n=2)
    with pytest.raises(DoesNotFit, match="needs no mask"):
        operator(name).fill(question(x))
    for method in (Occlusion(window=6, stride=4, operator=name), RISE(masks=12, operator=name)):
        whole = method(Model(networks.cnn().eval()), x, 1).values
        alone = method(Model(networks.cnn().eval()), x[1:], 1, Execution(batch_size=3)).values
        assert float((whole[1:] - alone).abs().max()) < 1e-6
        assert float(whole.std()) > 0
    clip = networks.batch((3, 8, 16, 16), n=1)
    assert float(Occlusion(window=8, operator=name)(Model(networks.cnn3d().eval()), clip, 1).values.std()) > 0


def test_a_function_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPERATORS, "_entries", dict(OPERATORS._entries))  # the registry is for the whole run
    preprocess = Preprocessing(size=(16, 16))
    x, seen = preprocess.normalised(200).reshape(1, 3, 1, 1).repeat(2, 1, 16, 16), []

    def white(pixels: Tensor, keep: Tensor) -> Tensor:
        seen.append((pixels, keep))
        return torch.ones_like(pixels)

    register_infill("test-white", white, pixels=True)
    keep = torch.full((2, 1, 16, 16), 0.25)
    found = compose(x, keep, operator("test-white").behind(question(x, preprocess)))
    assert preprocess.display(found[0]).unique().tolist() == [241]  # a quarter of 200, the rest 255
    assert torch.allclose(seen[0][0], torch.tensor(200 / 255))
    with pytest.raises(DoesNotFit, match="no preprocessing"):
        operator("test-white").behind(question(x))
    register_infill("test-wrong", lambda pixels, keep: pixels[:, :1])
    with pytest.raises(BadInput, match="Return the filled inputs"):
        compose(x, keep, operator("test-wrong").behind(question(x)))
    for name in ("test-white", "mean", "a:b"):
        with pytest.raises(BadInput, match="operator named"):
            register_infill(name, white)


def test_no_gradient_flows_through_a_filler_but_through_the_composition() -> None:
    x = networks.batch((3, 16, 16), n=2)
    keep = torch.full((2, 1, 16, 16), 0.4, requires_grad=True)
    behind = operator("harmonic").behind(question(x))
    (slope,) = torch.autograd.grad(compose(x, keep, behind).sum(), keep)
    filled = behind(x, keep.detach(), torch.arange(2))  # type: ignore[operator, misc]
    assert float((slope - (x - filled).sum(1, keepdim=True)).abs().max()) < 1e-5
