"""Kill a benchmark again and again: does its table come out the same: `python -m benchmarks.interruptions`.

Runs one plan twice on the same photos, among them a damaged, an empty and a huge one: once in peace, once
killed by signal 9 at random moments (and one of its workers, too) and taken up again. Then compares the files
of the two runs byte for byte, and counts units that were lost or done twice.

The photos are those of Debian's package opencv-doc, or of any folder with 50 or more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import torch

from seewhy.errors import BadInput, SeeWhyError
from seewhy.inputs.datasets.folder import Folder
from seewhy.perturb.counters import uniform
from seewhy.runs.journal import Journal
from seewhy.runs.plan import Plan
from seewhy.runs.study import open_study

DEFAULT = Path("/usr/share/doc/opencv-doc/examples/data")
PLAN = Plan.make(
    model="efficientnet-lite0",
    data="photos",
    methods="gradient,input_x_gradient,grad_cam,hires_cam,layer_cam,eigen_cam,"
    "integrated_gradients?steps=4,occlusion?window=112&stride=56",
    metrics="deletion?steps=4,insertion?steps=4,pixel_flipping?patch=56&steps=4,average_drop,"
    "increase_in_confidence,adcc,infidelity?draws=4,sensitivity_n?sizes=2&subsets=3&patch=56",
    chunk=4,
)


def huge_png() -> bytes:
    """Return a PNG of a few bytes that says it holds 60,000 x 60,000 pixels."""

    def block(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", b"") + block(b"IEND", b"")


def gather(source: Path, folder: Path, count: int) -> None:
    """Copy photos, and put three broken ones between them.

    Raises
    ------
    BadInput
        When there are too few.
    """
    photos = Folder.open(str(source))
    if len(photos) < count:
        raise BadInput(
            f"Asked for {count} photos in {source}",
            f"There are {len(photos)}",
            "Install them with `apt-get install opencv-doc`, or name a folder with --photos",
        )
    folder.mkdir(parents=True)
    for i in range(count):
        name = Path(photos.name(i))
        shutil.copy(source / name, folder / f"{i:03d}-{name.name}")
    sound = (folder / f"{0:03d}-{Path(photos.name(0)).name}").read_bytes()
    (folder / "010-corrupt.jpg").write_bytes(sound[: len(sound) // 3])
    (folder / "020-empty.jpg").touch()
    (folder / "030-huge.png").write_bytes(huge_png())


class Session:
    """One `seewhy benchmark` of the plan into a folder."""

    def __init__(self, plan: Path, out: Path, workers: int) -> None:
        self.out = out
        command = [sys.executable, "-m", "seewhy", "benchmark", str(plan), "--out", str(out)]
        command += ["--workers", str(workers), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=plan.parent)

    def units(self) -> int:
        """Return how many lines the journal has."""
        journal = self.out / "journal"
        return journal.read_bytes().count(b"\n") if journal.is_file() else 0

    def until(self, units: int) -> bool:
        """Wait for so many units; return False when the run ended before."""
        while self.units() < units:
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def workers(self) -> list[int]:
        """Return the process numbers of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill(self) -> list[int]:
        """Kill the run; return the workers that it had."""
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        return workers

    def end(self) -> None:
        """Wait for the end.

        Raises
        ------
        SeeWhyError
            When it failed.
        """
        if self.process.wait() != 0:
            raise SeeWhyError(f"The run in {self.out} ended with status {self.process.returncode}.")


def _gone(pids: list[int]) -> float:
    """Return the seconds until none of these processes runs.

    Raises
    ------
    SeeWhyError
        When that takes more than a minute.
    """
    started = time.perf_counter()
    while any(_runs(pid) for pid in pids):
        if time.perf_counter() - started > 60:
            raise SeeWhyError("Workers outlived the run that they worked for.")
        time.sleep(0.1)
    return time.perf_counter() - started


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended may still have an entry."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def interrupted(plan: Path, out: Path, workers: int, kills: int, total: int, seed: int) -> None:
    """Run the plan to its end, killed `kills` times on the way."""
    moments = uniform(seed, torch.arange(kills), 2)
    before = 0
    for i in range(kills):
        session = Session(plan, out, workers)
        share = 2 * (total - before) / (kills - i + 1)
        if not session.until(before + int(moments[i, 0] * share)):
            raise SeeWhyError("The run was over before all kills: take fewer kills, or more photos.")
        time.sleep(float(moments[i, 1]))
        if i == kills // 2 and session.workers():  # this time a worker first
            os.kill(session.workers()[0], signal.SIGKILL)
            session.until(session.units() + 3)
        left = session.kill()
        before = session.units()
        print(
            f"kill {i + 1} after {before} of {total} units; its workers were gone {_gone(left):.1f} s later"
        )
    Session(plan, out, workers).end()


def main() -> int:
    """Run the trial; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interruptions", description=__doc__)
    parser.add_argument("--photos", type=Path, default=DEFAULT, help=f"folder of photos ({DEFAULT})")
    parser.add_argument("--count", type=int, default=50, help="photos (50)")
    parser.add_argument("--kills", type=int, default=10, help="kills (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--workers", type=int, default=2, help="workers of the interrupted run (2)")
    parser.add_argument("--out", type=Path, default=Path("out/interruptions"), help="emptied first")
    arguments = parser.parse_args()
    try:
        out = arguments.out.resolve()
        shutil.rmtree(out, ignore_errors=True)
        gather(arguments.photos, out / "photos", arguments.count)
        plan = out / "plan.toml"
        plan.write_text(PLAN.to_toml())
        started = time.perf_counter()
        Session(plan, out / "peace", 2).end()
        print(f"uninterrupted: {time.perf_counter() - started:.0f} s")
        total = len(Journal(out / "peace" / "journal"))
        started = time.perf_counter()
        interrupted(plan, out / "killed", arguments.workers, arguments.kills, total, arguments.seed)
        print(f"killed {arguments.kills} times: {time.perf_counter() - started:.0f} s")
        same = True
        for name in ("results.parquet", "samples.parquet"):
            equal = (out / "peace" / name).read_bytes() == (out / "killed" / name).read_bytes()
            print(f"{name}: {'the same, byte for byte' if equal else 'DIFFERENT'}")
            same = same and equal
        lines = Counter(Journal(out / "killed" / "journal").places)
        written = (out / "killed" / "journal").read_bytes().count(b"\n")
        print(f"units: {total}; recorded: {len(lines)}; lines of the journal: {written}")
        study = open_study(out / "killed")
        for failure in study.failures:
            print(f"{failure.sample} {failure.method} {failure.metric}: {failure.message}")
        print(study.table)
    except SeeWhyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if same and written == total == len(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
