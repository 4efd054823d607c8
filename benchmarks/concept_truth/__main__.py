"""Where reliance on something is known, do concepts say how much: `python -m benchmarks.concept_truth`.

Trains five small networks on photos of textures with lettered tags that tell the class more or less often,
measures what each loses when the tags are gone, and asks Visual-TCAV, TCAV and random concepts how much the
tags matter. Writes docs/concept-truth.md and docs/images/concept-truth.png. A few minutes on two quiet cores;
--device cuda for more networks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.concept_truth.nets import RATES, trained
from benchmarks.concept_truth.page import page
from benchmarks.concept_truth.picture import picture
from benchmarks.concept_truth.study import Finding, examined
from seewhy.errors import BadInput, SeeWhyError
from seewhy.execution import Execution
from seewhy.files import write_atomically

ROOT = Path(__file__).parents[2]


def report(done: int, total: int, what: str) -> None:
    """Show where the work is, on stderr, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r{what}: {done} of {total:<60}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.concept_truth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pictures", type=int, default=2000, help="training pictures (2000)")
    parser.add_argument("--steps", type=int, default=250, help="training steps (250)")
    parser.add_argument("--tests", type=int, default=300, help="test pictures (300)")
    parser.add_argument("--seeds", type=int, default=1, help="networks of each rate (1)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        if min(arguments.pictures, arguments.tests) < 30 or min(arguments.steps, arguments.seeds) < 1:
            raise BadInput("Asked for a study", "It is too small", "Give at least 30 pictures and tests")
        execution = Execution(progress=report, device=arguments.device)
        studies: list[list[dict[str, Finding]]] = []
        shown = []
        for seed in range(arguments.seeds):
            findings = []
            for rate in RATES:
                model = trained(rate, arguments.pictures, arguments.steps, seed, execution)
                finding, result = examined(model, rate, arguments.tests, execution)
                findings.append(finding)
                if seed == 0:
                    shown.append(result)
                report(1, 1, f"rate {rate:g}, seed {seed}")
            studies.append(findings)
    except SeeWhyError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nStopped; nothing is written.", file=sys.stderr)
        return 130
    words = [f"--{k} {v}" for k, v in vars(arguments).items() if k != "docs" and v != parser.get_default(k)]
    command = " ".join(["python -m benchmarks.concept_truth", *words])
    where = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "processor"
    text = page(studies, command, time.perf_counter() - started, where)
    write_atomically(arguments.docs / "concept-truth.md", text.encode())
    write_atomically(arguments.docs / "images" / "concept-truth.png", picture(studies, shown))
    print(arguments.docs / "concept-truth.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
