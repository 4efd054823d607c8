"""Which maps depend on the labels: `python -m benchmarks.labels [--photos N] [--methods a,b]`.

Two small networks of the same make and the same first weights are trained on the handwritten digits that come
with scikit-learn (8 x 8, enlarged to 32 x 32): one on their labels, one on the same labels shuffled, until it
knows them by heart. Every method then explains digits on the first, and `label_randomisation` compares with
the second. Prints a markdown table; a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

import seewhy
from seewhy.errors import DoesNotFit
from seewhy.metrics.sanity.label_randomisation import LabelRandomisation

METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "input_x_gradient": {},
    "smooth_grad": {"samples": 20},
    "integrated_gradients": {"steps": 20},
    "guided_backprop": {},
    "deconvnet": {},
    "grad_cam": {"relu": False},
    "layer_cam": {},
    "full_grad": {},
    "lrp": {},
    "excitation_backprop": {},
    "occlusion": {"window": 8, "stride": 4},
    "rise": {"masks": 500},
}
"""Methods with parameters that suit inputs of 32 x 32."""
_BATCH, _EPOCHS, _KNOWN = 64, 200, 0.99


def digits() -> tuple[Tensor, Tensor]:
    """Return `(1797, 1, 32, 32)` pictures from -1 to 1 and their labels, in a fixed random order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    pictures = torch.from_numpy(data.images).float()[order, None] / 8 - 1
    return interpolate(pictures, (32, 32), mode="bilinear"), torch.from_numpy(data.target).long()[order]


def network() -> nn.Module:
    """Return three convolutions and a linear layer, always with the same first weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((1, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 16, 10))


def trained(x: Tensor, labels: Tensor) -> tuple[nn.Module, float, int]:
    """Return a network that knows `labels` by heart, the share that it knows, and the epochs it took."""
    net, epoch, known = network(), 0, 0.0
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(1)
    while known < _KNOWN and epoch < _EPOCHS:
        for chosen in torch.randperm(len(x), generator=generator).split(_BATCH):
            optimiser.zero_grad()
            cross_entropy(net(x[chosen]), labels[chosen]).backward()
            optimiser.step()
        epoch += 1
        with torch.no_grad():
            known = float((net(x).argmax(1) == labels).float().mean())
        print(f"\repoch {epoch}: {known:.1%} known", end="", file=sys.stderr)
    print(file=sys.stderr)
    return net.eval(), known, epoch


def main() -> None:
    """Train both networks, ask every method, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    x, labels = digits()
    seen, held = slice(0, 1500), slice(1500, None)
    shuffled = labels[seen][torch.randperm(1500, generator=torch.Generator().manual_seed(2))]
    net, known, epochs = trained(x[seen], labels[seen])
    other, by_heart, longer = trained(x[seen], shuffled)
    with torch.no_grad():
        right, chance = (float((n(x[held]).argmax(1) == labels[held]).float().mean()) for n in (net, other))
    print(f"True labels: {known:.1%} known after {epochs} epochs, {right:.1%} right on held-out digits.")
    print(f"Shuffled labels: {by_heart:.1%} known after {longer} epochs, {chance:.1%} right.\n")
    asked = x[held][: options.photos]
    kinds = ("absolute", "signed", "ssim")
    print("| map | rank correlation, absolute | signed | structural similarity |\n|---|---|---|---|")
    for i, name in enumerate(options.methods.split(",")):
        try:
            result = seewhy.explain(net, asked, name, **METHODS.get(name, {}))
        except DoesNotFit as refusal:
            print(f"{name} is left out: {refusal}", file=sys.stderr)
            continue
        found: dict[str, list[str]] = {}
        for kind in kinds:
            table = seewhy.evaluate(net, asked, result, LabelRandomisation(other, kind), baselines=i == 0)
            for s in table.mean():
                said = (
                    "undefined"
                    if s.mean is None or s.low is None
                    else f"{s.mean:.2f} [{s.low:.2f}, {s.high:.2f}]"
                )
                found.setdefault(f"{s.method} (baseline)" if s.baseline else f"`{s.method}`", []).append(said)
        for who, row in found.items():
            print(f"| {who} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
