"""`seewhy watch`: a video, or a folder of frames, explained frame by frame as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from seewhy.cli.explain import with_parameters
from seewhy.cli.loading import load_model
from seewhy.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_RUN,
    AsJson,
    ModelSpec,
    OutFolder,
    RunOptions,
    TargetText,
)
from seewhy.cli.output import check_writable, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, MissingExtra, UnreadableInput
from seewhy.files import writable_folder

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_METHOD = "ptame"
_OUT = Path("seewhy-watch")


def watch(
    video: Path,
    /,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    method: str = DEFAULT_METHOD,
    target: TargetText = None,
    out: OutFolder = _OUT,
    every: int = 1,
    frames: int | None = None,
    together: int = 8,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
    parameters: Annotated[Any, Parameter(parse=False)] = None,
) -> None:
    """Explain a video or a folder of frames with an image model, and tell how many frames a second.

    Writes one picture a frame, frame-000000.png and so on.

    Parameters
    ----------
    video
        A video file (needs av), or a folder of images in order of name.
    method
        Name of the method; one that answers in one pass, such as ptame, keeps up with video.
    every
        Explain one frame in so many.
    frames
        Stop after so many explained frames.
    together
        Frames explained at once.
    """
    import torch

    from seewhy.inputs.batch import Inputs
    from seewhy.methods import METHODS

    chosen = parameters if parameters is not None else METHODS[method]()
    if min(every, together, frames or 1) < 1:
        raise BadInput("Asked to watch", "Found a number below 1", "Give whole numbers of at least 1")
    pictures = read_frames(video)
    check_writable(out)
    network = load_model(model, run)
    done, explaining, started = 0, 0.0, time.perf_counter()
    with reporting() as report:
        waiting: list[tuple[int, Any]] = []

        def flush() -> None:
            nonlocal done, explaining
            began = time.perf_counter()
            batch = Inputs(torch.cat([x for _, x in waiting]), tuple(f"frame {i}" for i, _ in waiting))
            maps = chosen(network, batch, target, run.execution())
            explaining += time.perf_counter() - began
            folder = writable_folder(out)
            for sample, (index, _) in enumerate(waiting):
                save_png(folder / f"frame-{index:06d}.png", maps.overlay(sample, bar=False))
            done += len(waiting)
            report.item(done, frames or done, f"{done / explaining:.1f} frames/s")
            waiting.clear()

        for index, picture in enumerate(pictures):
            if index % every:
                continue
            waiting.append((index, network.prepare(picture).tensor))
            if len(waiting) == together or (frames is not None and done + len(waiting) >= frames):
                flush()
            if frames is not None and done >= frames:
                break
        if waiting:
            flush()
    whole = time.perf_counter() - started
    answer = {
        "model": network.name,
        "method": chosen.name,
        "frames": done,
        "frames_per_second": done / explaining if done else 0.0,
        "frames_per_second_with_reading_and_writing": done / whole,
        "out": str(out),
    }
    if as_json:
        print_json(answer)
        return
    print_table(
        ("frames", "frames/s", "with reading and writing", "pictures"),
        [(str(done), f"{done / explaining:.1f}", f"{done / whole:.1f}", str(out))],
        title=f"{chosen.title} on {network.name}",
    )


def command(tokens: Sequence[str]) -> Callable[..., None]:
    """Return `watch` with the parameters of the method that the command line names as its flags."""
    return with_parameters(watch, tokens, DEFAULT_METHOD)


def read_frames(video: Path) -> Iterator[Image.Image]:
    """Return the frames of a video file, or of a folder of images in order of name.

    Raises
    ------
    UnreadableInput
        When there is no such file, or a folder without images, or a file that is no video.
    MissingExtra
        When a video is to be read and av is not installed.
    """
    asked = f"Asked to watch {video}"
    if video.is_dir():
        from seewhy.inputs.images import SUFFIXES, read_image

        files = sorted(p for p in video.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise UnreadableInput(
                asked, "There is no image in it", "Give a folder of frames, or a video file"
            )
        return (read_image(file) for file in files)
    if not video.is_file():
        raise UnreadableInput(asked, "There is no such file or folder", "Check the path")
    try:
        import av
    except ImportError as error:
        raise MissingExtra(asked, "av", "pip install 'seewhy[video]'") from error
    try:
        container = av.open(str(video))
        stream = container.streams.video[0]
    except (av.error.FFmpegError, IndexError) as error:
        raise UnreadableInput(asked, "It is no video that can be read", "Give a folder of frames") from error
    return (frame.to_image() for frame in container.decode(stream))
