"""The two small networks of the synthetic set, and the recipe that trains them from nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmarks.ground_truth.synthetic import LABELS, SIDE, draw
from seewhy.errors import SeeWhyError
from seewhy.files import write_atomically
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

TRAINED_ON, TESTED_ON = 1, 2
"""Seeds of the pictures."""
TESTS, BATCH, ACCURACY = 1000, 64, 0.97
LOOK = Preprocessing((SIDE, SIDE), fit="squash", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def cnn() -> nn.Module:
    """Four convolutions with batch norm and ReLU, two poolings, global average, one linear layer."""

    def stage(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *stage(3, 24),
        nn.MaxPool2d(2),
        *stage(24, 48),
        nn.MaxPool2d(2),
        *stage(48, 48),
        *stage(48, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, len(LABELS)),
    )


def vit() -> nn.Module:
    """One convolution, then timm's vision transformer: 8 x 8 patches of 8 pixels, 4 blocks of 4 heads.

    Without the convolution the patches' linear embedding learns the direction of stripes of any phase late or
    never, by luck of the seed.
    """
    from timm.models import VisionTransformer

    transformer = VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        in_chans=16,
        embed_dim=64,
        depth=4,
        num_heads=4,
        mlp_ratio=2,
        num_classes=len(LABELS),
    )
    return nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.GELU(), transformer)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, one cycle of the learning rate, batches of 64, clipped gradients."""

    name: str
    title: str
    build: Callable[[], nn.Module]
    steps: int
    rate: float
    pictures: int = 10000


RECIPES = (
    Recipe("small-cnn", "small CNN", cnn, 150, 3e-3),
    Recipe("small-vit", "small ViT", vit, 700, 1e-3),
)


def normalised(pixels: Tensor) -> Tensor:
    """Return `[0, 1]` pixels as the networks receive them."""
    return (pixels - 0.5) / 0.25


def trained(recipe: Recipe, folder: Path, seed: int = 0) -> tuple[Model, float, float]:
    """Return the network, its accuracy on test pictures, and the seconds that its training took.

    Weights are kept in `folder` and trained only once a recipe.

    Raises
    ------
    SeeWhyError
        When the accuracy is below 0.97: maps of a network that misses the evidence would say nothing.
    """
    file = folder / f"{recipe.name}-{recipe.steps}-{recipe.rate}-{recipe.pictures}-{seed}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = recipe.build()
        if file.exists():
            net.load_state_dict(load_file(file))
            with safe_open(file, "pt") as stored:
                seconds = float(stored.metadata()["seconds"])
        else:
            started = time.perf_counter()
            train(net, recipe, seed)
            seconds = time.perf_counter() - started
            weights = {k: v.contiguous() for k, v in net.state_dict().items()}
            write_atomically(file, save(weights, {"seconds": str(seconds)}))
    accuracy = tested(net)
    if accuracy < ACCURACY:
        raise SeeWhyError(f"The {recipe.title} names {accuracy:.3f} of the test pictures, below {ACCURACY}.")
    return (
        Model(net.eval(), preprocess=LOOK, labels=LABELS, name=recipe.name, kind="classes"),
        accuracy,
        seconds,
    )


def train(net: nn.Module, recipe: Recipe, seed: int) -> None:
    """Train a network in place."""
    count = recipe.pictures
    parts = [draw(TRAINED_ON, i, min(500, count - i)) for i in range(0, count, 500)]
    pixels = torch.cat([(p.pixels * 255).round().byte() for p in parts])
    classes = torch.cat([p.classes for p in parts])
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps, pct_start=0.2)
    order = torch.Generator().manual_seed(seed)
    net.train()
    for step in range(recipe.steps):
        rows = torch.randint(count, (BATCH,), generator=order)
        loss = nn.functional.cross_entropy(net(normalised(pixels[rows].float() / 255)), classes[rows])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 10 == 0 or step == recipe.steps - 1:
            told = f"training the {recipe.title}: step {step + 1} of {recipe.steps}, loss {loss.item():.3f}"
            print(f"\r{told:<100}", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 100 + "\r", end="", file=sys.stderr)
    net.eval()


def tested(net: nn.Module) -> float:
    """Return the share of test pictures that a network names."""
    net.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, TESTS, 200):
            test = draw(TESTED_ON, start, 200)
            right += int((net(normalised(test.pixels)).argmax(1) == test.classes).sum())
    return right / TESTS
