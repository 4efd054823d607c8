"""Extremal perturbation: its mask generator against the formula, its optimum on models without doubt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.methods.optimised.extremal_perturbation import ExtremalPerturbation, sorted_areas
from seewhy.methods.optimised.smooth_max import SmoothMax
from seewhy.models.model import Model
from seewhy.targets import Output


def soft_maximum(parameters: Tensor, step: int, sigma: int, pixel: tuple[int, int]) -> float:
    """The mask at one pixel (from the corner of the input), parameter by parameter."""
    reach, values = 1 + math.ceil(sigma / step), []
    for row in range(pixel[0] // step - reach, pixel[0] // step + reach + 1):
        for column in range(pixel[1] // step - reach, pixel[1] // step + reach + 1):
            inside = 0 <= row < parameters.shape[0] and 0 <= column < parameters.shape[1]
            distance = math.hypot(step * row - pixel[0], step * column - pixel[1])
            bump = math.exp(-2 * max(distance / sigma - 0.5, 0) ** 2)
            values.append(bump * float(parameters[row, column]) if inside else 0.0)
    weights = [math.exp(20 * v) for v in values]
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


@pytest.mark.parametrize(("size", "step", "sigma"), [((30, 37), 7, 21), ((16, 16), 1, 2), ((20, 9), 3, 5)])
def test_the_generator_is_the_softened_maximum(size: tuple[int, int], step: int, sigma: int) -> None:
    generator = SmoothMax(size, step, sigma)
    parameters = torch.rand(2, *generator.cells, generator=torch.Generator().manual_seed(0))
    wide = generator.wide(parameters)
    inner = generator.inner(wide)
    assert inner.shape == (2, *size)
    for row in range(-generator.margin, size[0], 5):
        for column in range(-generator.margin, size[1], 4):
            found = float(wide[1, row + generator.margin, column + generator.margin])
            assert found == pytest.approx(soft_maximum(parameters[1], step, sigma, (row, column)), abs=1e-5)
    assert torch.equal(inner[0], wide[0, generator.margin :, generator.margin :][: size[0], : size[1]])


def test_published_settings_have_the_published_geometry() -> None:
    generator = ExtremalPerturbation().generator((224, 224))
    ones = generator.wide(torch.ones(1, 32, 32))
    assert ones.shape == (1, 260, 260)
    assert float(generator.inner(ones).min()) == pytest.approx(0.97587, abs=1e-5)
    assert float(ones.min()) == pytest.approx(0.0666, abs=1e-4)
    one = torch.zeros(1, 32, 32)
    one[0, 16, 16] = 1
    mask = generator.inner(generator.wide(one))[0]
    assert float(mask[112, 112]) == float(mask.max()) == pytest.approx(1, abs=1e-5)
    assert int((mask > 0.5).sum()) == 1641


def test_the_generator_differentiates() -> None:
    generator = SmoothMax((9, 8), 2, 4)
    generator.table = generator.table.double()
    parameters = torch.rand(2, *generator.cells, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(generator.wide, (parameters.requires_grad_(),))


def test_sorted_areas() -> None:
    found = sorted_areas((0.1, 0.5), 10)
    assert found[0].tolist() == [0.0] * 9 + [1.0]
    assert found[1].tolist() == [0.0] * 5 + [1.0] * 5


class Region(nn.Module):
    """The mean brightness of one region, positive for bright inputs; of the darkest too where asked."""

    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        total = (x.mean(1) * self.where).flatten(1).sum(1, keepdim=True)
        return 10 * total / self.where.sum()


def disc(size: int, centre: tuple[int, int], area: float) -> Tensor:
    """A disc that covers the given share of the input."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = math.sqrt(area * size**2 / math.pi)
    return (((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) < radius**2).float()


@pytest.mark.parametrize("variant", ["preserve", "delete", "dual"])
def test_the_mask_of_that_area_finds_the_region(variant: str) -> None:
    region = disc(64, (20, 38), 0.12)
    # The area counts on the mask with its margin.
    share = (
        float(region.sum())
        / ExtremalPerturbation(sigma=14).generator((64, 64)).wide(torch.ones(1, 32, 32)).numel()
    )
    method = ExtremalPerturbation(
        (share,),
        variant,
        "fade",
        steps=200,
        sigma=14,
        mirror=False,
        rate=0.03,  # type: ignore[arg-type]
    )
    found = method(Model(Region(region), kind="regression"), torch.ones(1, 3, 64, 64), Output())
    mask = found.values[0] > 0.5
    overlap = float((mask & region.bool()).sum() / (mask | region.bool()).sum())
    assert overlap > 0.8
    assert found.provenance["inputs"][0]["reliability"]["areas"][0] == pytest.approx(0.12, abs=0.02)
    passes = method.cost((64, 64))
    assert found.provenance["passes"] == {"forward": passes.forward, "backward": passes.backward}


def test_areas_side_by_side_are_what_each_is_alone() -> None:
    net, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16))
    alone = [ExtremalPerturbation((a,), steps=12)(net, x, 1).values for a in (0.1, 0.3)]
    both = ExtremalPerturbation((0.1, 0.3), steps=12)(net, x, 1).values
    assert float((both - (alone[0] + alone[1]) / 2).abs().max()) < 1e-5


def test_the_first_step_is_the_gradient_of_the_published_energy() -> None:
    """One step of SGD on the energy written out for one input, with interpolation by gathering."""
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=1)
    generator = SmoothMax((16, 16), 1, 2)
    theta = torch.ones(1, 16, 16, requires_grad=True)
    wide = generator.wide(theta)
    keep = generator.inner(wide)[:, None]
    score = net(keep * x)[0, 1]
    n = wide.numel()
    wanted = torch.zeros(n)
    wanted[int(n * 0.7) :] = 1
    energy = 300 * ((wide.flatten().sort().values - wanted) ** 2).mean() - score
    (slope,) = torch.autograd.grad(energy, theta)
    stepped = (theta - 0.01 * slope).clamp(0, 1).detach()
    found = ExtremalPerturbation((0.3,), perturbation="fade", steps=1, mirror=False)(Model(net), x, 1).values
    assert float((found - generator.inner(generator.wide(stepped))).abs().max()) < 1e-6


def test_smoothing_and_refusals() -> None:
    net, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16))
    rough = ExtremalPerturbation(steps=8)(net, x, 1).values
    smooth = ExtremalPerturbation(steps=8, smooth=0.09)(net, x, 1).values
    assert float(smooth.std()) < float(rough.std())
    for wrong in ({"areas": ()}, {"areas": (1.0,)}, {"steps": 0}, {"rate": 0.0}):
        with pytest.raises(BadInput):
            ExtremalPerturbation(**wrong)  # type: ignore[arg-type]
