"""What hidden evidence becomes, against independent references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import networks
from seewhy.errors import BadInput, DoesNotFit, UnknownName
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.edits import compose
from seewhy.perturb.operators import OPERATORS, folded_gaussian, operator
from seewhy.question import Question, ask


def question(x: Tensor, *, preprocess: Preprocessing | None = None, seed: int = 0) -> Question:
    net = networks.cnn3d() if x.ndim == 5 else networks.cnn()
    return ask(Model(net.eval(), preprocess=preprocess), x, 0, Execution(seed=seed), "probability")


def test_flat_blur_is_the_published_kernel() -> None:
    dot = np.zeros((11, 11))
    dot[5, 5] = 1
    kernel = ndimage.gaussian_filter(dot, 5)
    profile = folded_gaussian()
    assert float((torch.outer(profile, profile) - torch.from_numpy(kernel)).abs().max()) < 1e-12
    assert (round(kernel.min(), 5), round(kernel.max(), 5)) == (0.00774, 0.00883)
    x = networks.batch((3, 16, 20))
    filled = operator("flat-blur").fill(question(x))
    assert filled is not None
    wanted = ndimage.convolve(x.double().numpy(), kernel[None, None], mode="constant")
    assert float((filled - torch.from_numpy(wanted)).abs().max()) < 1e-5


@pytest.mark.parametrize("shape", [(3, 16, 20), (3, 4, 16, 20)])
def test_blur_is_a_gaussian_of_each_frame(shape: tuple[int, ...]) -> None:
    x = networks.batch(shape)
    filled = operator("blur:10").fill(question(x))
    assert filled is not None
    sigma = [0] * (x.ndim - 2) + [1.6, 1.6]
    wanted = ndimage.gaussian_filter(
        x.double().numpy(), sigma, mode="nearest", radius=[0] * (x.ndim - 2) + [5, 5]
    )
    assert float((filled - torch.from_numpy(wanted)).abs().max()) < 1e-5


def test_constant_is_a_grey_level() -> None:
    preprocess = Preprocessing(size=(16, 16))
    filled = operator("constant:255").fill(question(networks.batch((3, 16, 16)), preprocess=preprocess))
    assert filled is not None
    assert preprocess.display(filled.expand(1, 3, 2, 2)[0]).unique().tolist() == [255]
    with pytest.raises(DoesNotFit, match="no preprocessing"):
        operator("constant").fill(question(networks.batch((3, 16, 16))))


def test_noise_is_the_same_for_a_batch_and_for_singles() -> None:
    x = networks.batch((3, 16, 16), n=3)
    drawn = [operator("noise").fill(question(part, seed=2)) for part in (x, x[1:2])]
    other = operator("noise").fill(question(x, seed=3))
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert other is not None
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], other)
    assert float(drawn[0].std()) == pytest.approx(1, rel=0.1)


def test_compose() -> None:
    x, fill = torch.full((1, 1, 1, 3), 2.0), torch.full((1, 1, 1, 1), 10.0)
    keep = torch.tensor([1.0, 0.0, 0.25]).reshape(1, 1, 1, 3)
    assert compose(x, keep, fill).flatten().tolist() == [2.0, 10.0, 8.0]
    assert compose(x, keep, None).flatten().tolist() == [2.0, 0.0, 0.5]


def test_names() -> None:
    assert {"mean", "constant", "blur", "noise", "flat-blur"} <= set(OPERATORS.names())
    with pytest.raises(UnknownName, match="Did you mean 'blur'"):
        operator("blurr")
    for text in ("blur:x", "blur:nan", "mean:3", "blur:-1"):
        with pytest.raises(BadInput):
            operator(text)
