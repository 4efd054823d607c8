"""Masks that objectives train."""

from __future__ import annotations

import torch
from torch import Tensor

import explainers
import networks
from seewhy.training import masks


def images(n: int = 64) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def maps(n: int = 64) -> Tensor:
    return torch.randn(n, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_paper_masks_with_a_sigmoid() -> None:
    assert torch.equal(masks.masks(maps(), images(), "paper"), maps().sigmoid())


def test_ranked_shows_the_highest_pixels_ninety_to_fifteen_per_cent() -> None:
    made = masks.masks(maps(), images(), "ranked")
    shown = (made >= 0.5).sum((1, 2))
    assert set(shown.tolist()) == {230, 179, 128, 77, 38}
    for mask, z, count in zip(made, maps(), shown, strict=True):
        best = z.flatten().topk(int(count)).indices
        assert bool((mask.flatten()[best] >= 0.5).all())


def test_ranked_sees_no_scale() -> None:
    """A map ten times as high, or lifted, is the same map."""
    there = masks.masks(maps(), images(), "ranked")
    torch.testing.assert_close(masks.masks(10 * maps() + 3, images(), "ranked"), there, rtol=1e-3, atol=1e-4)
    scaled = masks.masks(10 * maps() + 3, images(), "paper")
    assert not torch.allclose(scaled, masks.masks(maps(), images(), "paper"), atol=0.1)


def test_ranked_has_a_slope_on_both_sides_of_the_cut() -> None:
    """A pixel at the edge shows more of itself as it rises, and less of the others there."""
    z = maps().requires_grad_()
    made = masks.masks(z, images(), "ranked")
    for low, high in ((0.2, 0.5), (0.5, 0.8)):
        near = ((made > low) & (made < high)).nonzero()[0]
        n, row, column = near.tolist()
        slope = torch.autograd.grad(made[n, row, column], z, retain_graph=True)[0]
        others = slope[n].clone()
        others[row, column] = 0
        assert float(slope[n, row, column]) > 0
        assert float(others.sum()) < 0
        assert not bool(slope[n + 1 :].any())


def test_ranked_cannot_show_more_by_rising() -> None:
    """The share is given: no change of the map changes how much is shown, to first order."""
    z = maps().requires_grad_()
    shown = masks.masks(z, images(), "ranked")
    total = torch.autograd.grad(shown.sum(), z, retain_graph=True)[0]
    own = torch.autograd.grad((shown * maps()).sum(), z)[0]
    assert float(total.abs().max()) < 0.2 * float(own.abs().max())


def test_ranked_reads_maps_on_the_pixels_of_the_input() -> None:
    small = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(2))
    assert masks.masks(small, images(5), "ranked").shape == (5, 16, 16)
    assert masks.masks(small, images(5), "shown").shape == (5, 4, 4)


def test_an_image_gets_its_share_whatever_its_company() -> None:
    whole = masks.masks(maps(), images(), "ranked")
    torch.testing.assert_close(masks.masks(maps()[7:9], images()[7:9], "ranked"), whole[7:9])


def test_ranked_has_no_term_for_the_area() -> None:
    trainee = explainers.begun(networks.cnn(), ce=1.0, area=5.0, objective="ranked")
    step = trainee.step(explainers.Images().batch(0, torch.arange(4)))
    assert set(step.numbers) == {"ce"}


def test_shares_told_are_those_shown() -> None:
    made = (masks.masks(maps(), images(), "ranked") >= 0.5).float().mean((1, 2))
    torch.testing.assert_close(made, masks.shown(images()), rtol=0, atol=2e-3)


def test_ranked_bounds_what_an_image_can_lose_tightly_where_much_is_shown() -> None:
    """By hand: the sigmoid of lost log-odds from half of the pixels on; below, (1 - kept ** 0.3) / 0.3."""
    net = networks.cnn()
    trainee = explainers.begun(net, ce=1.0, objective="ranked")
    x = explainers.Images().batch(0, torch.arange(24))
    assert {bool(s >= 0.5) for s in masks.shown(x)} == {True, False}, "both kinds take part"
    with torch.no_grad():
        mask = masks.masks(trainee.module(trainee._features(x)[0], net(x).argmax(1)), x, "ranked")
        before, behind = net(x).double().softmax(1), net(x * mask[:, None]).double().softmax(1)
    own = before.argmax(1, keepdim=True)
    odds = [p.gather(1, own)[:, 0].logit() for p in (before, behind)]
    kept = (odds[1] - odds[0]).sigmoid()
    by_hand = torch.where(masks.shown(x) >= 0.5, 1 - kept, (1 - kept**0.3) / 0.3)
    torch.testing.assert_close(trainee.step(x).numbers["ce"].double(), by_hand.mean(), rtol=1e-4, atol=1e-6)
