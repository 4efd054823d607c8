"""SeeWhy, its peers and the bare-forward floor in one run: `python -m benchmarks`.

    python -m benchmarks                    # this machine's processor, two real networks and ResNet-50
    python -m benchmarks --device cuda      # an accelerator: ResNet-50, ViT-B/16

Prints markdown tables and writes them, the numbers and a plot to --out. Fails when two that claim the same
map differ.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.contests import CONTESTS, Setting
from benchmarks.networks import network
from seewhy.inputs.photos import demo_photos

MODELS = {"cpu": "efficientnet-lite0,mobilenet-v2,resnet50", "cuda": "resnet50,vit_b16"}
TASKS = {
    "cpu": "rise,occlusion,small_windows,score_cam,deletion_insertion,imputation,road,grad_cam,"
    "grad_cam_batch,integrated_gradients,ablation_cam",
    "cuda": ",".join(task for task in CONTESTS if task != "grad_cam_batch"),  # 32 photos in any case
}


def main() -> None:
    """Run the contests and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--models", help="names separated by commas")
    parser.add_argument("--tasks", help=f"of {', '.join(CONTESTS)}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=int, help="in a batch; 32 on accelerators, else 4")
    parser.add_argument(
        "--scale", type=float, help="share of the passes of each task; 1 on accelerators, else 0.05"
    )
    parser.add_argument("--half", choices=("none", "fp16", "bf16"), help="precision of the floor")
    parser.add_argument("--exact", action=argparse.BooleanOptionalAction, help="single precision, too")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    cuda = options.device == "cuda"
    photos = options.photos or (32 if cuda else 4)
    half = {"none": None}.get(options.half, options.half) or ("fp16" if cuda and not options.half else None)
    versions = ", ".join(
        f"{p} {_version(p)}" for p in ("torch", "captum", "grad-cam", "torchcam", "torchray")
    )
    device = torch.cuda.get_device_name() if cuda else f"{_processor()}, {torch.get_num_threads()} threads"
    results: dict[str, list[report.Row]] = {}
    text = [f"{device}; {versions}; {options.repeats} repeats in turn, medians."]
    started = time.perf_counter()
    for name in (options.models or MODELS[options.device]).split(","):
        model = network(name, options.device)
        files = list(demo_photos().values())
        prepared = (
            network("efficientnet-lite0", "cpu").prepare(files).tensor
            if model.preprocess is None
            else (model.prepare(files).tensor)
        )
        x = prepared.repeat(-(-photos // len(prepared)), 1, 1, 1)[:photos].to(options.device)
        setting = Setting(model, x, half, 256 if cuda else 16, options.scale or (1.0 if cuda else 0.05))
        setting.exact = not cuda if options.exact is None else options.exact
        rows: list[report.Row] = []
        notes: list[str] = []
        for task in (options.tasks or TASKS[options.device]).split(","):
            contest = CONTESTS[task](setting)
            contest.run(options.repeats)
            rows += contest.rows()
            notes += [f"- {contest.task}: {line}" for line in contest.agreement]
            print(report.table(contest.rows()), flush=True)
        results[name] = rows
        facts = {
            f"{k[4]}, {k[2]}": v[1].facts
            for k, v in model.facts.items()
            if isinstance(k, tuple) and k[0] == "calibration"
        }
        text += [
            f"\n## {name}\n",
            report.table(rows),
            "Agreement:\n",
            *notes,
            f"\nTrials: `{json.dumps(facts)}`",
        ]
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{options.device}.md").write_text("\n".join(text) + "\n")
        (options.out / f"{options.device}.json").write_text(
            json.dumps({"about": text[0], "results": results}, indent=1)
        )
    report.plot(results, text[0], options.out / f"{options.device}.png")
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.machine()


if __name__ == "__main__":
    main()
