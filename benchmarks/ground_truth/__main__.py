"""Where the evidence is known, do maps find it: `python -m benchmarks.ground_truth [--stamps DIR]`.

Asks every method that fits about pictures whose evidence is known, writes docs/ground-truth.md and
docs/images/ground-truth.png. Finished cells are kept in out/ground-truth: stop it at any time (Ctrl-C) and
start it again to go on. Half an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.ground_truth.nets import RECIPES
from benchmarks.ground_truth.page import Result, page
from benchmarks.ground_truth.picture import picture
from benchmarks.ground_truth.settings import NETWORKS, Setting, composites, synthetic
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from benchmarks.ground_truth.study import Cells, baselines
from seewhy.errors import BadInput, SeeWhyError
from seewhy.files import write_atomically
from seewhy.methods.base import METHODS

ROOT = Path(__file__).parents[2]


def report(text: str) -> None:
    """Show where the work is, on stderr: over the last line on a terminal, as lines elsewhere."""
    terminal = sys.stderr.isatty()
    print(f"\r{text:<100}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def _progress(title: str, done: int, total: int, method: str) -> None:
    report(f"{title}: {method}, {done} of {total}")


def settings(arguments: argparse.Namespace, out: Path) -> Iterator[Setting]:
    """Yield the settings of the study in order."""
    for recipe in RECIPES:
        if arguments.so_far and not (out / f"{recipe.name}.json").exists():
            continue
        yield synthetic(recipe, arguments.synthetic_samples, out)
    for name in NETWORKS:
        for objects in (1, 2):
            if arguments.so_far and not (out / f"{name}-{objects}.json").exists():
                continue
            yield composites(name, objects, arguments.samples, arguments.stamps, report)


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ground_truth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stamps", type=Path, default=DEFAULT, help=f"Tux Paint's stamps ({DEFAULT})")
    parser.add_argument("--methods", default="", help="comma-separated; all without it")
    parser.add_argument("--samples", type=int, default=48, help="questions a kind of composite (48)")
    parser.add_argument("--synthetic-samples", type=int, default=100, help="synthetic pictures (100)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "ground-truth", help="where cells are kept"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    parser.add_argument("--so-far", action="store_true", help="measure nothing: a page of what is finished")
    arguments = parser.parse_args()
    try:
        names = [n for n in arguments.methods.split(",") if n] or METHODS.names()
        for name in names:
            METHODS[name]  # an unknown name is said now, not in half an hour
        if min(arguments.samples, arguments.synthetic_samples) < 2:
            raise BadInput("Asked for samples", "Found fewer than 2", "Give at least 2: one has no interval")
        read_stamps(arguments.stamps)
        results = []
        for setting in settings(arguments, arguments.out):
            cells = Cells(arguments.out / f"{setting.key}.json", setting)
            step = None if arguments.so_far else partial(_progress, setting.title)
            found = {name: cells.get(name, step) for name in names}
            results.append(Result(setting, {n: c for n, c in found.items() if c}, baselines(setting)))
        if not results:
            raise BadInput(
                "Asked for what is finished", f"Nothing is in {arguments.out}", "Leave --so-far out"
            )
        report("drawing")
        shown = " ".join(["python -m benchmarks.ground_truth", *_own_words(arguments)])
        drawn = picture([r.setting for r in results if r.setting.key in {recipe.name for recipe in RECIPES}])
        write_atomically(arguments.docs / "ground-truth.md", page(results, shown).encode())
        write_atomically(arguments.docs / "images" / "ground-truth.png", drawn)
    except SeeWhyError as error:
        print(f"\n{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\nStopped. What is finished is kept in {arguments.out}.", file=sys.stderr)
        return 130
    print(arguments.docs / "ground-truth.md")
    return 0


def _own_words(arguments: argparse.Namespace) -> list[str]:
    """Return the options that change what is found, without the places of this machine."""
    words = ["--stamps DIR"] if arguments.stamps != DEFAULT else []
    words += [f"--methods {arguments.methods}"] if arguments.methods else []
    words += [f"--samples {arguments.samples}"] if arguments.samples != 48 else []
    if arguments.synthetic_samples != 100:
        words.append(f"--synthetic-samples {arguments.synthetic_samples}")
    return words


if __name__ == "__main__":
    sys.exit(main())
