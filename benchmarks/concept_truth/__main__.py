"""Where reliance on something is known, do concepts say how much: `python -m benchmarks.concept_truth`.

Trains sets of five small networks on photos of textures with lettered tags that tell the class more or less
often, measures what each loses when the tags are gone, and asks Visual-TCAV, TCAV and random concepts how
much the tags matter, and how much tags that never tell a class. Writes docs/concept-truth.md and
docs/images/concept-truth.png. Some ten minutes on two quiet cores; --device cuda for more networks.
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
from benchmarks.concept_truth.pictures import plain
from benchmarks.concept_truth.study import Finding, examined
from seewhy.errors import BadInput, SeeWhyError
from seewhy.execution import Execution
from seewhy.files import write_atomically

SEEDS = 10
"""Seeds that a set of networks and pictures has to itself."""
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
    parser.add_argument("--pictures", type=int, default=12000, help="training pictures (12000)")
    parser.add_argument("--steps", type=int, default=400, help="training steps (400)")
    parser.add_argument("--tests", type=int, default=600, help="test pictures (600)")
    parser.add_argument("--seeds", type=int, default=2, help="sets of networks (2)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first set (0)")
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
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            findings = []
            bare = plain(SEEDS * seed, arguments.pictures, training=True)
            for rate in RATES:
                model = trained(rate, bare, arguments.steps, SEEDS * seed, execution)
                finding, result = examined(model, rate, arguments.tests, SEEDS * seed + 2, execution)
                findings.append(finding)
                if seed == arguments.first:
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
