"""Write docs/speed.md and its pictures from the records in benchmarks/records: `python -m benchmarks.page`.

A record is the JSON that `python -m benchmarks --out FOLDER` writes, kept under the name of its machine.
Rows of single tasks may be taken again (`--tasks`) and replaced.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import report

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
COMMANDS = {
    "cpu": "python -m benchmarks --repeats 3",
    "h100": "python -m benchmarks --device cuda --repeats 5 --no-exact",
}
HEAD = """<!-- Written by `python -m benchmarks.page` from benchmarks/records. -->

# How fast, and compared with what

Everyone at one task was timed in one run, in turn, on one machine. **x floor** is the time over that of
the bare passes in the first line of a task: the network alone, in the best batch, in the stated precision,
nothing else. SeeWhy's time is that of the whole call, from the input to the finished result on the host; what
a model's first long run costs once (a trial of precisions, or compiling) is not in it and is said in the
result. Where two claim the same map, the run fails unless they agree.

SeeWhy can be faster than the floor: it works with a copy of the network whose batch normalisation is folded
into the convolutions, and these are packed: kernels of oneDNN (processors) and cuDNN (accelerators) add the
bias and the shortcut and rectify while they write, as far as a network has these and the library knows the
rectifier. Scores, methods that take many gradients of an input and first passes of class activation maps
use such copies, on processors those of 4 inputs and more; there residual blocks of plain convolutions take
gradients back in bf16, behind a pass in single precision. RISE on ResNet-50 takes about half the time of
the bare half precision passes on an accelerator, and less than the compiled ones, so that such copies are
not compiled. Class activation maps and integrated gradients of few inputs are as fast there as the host
launches kernels, which differs from machine to machine and from call to call. Occlusion of large
convolutional networks on processors recomputes only what a window changes; the title of a task then says
how many multiply-adds that saves. `resnet50` and `vit_b16` are untrained; on the processor the scores of
`resnet50` hardly react to small windows, so that automatic precision stays single there, and the line "as
asked" shows what half precision would take; class activation maps are never made in half precision unless
asked for. Its rows of RISE, Score-CAM and Grad-CAM were taken with `--models resnet50 --half bf16`, the
others without `--half`.
Everybody runs with torch's default TensorFloat-32 on accelerators: maps of the copy are as far from single
precision as the network's own are then (`python -m benchmarks.tensor_float`).

"""


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    for file in ((HERE / "records" / f"{machine}.json") for machine in COMMANDS):
        record = json.loads(file.read_text())
        picture = DOCS / "images" / f"speed-{file.stem}.png"
        report.plot(record["results"], record["about"], picture)
        parts.append(f"## {record['about'].split(';')[0]}\n\n`{COMMANDS[file.stem]}`: {record['about']}\n\n")
        parts.append(f"![Speed as a part of bare passes](images/{picture.name})\n\n")
        for model, rows in record["results"].items():
            parts.append(f"### {model}\n\n{report.table(rows)}\n")
    (DOCS / "speed.md").write_text("".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    main()
