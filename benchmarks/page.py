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
    "h100": "python -m benchmarks --device cuda --repeats 3 --no-exact",
}
HEAD = """<!-- Written by `python -m benchmarks.page` from benchmarks/records. -->

# How fast, and compared with what

Everyone at one task was timed in one run, in turn, on one machine. **x floor** is the time over that of
the bare passes in the first line of a task: the network alone, in the best batch, in the stated precision,
nothing else. SeeWhy's time is that of the whole call, from the input to the finished result on the host; what
a model's first long run costs once (a trial of precisions, or compiling) is not in it and is said in the
result. Where two claim the same map, the run fails unless they agree.

SeeWhy can be faster than the floor: on processors it works with a copy of the network whose batch
normalisation is folded into the convolutions, and these are packed: oneDNN has their weights in its own
order, and adds shortcuts and rectifies while it writes. Scores, the first passes of class activation maps of
4 inputs and more, and methods that take many gradients of an input use it; residual blocks of plain
convolutions take these gradients back in bf16, behind a pass in single precision. On accelerators
convolutions of the copy add the bias and the shortcut and rectify in their own kernel (cuDNN), where a
network has these: RISE on ResNet-50 then takes about half the time of the bare half precision passes, and
less than the compiled ones, so that such copies are not compiled. Occlusion of large convolutional networks
on processors recomputes only what a window changes; the title of a task then says how many multiply-adds
that saves. `resnet50` and `vit_b16` are untrained; on the processor the scores of `resnet50` hardly react
to small windows, so that automatic precision stays single there, and the line "as asked" shows what half
precision would take; class activation maps are never made in half precision unless asked for. Its rows of
RISE, Score-CAM and Grad-CAM were taken with `--models resnet50 --half bf16`, the others without `--half`.
Peers run with torch's default TensorFloat-32 on accelerators.

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
