"""P-TAME where every class is covered: Fashion-MNIST, `python -m benchmarks.learned.fashion`.

Trains a small CNN and a small ViT on 55,000 training images, then explainers of both, and of the CNN once
more as a network that shows nothing but outputs and input gradients. A second small CNN, of another seed, is
the auxiliary network. Settings of ours are chosen on the 5,000 training images that nobody was trained on.
P-TAME is measured on the 10,000 test images; all methods are compared, pair by pair, on a seeded sample of
them, since RISE needs thousands of passes an image. What is finished is kept in --out: the same call goes on.
The data is Debian's dataset-fashion-mnist (Zalando, MIT licence): --data is usr/share/datasets/fashion-mnist
of that package.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import seewhy
from benchmarks.learned.comparison import KEEPS, Json, note
from benchmarks.learned.page import LOWER
from seewhy.attribution import Attribution
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.inputs.batch import Inputs
from seewhy.methods.learned.explainer import Explainer, open_explainer, provide
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.counters import uniform
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import arithmetic, train
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
APART = 5000
"""Training images that no network and no explainer is trained on."""
LOOK = Preprocessing((28, 28), fit="squash", mean=(0.286,), std=(0.353,))


def cnn(width: int = 16) -> nn.Module:
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
    """Vision transformer of timm: 7 x 7 patches of 4 pixels, 3 blocks of 3 heads, width 48."""
    from timm.models import VisionTransformer

    net: nn.Module = VisionTransformer(
        img_size=28, patch_size=4, in_chans=1, embed_dim=48, depth=3, num_heads=3, mlp_ratio=2, num_classes=10
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
    """Training images but those set apart, each once an epoch, half of them mirrored."""

    def __init__(self, images: Tensor, apart: int = APART) -> None:
        self.images, self.apart = images[:-apart], images[-apart:]
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
    net: nn.Module, name: str, images: Tensor, labels: Tensor, arguments: argparse.Namespace, recipe: Json
) -> Model:
    """Return a trained network, made once: AdamW, one cycle, batches of 256, half of them mirrored."""
    file, device = arguments.out / f"fashion-{name.replace(' ', '-')}.pt", torch.device(arguments.device)
    net.to(device).to(memory_format=torch.channels_last)
    model = Model(net, preprocess=LOOK, labels=LABELS, name=name, kind="classes")
    if file.exists():
        net.load_state_dict(torch.load(file, weights_only=True, map_location=device))
        net.eval()
        return model
    net.train()
    batch, count = 256, len(images) - APART
    steps = max(2, int(recipe["epochs"] * arguments.epochs * len(images) / batch))
    optimiser = torch.optim.AdamW(net.parameters(), recipe["rate"], weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe["rate"], steps)
    order, kind = torch.Generator().manual_seed(recipe["seed"]), arithmetic(precision(name, device), device)
    for step in range(steps):
        rows = torch.randint(count, (batch,), generator=order).to(device)
        x = prepared(images[rows])
        x = (x.flip(-1) if step % 2 else x).contiguous(memory_format=torch.channels_last)
        with nullcontext() if kind is None else torch.autocast(device.type, kind):
            out = net(x)
        loss = cross_entropy(out.float(), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cycle.step()
    net.eval()
    torch.save(net.state_dict(), file)
    return model


def precision(title: str, device: torch.device) -> Literal["bf16", "fp32"]:
    """Return the arithmetic of training: a processor's bf16 slows small transformers down."""
    return "fp32" if device.type == "cpu" and title == "ViT" else "bf16"


def accuracy(model: Model, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that a model names."""
    with torch.inference_mode():
        right = [
            int((model.answer(prepared(x)).output.argmax(1) == y).sum())
            for x, y in zip(images.split(1000), labels.split(1000), strict=True)
        ]
    return sum(right) / len(labels)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Json]] = {
    "CNN": (cnn, {"epochs": 6.0, "rate": 3e-3, "seed": 0}),
    "auxiliary CNN": (cnn, {"epochs": 6.0, "rate": 3e-3, "seed": 1}),
    "ViT": (vit, {"epochs": 2.5, "rate": 2e-3, "seed": 2}),
}
"""What is trained: how it is made, and its recipe."""
TITLES = ("CNN", "ViT", "opaque network")
"""What is explained; the opaque network is the CNN behind a curtain."""


def network(title: str, images: Tensor, labels: Tensor, arguments: argparse.Namespace) -> Model:
    """Return a network by its name, trained once."""
    if title == "opaque network":
        opaque = Opaque(network("CNN", images, labels, arguments).module).eval()
        return Model(opaque, preprocess=LOOK, labels=LABELS, name="opaque", kind="classes")
    make, recipe = NETWORKS[title]
    torch.manual_seed(recipe["seed"])
    began = time.perf_counter()
    found = classifier(make(), title, images, labels, arguments, recipe)
    note(f"{title}: {time.perf_counter() - began:.0f} s")
    return found


def ours(spec: str, area: float) -> PTAMETraining:
    """Return our training: masks as the metrics make them, compared in log-odds with the whole input."""
    return PTAMETraining(spec, ce=1.0, area=area, power=1.0, objective="surer", shared=True)


def trained(
    title: str,
    name: str,
    training: PTAMETraining,
    model: Model,
    images: Tensor,
    arguments: argparse.Namespace,
) -> tuple[Path, Explainer]:
    """Return an explainer and its file, made once."""
    file = arguments.out / f"fashion-{title}-{name}.safetensors".replace(" ", "-").replace(",", "")
    if file.exists():
        return file, open_explainer(file)
    schedule = Schedule(
        arguments.steps,
        128,
        arguments.rate,
        look=arguments.steps,
        held_out=arguments.choice,
        checkpoint=100,
        precision=precision(title, torch.device(arguments.device)),
    )

    def progress(done: int, total: int, what: str) -> None:
        if done % max(1, total // 4) == 0:
            note(f"{title}: {name}: {done} of {total}, {what}")

    execution = Execution(device=arguments.device, progress=progress)
    made = train(training, model, Clothes(images), schedule, execution, out=file)
    made.save(file)
    file.with_name(file.name + ".checkpoint").unlink(missing_ok=True)
    note(f"{title}: {name}: {made.record['seconds']:.0f} s, {made.record['looks'][-1]}")
    return file, made


def explained(model: Model, x: Tensor, method: str, device: str, **parameters: Any) -> Attribution:
    """Return the maps of many inputs, in parts that fit, in single precision."""
    parts = [
        seewhy.explain(model, part, method, device=device, precision="fp32", **parameters)
        for part in x.split(500)
    ]
    return Attribution(
        torch.cat([p.values for p in parts]),
        torch.cat([p.native for p in parts]),
        torch.cat([p.pixels for p in parts]),
        {**parts[0].provenance, "inputs": [e for p in parts for e in p.provenance["inputs"]]},
    )


def picked(maps: Attribution, rows: list[int]) -> Attribution:
    """Return some samples of an attribution."""
    inputs = [maps.provenance["inputs"][i] for i in rows]
    return Attribution(
        maps.values[rows], maps.native[rows], maps.pixels[rows], {**maps.provenance, "inputs": inputs}
    )


def once(
    model: Model,
    x: Tensor,
    method: str,
    parameters: Json,
    arguments: argparse.Namespace,
) -> tuple[Attribution, float]:
    """Return a peer's maps and its seconds an image, made once for networks whose answers are the same.

    The opaque network answers as the CNN does, bit for bit, and RISE asks for answers only.
    """
    with model.untouched(), torch.inference_mode():
        key = hashlib.sha256(model.answer(x).output.cpu().numpy().tobytes()).hexdigest()[:12]
    what = "-".join([method, *(str(v) for v in parameters.values()), key])
    file = arguments.out / f"fashion-maps-{what}.pt"
    if file.exists() and method == "rise":
        kept = torch.load(file, weights_only=True)
        return Attribution(kept["values"], kept["native"], kept["pixels"], kept["about"]), kept["seconds"]
    began = time.perf_counter()
    maps = explained(model, x, method, arguments.device, **parameters)
    seconds = (time.perf_counter() - began) / len(x)
    state = {"values": maps.values, "native": maps.native, "pixels": maps.pixels, "about": maps.provenance}
    torch.save({**state, "seconds": seconds}, file)
    return maps, seconds


def peers(masks: int) -> dict[str, tuple[str, Json]]:
    """Return the methods beside ours and their parameters."""
    return {
        "RISE": ("rise", {"masks": masks}),
        "RISE, published estimator": ("rise", {"masks": masks, "estimator": "published"}),
        "Grad-CAM": ("grad_cam", {}),
    }


def numbers(
    model: Model,
    x: Tensor,
    maps: dict[str, Attribution],
    metrics: list[Metric],
    device: str,
    *,
    baselines: bool = True,
) -> tuple[Json, Json]:
    """Return each metric's mean and 95 % interval of each method and baseline, and each sample's values."""
    named = [a.noting(method=name) for name, a in maps.items()]
    classes = [entry["target"]["index"] for entry in named[0].provenance["inputs"]]
    options: dict[str, Any] = {"device": device, "precision": "fp32", "baselines": baselines}
    table = evaluate(model, Inputs.of(x), named, metrics, classes, **options)
    means: Json = {}
    for s in table.mean():
        means.setdefault(s.method, {})[short(s.metric)] = [s.mean, s.low, s.high]
    values: Json = {}
    for row in table.rows:
        values.setdefault(row.method, {}).setdefault(short(row.metric), []).append(row.value)
    return means, values


def short(metric: str) -> str:
    """Return "AD50" for "average_drop?keep=50", and other names as they are."""
    name, _, rest = metric.partition("?")
    letters = {"average_drop": "AD", "increase_in_confidence": "IC"}.get(name)
    keep = re.search(r"keep=([0-9.]+)", rest)
    return metric if letters is None else f"{letters}{float(keep[1]) if keep else 100:g}"


def differences(values: Json, ours: str) -> Json:
    """Return, for each rival and metric, how much better ours is: mean and 95 % interval over pairs."""
    found: Json = {}
    for rival in (name for name in values if not name.startswith("P-TAME")):
        for metric, theirs in values[rival].items():
            sign = -1 if metric in LOWER else 1
            d = sign * (torch.tensor(values[ours][metric]) - torch.tensor(theirs)).double()
            d = d[~d.isnan()]
            drawn = (uniform(0, torch.arange(2000), len(d)) * len(d)).long()
            low, high = d[drawn].mean(1).quantile(torch.tensor([0.025, 0.975]).double()).tolist()
            found.setdefault(rival, {})[metric] = [float(d.mean()), low, high]
    return found


SIX: list[Metric] = [make(keep=k) for k in KEEPS for make in (AverageDrop, IncreaseInConfidence)]


def study(arguments: argparse.Namespace) -> None:
    """Train, choose, explain, measure; a network that is finished is left alone."""
    device = arguments.device
    images, labels = (t.to(device) for t in read(arguments.data, "train"))
    tests, truth = (t[: arguments.tests].to(device) for t in read(arguments.data, "t10k"))
    spec = provide(network("auxiliary CNN", images, labels, arguments))
    x = prepared(tests)
    rows = uniform(arguments.seed, torch.arange(len(x)), 1)[:, 0].argsort()[: arguments.sample].to(device)
    for title in arguments.only or TITLES:
        file = arguments.out / f"fashion-{title.replace(' ', '-')}.json"
        if file.exists():
            continue
        model = network(title, images, labels, arguments)
        entry: Json = {
            "accuracy": accuracy(model, tests, truth),
            "tests": min(len(x), arguments.alone),
            "sample": len(rows),
        }
        made = {"paper": trained(title, "paper", PTAMETraining(spec), model, images, arguments)}
        for area in arguments.areas:
            name = f"ours, area {area:g}"
            made[name] = trained(title, name, ours(spec, area), model, images, arguments)
        entry["training"] = {
            name: {
                "steps": e.record["steps"],
                "seconds": e.record["seconds"],
                "look": e.record["looks"][-1],
                "bytes": f.stat().st_size,
            }
            for name, (f, e) in made.items()
        }
        chosen = max((n for n in made if n != "paper"), key=lambda n: entry["training"][n]["look"]["score"])
        entry["chosen"] = chosen
        seconds: dict[str, float] = {}
        maps: dict[str, Attribution] = {}
        for name in ("paper", chosen):
            began, who = time.perf_counter(), f"P-TAME, {name}"
            maps[who] = explained(model, x, "ptame", device, explainer=str(made[name][0]))
            seconds[who] = (time.perf_counter() - began) / len(x)
        first = list(range(min(len(x), arguments.alone)))
        few = {name: picked(a, first) for name, a in maps.items()}
        entry["all"], _ = numbers(model, x[first], few, SIX, device, baselines=False)
        note(f"{title}: all: {json.dumps(entry['all'])}")
        maps = {name: picked(a, rows.tolist()) for name, a in maps.items()}
        for name, (method, parameters) in peers(arguments.masks).items():
            try:
                maps[name], seconds[name] = once(model, x[rows], method, parameters, arguments)
            except DoesNotFit as reason:  # Grad-CAM needs a layer
                note(f"{title}: {name}: {reason}")
                continue
            note(f"{title}: {name}, {seconds[name]:.4f} s an image")
        entry["seconds an image"] = seconds
        order = [Deletion(steps=28), Insertion(steps=28)]
        entry["numbers"], values = numbers(model, x[rows], maps, [*SIX, *order], device)
        entry["better by"] = differences(values, f"P-TAME, {chosen}")
        entry["mean of the map"] = {name: float(a.values.mean()) for name, a in maps.items()}
        torch.save(
            {name: (a.values[:24], a.pixels[:24]) for name, a in maps.items()},
            arguments.out / f"fashion-{title.replace(' ', '-')}-maps.pt",
        )
        write_atomically(file, json.dumps(entry, indent=1).encode())
        note(f"{title}: {json.dumps(entry['numbers'])} {json.dumps(entry['better by'])}")
    files = {title: arguments.out / f"fashion-{title.replace(' ', '-')}.json" for title in TITLES}
    about = {
        "masks": arguments.masks,
        "seed": arguments.seed,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "processor",
        "results": {title: json.loads(file.read_bytes()) for title, file in files.items() if file.exists()},
    }
    write_atomically(arguments.out / "fashion.json", json.dumps(about, indent=1).encode())


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.fashion")
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=float, default=1, help="multiplies those of the networks")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--areas", type=float, nargs="*", default=[0.0])
    parser.add_argument("--masks", type=int, default=4000)
    parser.add_argument("--tests", type=int, default=10000)
    parser.add_argument("--alone", type=int, default=10000, help="test images on which P-TAME stands alone")
    parser.add_argument("--sample", type=int, default=200, help="test images on which methods are compared")
    parser.add_argument("--choice", type=int, default=512, help="images to choose settings by")
    parser.add_argument("--only", nargs="*", default=[], help="networks to explain; all when left out")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0 leaves them")
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    study(arguments)


if __name__ == "__main__":
    main()
