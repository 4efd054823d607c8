"""Frequencies, colours, magnitudes and views of optimised images, against numpy, scipy and plain sums."""

from __future__ import annotations

from math import pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from seewhy.concepts import canvas, views
from seewhy.concepts.canvas import FourierCanvas, PhaseCanvas
from seewhy.concepts.fourier import (
    frequencies,
    from_independent,
    image_of,
    natural_scale,
    possible_phases,
    spectrum_of,
    to_independent,
)
from seewhy.concepts.photo_spectrum import measured, power_law
from seewhy.concepts.views import Crops, Transforms, turned, windows
from seewhy.errors import BadInput, Cancelled
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

SIZES = [(8, 8), (9, 7), (6, 11), (5, 12)]
"""Even and odd heights and widths."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- spectra -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_spectra_are_numpys_at_even_and_odd_widths(size: tuple[int, int]) -> None:
    h, w = size
    by_hand = [[sqrt(min(i, h - i) ** 2 / h**2 + j**2 / w**2) for j in range(w // 2 + 1)] for i in range(h)]
    assert np.allclose(frequencies(size), by_hand, atol=1e-7)
    scale = sqrt(h * w) / np.maximum(by_hand, 1 / max(h, w)) ** 1.5
    assert np.allclose(natural_scale(size, 1.5), scale, rtol=1e-6)
    z = torch.complex(noise(3, h, w // 2 + 1), noise(3, h, w // 2 + 1, seed=1))
    assert np.allclose(image_of(z, size), np.fft.irfft2(z.numpy(), s=size, axes=(1, 2)), atol=1e-6)
    image = noise(2, h, w)
    assert torch.allclose(image_of(spectrum_of(image), size), image, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_fourier_canvas_is_lucids_formula(size: tuple[int, int]) -> None:
    h, w = size
    written = FourierCanvas(3, size, decay=1.0)
    parameters = written.start(0, 2)
    z = parameters.double().numpy()
    f = np.sqrt(np.fft.fftfreq(h)[:, None] ** 2 + np.fft.rfftfreq(w)[None] ** 2)
    spectrum = (z[..., 0] + 1j * z[..., 1]) * sqrt(h * w) / np.maximum(f, 1 / max(h, w))
    colours = np.fft.irfft2(spectrum, s=size, axes=(2, 3)) / 4
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
    mixed = np.einsum("rc,nchw->nrhw", root / np.linalg.norm(root, axis=0).max(), colours)
    assert np.allclose(written.pixels(parameters), 1 / (1 + np.exp(-mixed)), atol=1e-5)


def test_first_spectra_are_small_normal_numbers_by_seed_and_image() -> None:
    written = FourierCanvas(3, (32, 33))
    one, three = written.start(5, 1), written.start(5, 3)
    assert torch.equal(one[0], three[0])
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(one, written.start(6, 1))
    assert float(three.std()) == pytest.approx(0.01, rel=0.05)


def test_colours_round_trip() -> None:
    pixels = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).clamp(0.01, 0.99)
    assert torch.allclose(from_independent(to_independent(pixels)), pixels, atol=1e-5)
    grey = pixels[:, :1]
    assert torch.allclose(to_independent(grey), grey.logit())
    assert torch.allclose(from_independent(grey), grey.sigmoid())
    assert bool(to_independent(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)).isfinite().all())


# -- magnitudes ----------------------------------------------------------------------------------------------


def held(size: tuple[int, int]) -> float:
    """Return by how much magnitudes are missed, as a part of the largest."""
    law = power_law(3, size)
    written = PhaseCanvas(law.magnitudes, size)
    colours = written.colours(written.start(0, 2)).double()
    found = np.abs(np.fft.rfft2(colours.numpy(), axes=(2, 3)))
    return float(np.abs(found - law.magnitudes.numpy()).max() / law.magnitudes.max())


@pytest.mark.parametrize("size", SIZES)
def test_magnitudes_are_held_whatever_the_phases(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert held(size) < 1e-5
    monkeypatch.setattr(canvas, "possible_phases", lambda phases, width: phases)
    assert held(size) > 0.05  # phases that no real image has would change them


@pytest.mark.parametrize("size", SIZES)
def test_phases_of_real_images_are_possible(size: tuple[int, int]) -> None:
    phases = spectrum_of(noise(2, *size).double()).angle()
    own = possible_phases(phases, size[1])
    turn = torch.polar(torch.ones_like(phases), phases - own)
    double = [0, *([size[1] // 2] if size[1] % 2 == 0 else [])]
    alone = torch.zeros(*phases.shape[1:], dtype=torch.bool)
    for column in double:  # real waves: their sign may not be chosen
        alone[[0, *([size[0] // 2] if size[0] % 2 == 0 else [])], column] = True
    assert torch.allclose(turn[:, ~alone], torch.ones_like(turn[:, ~alone]), atol=1e-9)
    assert bool((own[:, alone] == 0).all())


@pytest.mark.parametrize("size", SIZES)
def test_the_power_law_has_mean_0_and_deviation_1(size: tuple[int, int]) -> None:
    law = power_law(2, size)
    written = PhaseCanvas(law.magnitudes, size)
    colours = written.colours(written.start(3, 4))
    assert torch.allclose(colours.mean((2, 3)), torch.zeros(4, 2), atol=1e-5)
    assert torch.allclose(colours.std((2, 3), correction=0), torch.ones(4, 2), atol=1e-5)
    f = frequencies(size)
    ratio = law.magnitudes[0] * f
    assert torch.allclose(ratio[f > 1 / max(size)], ratio[f > 1 / max(size)][0].expand(1), rtol=1e-5)


def reader(size: tuple[int, int]) -> Model:
    look = Preprocessing(size, fit="squash", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    return Model(torch.nn.Flatten(), preprocess=look, name="reader")


def test_magnitudes_are_the_mean_over_photos(tmp_path: Path) -> None:
    size, total, levels = (6, 5), np.zeros((3, 6, 3)), []
    for i in range(3):
        pixels = np.random.default_rng(i).integers(20, 230, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        p = pixels.transpose(2, 0, 1) / 255
        root = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
        mixing = root / np.linalg.norm(root, axis=0).max()
        colours = np.einsum("rc,chw->rhw", np.linalg.inv(mixing), np.log(p / (1 - p)))
        total += np.abs(np.fft.rfft2(colours)) / 3
        levels.append(colours.sum((1, 2)))
    (tmp_path / "broken.png").write_bytes(b"no")
    found = measured(reader(size), sorted(tmp_path.glob("*.png")))
    assert (found.photos, found.size) == (3, size)
    total[:, 0, 0] = np.mean(levels, 0)
    assert np.allclose(found.magnitudes, total, rtol=1e-3, atol=1e-2)
    with pytest.raises(BadInput, match="None can be read"):
        measured(reader(size), [tmp_path / "broken.png"])

    def stop() -> bool:
        return True

    with pytest.raises(Cancelled, match="spectrum of photos"):
        measured(reader(size), sorted(tmp_path.glob("?.png")), Execution(cancelled=stop))


# -- views ---------------------------------------------------------------------------------------------------


def smooth(size: int = 33) -> Tensor:
    """Return an image of a few blobs, none of them near the edge."""
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    blob = 0.5 * torch.exp(-((y - 0.4) ** 2 + (x - 0.6) ** 2) / 0.01)
    other = 0.3 * torch.exp(-((y - 0.65) ** 2 + (x - 0.35) ** 2) / 0.005)
    return torch.stack([0.5 + blob - other, 0.5 + other])[None]


def test_windows_are_linear_interpolation() -> None:
    image = torch.rand(1, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    same = windows(image, torch.tensor([[0.5, 0.5]]), torch.ones(1))
    assert torch.allclose(same, image, atol=1e-6)
    found = windows(image, torch.tensor([[0.4, 0.55]]), torch.tensor([0.6]))
    rows = (0.4 + 0.6 * ((np.arange(9) + 0.5) / 9 - 0.5)) * 9 - 0.5
    columns = (0.55 + 0.6 * ((np.arange(7) + 0.5) / 7 - 0.5)) * 7 - 0.5
    at = np.meshgrid(rows, columns, indexing="ij")
    for c in range(2):
        wanted = ndimage.map_coordinates(image[0, c].double().numpy(), at, order=1)
        assert np.allclose(found[0, c], wanted, atol=1e-6)
    outside = windows(image, torch.tensor([[3.0, 3.0]]), torch.ones(1))
    assert torch.allclose(outside, torch.full_like(outside, views.GREY))


@pytest.mark.parametrize("degrees", [-10.0, 4.0, 10.0])
def test_turning_is_turning(degrees: float) -> None:
    image = smooth()
    found = turned(image, torch.tensor([degrees]))
    for c in range(2):
        plane = image[0, c].double().numpy()
        wanted = ndimage.rotate(plane, degrees, reshape=False, order=5, mode="constant", cval=0.5)
        assert np.abs(found[0, c].numpy() - wanted).max() < 0.01
        assert np.abs(found[0, c].numpy() - plane).max() > 0.02
    assert torch.allclose(turned(image, torch.zeros(1)), image, atol=1e-6)


@pytest.mark.parametrize("shown", [Transforms(), Crops()], ids=["transforms", "crops"])
def test_views_follow_from_seed_image_step_and_number(shown: Transforms | Crops) -> None:
    images = smooth().expand(2, -1, -1, -1)
    whole = shown(images, 7, 3, 10, range(4)).unflatten(0, (2, 4))
    parts = [shown(images, 7, 3, 10, range(a, b)).unflatten(0, (2, -1)) for a, b in ((0, 1), (1, 4))]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)
    assert torch.allclose(shown(images[:1], 7, 3, 10, range(4)), whole[0], atol=1e-6)
    for other in (shown(images, 8, 3, 10, range(4)), shown(images, 7, 4, 10, range(4))):
        assert not torch.allclose(other.unflatten(0, (2, 4))[0], whole[0], atol=1e-3)
    assert not torch.allclose(whole[0, 0], whole[0, 1], atol=1e-3)
    assert not torch.allclose(whole[0, 0], whole[1, 0], atol=1e-3)


def test_transforms_of_strength_0_shows_the_image() -> None:
    image = smooth()
    assert torch.equal(Transforms(0.0)(image, 0, 0, 1, range(3)), image.expand(3, -1, -1, -1))


def test_crops_shrink_and_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(images: Tensor, centres: Tensor, sides: Tensor) -> Tensor:
        seen.append((centres, sides))
        return images

    monkeypatch.setattr(views, "windows", note)
    for step in (0, 99):
        Crops(0.5, 0.1)(torch.zeros(1, 1, 4, 4), 0, step, 100, range(400))
    for (centres, sides), mean in zip(seen, (0.5, 0.1), strict=True):
        assert float(sides.mean()) == pytest.approx(mean, abs=0.015)
        assert float(sides.min()) >= 0.05 - 1e-6
        assert bool((centres - sides[:, None] / 2 >= -1e-6).all())
        assert bool((centres + sides[:, None] / 2 <= 1 + 1e-6).all())
    assert float((seen[1][0] - 0.5).std()) == pytest.approx(0.15, rel=0.1)


def test_noise_of_crops_has_the_published_size() -> None:
    flat = torch.full((1, 3, 64, 64), 0.5)
    plain = Crops(normal_noise=0.0, uniform_noise=0.0)(flat, 0, 0, 2, range(8))
    assert torch.allclose(plain, torch.full_like(plain, 0.5), atol=1e-6)
    both = Crops()(flat, 0, 0, 2, range(8)) - 0.5
    assert float(both.std()) == pytest.approx(sqrt(0.08**2 + 0.04**2 / 3), rel=0.02)
    assert float(both.mean()) == pytest.approx(0, abs=0.002)


def test_the_way_back_through_views_is_exact() -> None:
    image = smooth(9).double().requires_grad_()
    angle, place, side = torch.tensor([7.0]), torch.tensor([[0.45, 0.5]]), torch.tensor([0.8])

    def shown(x: Tensor) -> Tensor:
        return windows(turned(x.float(), angle), place, side).double()

    weights = noise(1, 2, 9, 9, seed=2).double()
    (slope,) = torch.autograd.grad((shown(image) * weights).sum(), image)
    step = noise(1, 2, 9, 9, seed=3).double()
    image = image.detach()
    moved = ((shown(image + step) - shown(image)) * weights).sum()  # views are affine in the image
    assert float(moved) == pytest.approx(float((slope * step).sum()), rel=1e-4)


def test_phases_are_uniform() -> None:
    law = power_law(3, (32, 32))
    phases = PhaseCanvas(law.magnitudes, law.size).start(0, 2)
    assert float(phases.abs().max()) <= pi
    assert float(phases.std()) == pytest.approx(pi / sqrt(3), rel=0.05)
