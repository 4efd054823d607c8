"""P-TAME where every class is covered: Fashion-MNIST, `python -m benchmarks.learned.fashion --device cuda`.

Trains a small CNN and a small ViT on the 60,000 training images, then explainers of both, and of the CNN once
more as a network that shows nothing but outputs and input gradients. A second small CNN, of another seed, is
the auxiliary network. P-TAME and RISE are then measured on the 10,000 test images. The data is Debian's
dataset-fashion-mnist (Zalando, MIT licence): --data is usr/share/datasets/fashion-mnist of that package.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import seewhy
from benchmarks.learned.photos import KEEPS, Json, note
from seewhy.attribution import Attribution
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.inputs.batch import Inputs
from seewhy.methods.learned.explainer import provide
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.counters import uniform
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule
from seewhy.training.sources import Source
from seewhy.types import Batch, Size

LABELS = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
LOOK = Preprocessing((28, 28), fit="squash", mean=(0.286,), std=(0.353,))


def cnn(width: int = 32) -> nn.Module:
    """Three resolutions of two convolutions each, global average, one linear layer."""

    def stage(before: int, after: int) -> nn.Module:
        layers: list[nn.Module] = []
        for c in (before, after):
            layers += [nn.Conv2d(c, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers)

    return nn.Sequential(
        stage(1, width),
        nn.MaxPool2d(2),
        stage(width, 2 * width),
        nn.MaxPool2d(2),
        stage(2 * width, 4 * width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, len(LABELS)),
    )


def vit() -> nn.Module:
    """Vision transformer of timm: 7 x 7 patches of 4 pixels, 4 blocks of 4 heads, width 64."""
    from timm.models import VisionTransformer

    net: nn.Module = VisionTransformer(
        img_size=28, patch_size=4, in_chans=1, embed_dim=64, depth=4, num_heads=4, mlp_ratio=2, num_classes=10
    )
    return net


class Opaque(nn.Module):
    """A network without layers: it shows an answer and lets gradients reach its input."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.hidden = (net,)
        self.names = [name for name, _ in (*net.named_parameters(), *net.named_buffers())]
        for i, t in enumerate((*net.parameters(), *net.buffers())):
            self.register_buffer(f"t{i}", t.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, classes)`."""
        state = {name: getattr(self, f"t{i}") for i, name in enumerate(self.names)}
        out: Tensor = functional_call(self.hidden[0], state, (x,))
        return out


class Clothes(Source):
    """Training images, each once an epoch, half of them mirrored; the last 512 are held out."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.apart = images[:-512], images[-512:]
        self._orders: dict[int, Tensor] = {}

    @property
    def shape(self) -> Size:
        """See `Source.shape`."""
        return (1, 28, 28)

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return f"fashion-mnist {len(self.images)}"

    def held_out(self) -> Batch:
        """See `Source.held_out`."""
        return prepared(self.apart)

    def batch(self, seed: int, indices: Tensor) -> Batch:
        """See `Source.batch`."""
        count = len(self.images)
        epoch = indices // count
        which = torch.empty_like(indices)
        for e in epoch.unique().tolist():
            if e not in self._orders:
                self._orders = {
                    e: uniform(~seed, torch.arange(count) + e * count, 1)[:, 0].argsort().to(indices.device)
                }
            which = torch.where(epoch == e, self._orders[e][indices % count], which)
        x = prepared(self.images[which.to(self.images.device)]).to(indices.device)
        mirrored = uniform(seed, indices, 1)[:, 0] < 0.5
        return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def prepared(images: Tensor) -> Tensor:
    """Return `(n, 1, 28, 28)` model inputs of uint8 images."""
    return (images.float() / 255 - LOOK.mean[0]) / LOOK.std[0]


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return `(n, 1, 28, 28)` uint8 images and `(n,)` labels of "train" or "t10k"."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    return (
        torch.frombuffer(bytearray(images), dtype=torch.uint8).reshape(-1, 1, 28, 28),
        torch.frombuffer(bytearray(labels), dtype=torch.uint8).long(),
    )


def classifier(
    net: nn.Module, name: str, images: Tensor, labels: Tensor, epochs: float, rate: float, device: str
) -> Model:
    """Train a network: AdamW, one cycle, batches of 256."""
    net.to(device).train()
    batch, steps = 256, max(2, int(epochs * len(images) / 256))
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = torch.randint(len(images), (batch,), generator=order).to(device)
        x = prepared(images[rows])
        x = x.flip(-1) if step % 2 else x
        loss = cross_entropy(net(x), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cycle.step()
    return Model(net.eval(), preprocess=LOOK, labels=LABELS, name=name, kind="classes")


def accuracy(model: Model, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that a model names."""
    with torch.inference_mode():
        right = [
            int((model.answer(prepared(x)).output.argmax(1) == y).sum())
            for x, y in zip(images.split(1000), labels.split(1000), strict=True)
        ]
    return sum(right) / len(labels)


def explained(model: Model, x: Tensor, method: str, device: str, **parameters: object) -> Attribution:
    """Return the maps of many inputs, in parts that fit."""
    parts = [seewhy.explain(model, part, method, device=device, **parameters) for part in x.split(500)]
    return Attribution(
        torch.cat([p.values for p in parts]),
        torch.cat([p.native for p in parts]),
        torch.cat([p.pixels for p in parts]),
        {**parts[0].provenance, "inputs": [e for p in parts for e in p.provenance["inputs"]]},
    )


def study(arguments: argparse.Namespace) -> Json:
    """Train, explain, measure."""
    device = arguments.device
    torch.manual_seed(0)
    images, labels = (t.to(device) for t in read(arguments.data, "train"))
    tests, truth = (t[: arguments.tests].to(device) for t in read(arguments.data, "t10k"))
    started = time.perf_counter()
    auxiliary = classifier(cnn(), "auxiliary CNN", images, labels, arguments.epochs, 3e-3, device)
    first = classifier(cnn(), "CNN", images, labels, arguments.epochs, 3e-3, device)
    models = {
        "CNN": first,
        "ViT": classifier(vit(), "ViT", images, labels, 3 * arguments.epochs, 1e-3, device),
        "opaque network": Model(
            Opaque(first.module).eval(), preprocess=LOOK, labels=LABELS, name="opaque", kind="classes"
        ),
    }
    note(f"networks trained in {time.perf_counter() - started:.0f} s")
    spec = provide(auxiliary)
    ours = PTAMETraining(spec, ce=1.0, area=arguments.area, power=1.0, objective="shown", shared=True)
    found: Json = {}
    x = prepared(tests)
    for title, model in models.items():
        entry: Json = {"accuracy": accuracy(model, tests, truth)}
        maps: dict[str, Attribution] = {}
        for name, training in {"paper": PTAMETraining(spec), "ours": ours}.items():
            schedule = Schedule(arguments.steps, 128, 2e-3, look=arguments.steps, held_out=512, checkpoint=0)
            made = train(training, model, Clothes(images), schedule, Execution(device=device))
            file = made.save(arguments.out / f"fashion-{title.replace(' ', '-')}-{name}.safetensors")
            entry[f"training, {name}"] = {
                "seconds": made.record["seconds"],
                "look": made.record["looks"][-1],
                "bytes": file.stat().st_size,
            }
            began = time.perf_counter()
            maps[f"P-TAME, {name}"] = explained(model, x, "ptame", device, explainer=str(file))
            entry.setdefault("seconds an image", {})[name] = (time.perf_counter() - began) / len(x)
            note(f"{title}: P-TAME, {name}: {entry[f'training, {name}']}")
        began = time.perf_counter()
        maps["RISE"] = explained(model, x, "rise", device, masks=arguments.masks)
        entry["seconds an image"]["RISE"] = (time.perf_counter() - began) / len(x)
        note(f"{title}: RISE, {entry['seconds an image']['RISE']:.4f} s an image")
        entry["numbers"] = numbers(model, x, maps, device)
        entry["mean of the map"] = {name: float(a.values.mean()) for name, a in maps.items()}
        found[title] = entry
        about = {"steps": arguments.steps, "masks": arguments.masks, "tests": len(x), "results": found}
        write_atomically(arguments.out / "fashion.json", json.dumps(about, indent=1).encode())
        note(json.dumps(entry["numbers"]))
    return found


def numbers(model: Model, x: Tensor, maps: dict[str, Attribution], device: str) -> Json:
    """Return each metric's mean and interval of each method and baseline."""
    table: Json = {}
    named = [replace(a, provenance={**a.provenance, "method": name}) for name, a in maps.items()]
    inputs = Inputs.of(x)
    classes = [entry["target"]["index"] for entry in named[0].provenance["inputs"]]
    for keep in (*KEEPS, None):
        metrics = (
            [Deletion(steps=28), Insertion(steps=28)]
            if keep is None
            else [AverageDrop(keep=keep), IncreaseInConfidence(keep=keep)]
        )
        for s in evaluate(model, inputs, named, metrics, classes, device=device, precision="fp32").mean():
            label = (
                s.metric
                if keep is None
                else {"average_drop": "AD", "increase_in_confidence": "IC"}[s.metric] + f"{keep:g}"
            )
            table.setdefault(s.method, {})[label] = [s.mean, s.low, s.high]
    return table


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.fashion")
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--masks", type=int, default=4000)
    parser.add_argument("--tests", type=int, default=10000)
    parser.add_argument("--area", type=float, default=0.1)
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    study(arguments)


if __name__ == "__main__":
    main()
