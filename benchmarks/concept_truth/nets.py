"""Five small networks, alike but for how often a picture's tag told its class in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.concept_truth.pictures import CLASSES, SIDE, Pictures, correlated
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
LAYERS = {"9": "third", "12": "fourth, last"}
"""Names of the ReLUs that are asked, and of their convolutions; both have 16 x 16 cells."""
LOOK = Preprocessing((SIDE, SIDE), fit="squash", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def network() -> nn.Sequential:
    """Four convolutions with batch norm and ReLU, one pooling, global average, one linear layer.

    A cell of the third sees 19 x 19 pixels, about a tag; one of the fourth 27 x 27.
    """

    def stage(before: int, after: int, side: int = 3, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *stage(3, 16, 5, 2),
        *stage(16, 32),
        nn.MaxPool2d(2),
        *stage(32, 48),
        *stage(48, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, len(CLASSES)),
    )


def trained(rate: float, bare: Pictures, steps: int, seed: int, execution: Execution) -> Model:
    """Return a network trained on pictures whose tag tells the class at `rate`.

    Parameters
    ----------
    rate
        0 to 1.
    bare
        The pictures without tags.
    steps
        Batches of 64.
    seed
        Of tags, weights and the order of pictures; at one seed all but the tags is alike at all rates.
    execution
        Where to run, what to report to.
    """
    pictures = correlated(bare, rate, seed)
    y, device = torch.from_numpy(pictures.classes), torch.device(execution.device or "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.2)
    order = torch.Generator().manual_seed(seed)
    net.train()
    for step in range(steps):
        rows = torch.randint(len(y), (64,), generator=order)
        x = pictures.take(rows.numpy()).inputs()
        loss = nn.functional.cross_entropy(net(x.to(device)), y[rows].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        execution.step(step + 1, steps, f"training the network of rate {rate:g}")
    net.eval()
    return Model(net, preprocess=LOOK, labels=CLASSES, name=f"rate {rate:g}", kind="classes")


@torch.no_grad()
def logits(model: Model, x: Tensor) -> Tensor:
    """Return `(n, classes)` logits on the CPU."""
    with model.untouched():
        return torch.cat([model.answer(part).output.cpu() for part in x.split(256)])
