"""Metrics against Quantus where it measures the same, and hand-made cases where it does not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import networks
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.infidelity import Infidelity
from seewhy.metrics.faithfulness.pixel_flipping import PixelFlipping
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.metrics.localisation.pointing_game import PointingGame
from seewhy.metrics.localisation.relevance_mass import RelevanceMass
from seewhy.metrics.localisation.relevance_rank import RelevanceRank
from seewhy.models.model import Model
from seewhy.question import Question, ask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

GREY = networks.batch((1, 12, 12), n=3)
COLOUR = networks.batch((3, 12, 12), n=3)
MAPS = networks.batch((3, 12, 12), n=3, seed=3)[:, 0].abs()
CLASSES = [0, 2, 1]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The peer warns of its own defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def network(channels: int) -> torch.nn.Module:
    return networks.cnn(channels=channels).eval()


def pose(x: Tensor, **options: Any) -> Question:
    return ask(Model(network(x.shape[1])), x, CLASSES[: len(x)], Execution(**options), "probability")


def theirs(metric: Any, x: Tensor, maps: Tensor, **more: Any) -> Any:
    """Return what a metric of Quantus makes of given maps, with probabilities."""
    return metric(
        model=network(x.shape[1]),
        x_batch=x.numpy(),
        y_batch=np.array(CLASSES[: len(x)]),
        a_batch=maps[:, None].numpy(),
        softmax=True,
        channel_first=True,
        **more,
    )


def flipping(step: int) -> Any:
    return quantus.PixelFlipping(
        features_in_step=step, perturb_baseline=0.0, normalise=False, abs=False, disable_warnings=True
    )


@pytest.mark.parametrize("step", [9, 16])
def test_deletion_and_pixel_flipping_step_by_step(step: int) -> None:
    wanted = np.array(theirs(flipping(step), GREY, MAPS))
    steps = 144 // step
    for metric in (Deletion(steps=steps), PixelFlipping(patch=1, units=step, steps=steps)):
        found = metric.measure(pose(GREY), MAPS)
        assert found.curve is not None
        np.testing.assert_allclose(found.curve[:, 1:].numpy(), wanted, atol=1e-5)
    other = np.array(theirs(flipping(step), GREY, MAPS.amax() - MAPS))
    assert np.abs(wanted - other).max() > 1e-3, "another order would be seen"


def test_places() -> None:
    masks = torch.zeros(3, 12, 12, dtype=torch.bool)
    masks[:, 2:8, 3:9] = True
    question = replace(pose(COLOUR), truth=masks)
    pairs: list[tuple[Any, Any]] = [
        (RelevanceMass(), quantus.RelevanceMassAccuracy(disable_warnings=True, normalise=False)),
        (RelevanceRank(), quantus.RelevanceRankAccuracy(disable_warnings=True, normalise=False)),
        (PointingGame(tolerance=0), quantus.PointingGame(disable_warnings=True, normalise=False)),
    ]
    for metric, peer in pairs:
        found = metric.measure(question, MAPS).values.tolist()
        wanted = theirs(peer, COLOUR, MAPS, s_batch=masks[:, None].numpy())
        assert found == pytest.approx([float(np.squeeze(w)) for w in wanted], abs=1e-5), metric.name
        moved = metric.measure(replace(question, truth=masks.roll(4, 1)), MAPS).values.tolist()
        if metric.name != "pointing_game":
            assert moved != pytest.approx(found, abs=1e-3), "another place would be seen"


# -- where it differs: what it does, and what is right


def test_colours_of_a_pixel_are_flipped_together() -> None:
    """The peer runs over channels as if each were a picture: three times the passes for one curve."""
    assert np.array(theirs(flipping(16), COLOUR, MAPS)).shape == (3, 27)
    question = pose(COLOUR)
    found = PixelFlipping(patch=1, units=16, steps=9).measure(question, MAPS)
    assert found.curve is not None
    assert found.curve.shape == (3, 10)
    first = MAPS[0].flatten().argsort(descending=True)[:16]
    picture = COLOUR[0].flatten(1).clone()
    picture[:, first] = 0
    wanted = network(3)(picture.reshape(1, 3, 12, 12)).softmax(1)[0, CLASSES[0]]
    assert float(found.curve[0, 1]) == pytest.approx(float(wanted.detach()), abs=1e-5)


def test_road_takes_colour_pictures_with_one_map_and_counts_every_batch() -> None:
    peer = quantus.ROAD(noise=0.0, percentages=[50], disable_warnings=True)
    with pytest.raises(IndexError):
        theirs(peer, COLOUR, MAPS)
    metric = ROAD(steps=3, operator="noisy-linear:0")
    whole = metric.measure(pose(COLOUR), MAPS).values
    small = metric.measure(pose(COLOUR, batch_size=2), MAPS).values
    assert whole.tolist() == pytest.approx(small.tolist(), abs=1e-5)
    assert len({round(v, 6) for v in whole.tolist()}) == 3


def test_a_fixed_perturbation_is_not_repeated() -> None:
    """One pass for each, where the peer asks ten times for the same ten numbers and averages them."""
    net = network(3)
    question = ask(Model(net), COLOUR, CLASSES, Execution(), "probability")
    before = question.passes.forward
    metric = Infidelity()
    metric.measure(question, MAPS)
    assert question.passes.forward - before == len(COLOUR) * metric.cost((12, 12)).forward
