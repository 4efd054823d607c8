"""Maps of compositions side by side, from what `benchmarks.learned.photos` left in --out.

`python -m benchmarks.learned.picture --out DIR --model NAME` writes docs/images/learned-NAME.png; --name
names it otherwise.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import seewhy
from benchmarks.learned.comparison import WITH_SLOW, examples
from benchmarks.learned.page import BASELINES, ROOT
from seewhy.files import write_atomically
from seewhy.show import Look, Panel, Row, contact_sheet

GROUPS = {"covered classes": (4, ""), "classes with fewer than 100 images": (2, ", hardly covered")}
"""How many pictures of each group are shown, the first of different classes, and what is said of them."""
CAPTION = (
    "Photos and compositions never trained on. Maps by ranks show an order; how sure it is they cannot show."
)


def rows(folder: Path, model: str) -> tuple[list[Row], list[str]]:
    """Return a row a picture, and the methods."""
    labels = seewhy.load(model).labels
    found: list[Row] = []
    shown: list[str] = []
    for group, (most, told) in GROUPS.items():
        all_methods, some = examples(folder, model, group + WITH_SLOW), examples(folder, model, group)
        file = all_methods if all_methods.exists() else some
        if not file.exists():
            continue
        kept = torch.load(file, weights_only=True)
        which = [i for i, name in enumerate(kept["names"]) if name not in BASELINES and "gamma" not in name]
        shown = [kept["names"][i] for i in which]
        seen: set[int] = set()
        for i, of in enumerate(kept["classes"]):
            if of in seen or len(seen) == most:
                continue
            seen.add(of)
            title = (labels[of] if labels else str(of)) + told
            photo = np.moveaxis(kept["pixels"][i].numpy(), 0, -1)
            panels = [Panel(kept["maps"][i, j].double().numpy(), signed=False) for j in which]
            found.append(Row(title, photo, panels))
    return found, [re.sub("^P-TAME, ", "P-TAME: ", name) for name in shown]


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.picture")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="mobilenet-v2")
    parser.add_argument("--name", help="of the picture; the model's when left out")
    arguments = parser.parse_args()
    drawn, columns = rows(arguments.out, arguments.model)
    picture = contact_sheet(drawn, columns, cell=150, look=Look(), caption=CAPTION)
    file = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    write_atomically(
        ROOT / "docs" / "images" / f"learned-{arguments.name or arguments.model}.png", file.getvalue()
    )


if __name__ == "__main__":
    main()
