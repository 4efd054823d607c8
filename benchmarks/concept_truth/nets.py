"""Five small networks, alike but for how often a picture's tag told its class in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.concept_truth.pictures import CLASSES, SIDE, correlated, plain
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
LAYERS = {"10": "third", "13": "fourth, last"}
"""Names of the ReLUs that are asked, and of their convolutions; both have 12 x 12 cells."""
TRAINED_ON = 1
LOOK = Preprocessing((SIDE, SIDE), fit="squash", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def network() -> nn.Sequential:
    """Four convolutions with batch norm and ReLU, two poolings, global average, one linear layer."""

    def stage(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *stage(3, 16),
        nn.MaxPool2d(2),
        *stage(16, 32),
        nn.MaxPool2d(2),
        *stage(32, 48),
        nn.Conv2d(48, 48, 3, padding=1, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, len(CLASSES)),
    )


def trained(rate: float, count: int, steps: int, seed: int, execution: Execution) -> Model:
    """Return a network trained on `count` pictures whose tag tells the class at `rate`."""
    pictures = correlated(plain(TRAINED_ON, count, training=True), rate, TRAINED_ON)
    x, y = pictures.inputs(), torch.from_numpy(pictures.classes)
    device = torch.device(execution.device or "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.2)
    order = torch.Generator().manual_seed(seed)
    net.train()
    for step in range(steps):
        rows = torch.randint(count, (64,), generator=order)
        loss = nn.functional.cross_entropy(net(x[rows].to(device)), y[rows].to(device))
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
