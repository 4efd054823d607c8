"""`seewhy benchmark`: plans from flags and files, signals, and what is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Said, paint

Run = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(4):
        paint(photos / f"{i}.png", i)
    return photos


@pytest.fixture
def flags(models: Path, folder: Path) -> list[str]:
    return [
        "benchmark", "--model", f"{models}:tiny", "--data", str(folder),
        "--methods", "gradient,grad_cam?relu=false", "--metrics", "deletion?steps=8",
        "--chunk", "2", "--engine", "here",
    ]  # fmt: skip


def test_prints_the_table(run: Run, flags: list[str], folder: Path, tmp_path: Path) -> None:
    (folder / "4.png").touch()
    said = run(*flags, "--out", tmp_path / "out")
    assert said.code == 0
    for words in (
        "deletion, lower is better",
        "random (baseline)",
        "grad_cam",
        "seconds a sample",
        "5 samples of",
    ):
        assert words in said.out
    assert said.out.rstrip().endswith("leaderboard.html")
    assert "seewhy: 4.png: Asked to read the photo" in said.err
    again = run(*flags, "--out", tmp_path / "out")
    assert again == said


def test_json(run: Run, flags: list[str], tmp_path: Path) -> None:
    said = run(*flags, "--out", tmp_path / "out", "--json", "--skip-unfit", "--seed", 3)
    assert said.code == 0
    content: dict[str, Any] = json.loads(said.out)
    assert content["samples"] == 4
    assert [m["name"] for m in content["methods"]] == ["gradient", "grad_cam", "random", "centre", "edges"]
    assert content["costs"]["grad_cam"]["backward"] == 1
    assert content["failures"] == []
    assert Path(content["leaderboard"]).is_file()
    assert "seed = 3" in (tmp_path / "out" / "plan.toml").read_text()


def test_a_plan_from_a_file_which_flags_override(
    run: Run, models: Path, folder: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'model = "{models}:tiny"\ndata = "{folder}"\n'
        'methods = ["gradient", {name = "grad_cam", label = "mine"}]\n'
        'metrics = [{name = "deletion", steps = 8}]\nsamples = 3\n'
    )
    said = run("benchmark", plan, "--engine", "here", "--out", tmp_path / "out", "--json")
    assert said.code == 2  # the code of a plan is not run unasked
    assert "executed only on the command line's request" in said.err
    told = ["--model", f"{models}:tiny", "--engine", "here", "--out", tmp_path / "out", "--json"]
    said = run("benchmark", plan, "--samples", 2, *told)
    assert said.code == 0, said.err
    content = json.loads(said.out)
    assert content["samples"] == 2
    assert list(content["costs"]) == ["gradient", "mine"]
    said = run("benchmark", plan, *told)
    assert said.code == 2
    assert "Another plan was begun there: samples was 2 and is 3" in said.err
    assert run("benchmark", "--resume", *told).code == 0


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--methods", "grad_cams"], "Did you mean 'grad_cam'"),
        (["--metrics", "pointing_game"], "the data do not say that"),
        (["--engine", "cloud"], "There is no such engine"),
        (["--workers", "2"], "The engine 'here' has none"),
        (["--resume"], "There is none"),
        (["--data", "nowhere"], "no such folder"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(
    run: Run, flags: list[str], tmp_path: Path, extra: list[str], words: str
) -> None:
    given = dict(zip(flags[1::2], flags[2::2], strict=True)) | dict(
        zip(extra[::2], extra[1::2], strict=False)
    )
    said = run(
        "benchmark",
        *(t for pair in given.items() for t in pair),
        *extra[: len(extra) % 2],
        "--out",
        tmp_path / "out",
    )
    assert said.code == 2, said
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_of_a_plan(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('methodes = ["grad_cam"]\n')
    said = run("benchmark", tmp_path / "plan.toml")
    assert (said.code, "Did you mean 'methods'" in said.err) == (2, True)


def listening() -> None:
    """Hear Ctrl-C, as a program in the foreground does; in the background of a shell nobody does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_killed_and_interrupted_it_goes_on(run: Run, flags: list[str], folder: Path, tmp_path: Path) -> None:
    for i in range(4, 24):
        paint(folder / f"{i}.png", i)
    out, total = tmp_path / "out", 12 * (1 + 2 * 2 + 3)
    assert run(*flags, "--out", tmp_path / "whole").code == 0

    def units() -> int:
        return (out / "journal").read_bytes().count(b"\n") if (out / "journal").is_file() else 0

    def session(stop: signal.Signals, least: int) -> tuple[int, str]:
        command = [sys.executable, "-m", "seewhy", *flags, "--out", str(out)]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=listening
        )
        while units() < least and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, stop)
        _, said = process.communicate()
        return process.returncode, said

    assert session(signal.SIGKILL, 2)[0] == -signal.SIGKILL
    code, said = session(signal.SIGINT, units() + 1)
    assert code == 130
    assert "finished units are kept in" in said
    assert "Run the same command to go on" in said
    assert 3 <= units() < total
    assert run(*flags, "--out", out).code == 0
    assert units() == total
    for name in ("results.parquet", "samples.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
