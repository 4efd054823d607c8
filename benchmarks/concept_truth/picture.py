"""The study's picture: attribution against truth, and the same tagged photos in every network."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.concept_truth.nets import LAYERS, RATES
from benchmarks.concept_truth.pictures import CLASSES, LETTERS
from benchmarks.concept_truth.study import Finding
from seewhy.concepts import VisualTcavResult
from seewhy.show.colour import Scale
from seewhy.show.drawing import Look, painted
from seewhy.show.lettering import INK, MUTED, beside, framed, paragraph, stack
from seewhy.show.words import number

CELL, LAYER = 128, next(iter(LAYERS))
CAPTION = (
    "Maps: where the network recognises the tag of the class, 1 as in the concept's own images, one scale "
    "for all, at the third convolution. Below each: the tag's attribution to the class, of at most 1. "
    "Networks differ only in how often the tag told the class in training."
)


def picture(studies: Sequence[Sequence[dict[str, Finding]]], results: Sequence[VisualTcavResult]) -> bytes:
    """Return it as PNG."""
    plots = Image.open(io.BytesIO(_plots([[f[LAYER] for f in s] for s in studies]))).convert("RGB")
    heads = beside([paragraph(f"rate {rate:g}", 14, CELL, INK) for rate in RATES], 10)
    rows = [heads]
    for k in range(len(CLASSES)):
        cells = []
        for result in results:
            i = int((result.classes[:, 0] == k).nonzero()[0])
            heat = result.concept_map(i, f"tag {LETTERS[k]}", LAYER).double().numpy()
            photo = np.moveaxis(result.pixels[i].numpy(), 0, -1)
            drawn = painted(photo, heat, Scale(0.0, 1.0), Look(upscale=2, smooth=False, fade=1.0))
            value = float(result.layers[LAYER].attributions[i, 0, k])
            told = paragraph(f"{LETTERS[k]} for {CLASSES[k]}: {number(value)}", 13, CELL, INK)
            cells.append(stack([drawn.resize((CELL, CELL), Image.Resampling.NEAREST), told], 3))
        rows.append(beside(cells, 10))
    table = stack(rows, 8)
    whole = stack([plots, table, paragraph(CAPTION, 13, table.width, MUTED)], 14)
    file = io.BytesIO()
    framed(whole, 14).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def _plots(studies: Sequence[Sequence[Finding]]) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), dpi=100)
    colours = ("#0072b2", "#d55e00", "#009e73")
    for findings in studies:
        for k, name in enumerate(CLASSES):
            first = findings is studies[0]
            drop = [f.drop[k] for f in findings]
            spread = [
                [abs(f.drop[k] - e[k]) for f, e in zip(findings, ends, strict=True)]
                for ends in ([f.drop_low for f in findings], [f.drop_high for f in findings])
            ]
            for axes, value, low, high in (
                (
                    left,
                    [f.visual[k] for f in findings],
                    [f.visual_low[k] for f in findings],
                    [f.visual_high[k] for f in findings],
                ),
                (
                    right,
                    [f.tcav[k] for f in findings],
                    [f.tcav_low[k] for f in findings],
                    [f.tcav_high[k] for f in findings],
                ),
            ):
                up = [np.maximum(0, np.subtract(value, low)), np.maximum(0, np.subtract(high, value))]
                axes.errorbar(
                    drop,
                    value,
                    yerr=up,
                    xerr=spread,
                    fmt="o",
                    ms=5,
                    lw=1,
                    color=colours[k],
                    label=name if first else None,
                )
        chance = [float(torch.tensor(f.random).mean()) for f in findings]
        mean = [float(np.mean(f.drop)) for f in findings]
        control = [float(torch.tensor(f.control).mean()) for f in findings]
        for values, mark, name in ((control, "^", "controls' tags"), (chance, "x", "random concepts")):
            left.plot(mean, values, mark, color="#808080", label=name if findings is studies[0] else None)
    left.set_ylabel("Visual-TCAV: attribution of the tag")
    right.set_ylabel("TCAV score of the tag")
    right.set_ylim(-0.05, 1.08)
    for axes in (left, right):
        axes.set_xlabel("truth: accuracy lost without the tag")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    left.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return file.getvalue()
