"""`seewhy studio`: a local page where explanations are seen, probed, compared and doubted."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.options import DEFAULT_MODEL
from seewhy.cli.output import note


def studio(
    *images: Path,
    model: Annotated[list[str] | None, Parameter(name="--model", negative=())] = None,
    run: Annotated[list[Path] | None, Parameter(name="--run", negative=())] = None,
    root: Annotated[list[Path] | None, Parameter(name="--root", negative=())] = None,
    port: int = 0,
    device: str | None = None,
    browser: bool = True,
) -> None:
    """Open the studio: see, probe, compare and doubt explanations in the browser.

    It runs on this machine alone and prints its address first. Without photos it shows the demo's. Needs the
    extra "studio".

    Parameters
    ----------
    images
        Photos, and folders of photos, to begin with.
    model
        Spec of a model, as for `seewhy explain`; may be given several times.
    run
        Folder of a benchmark's run to show; may be given several times.
    root
        Folder whose photos may be opened from the page; may be given several times. By default those of
        the images and runs.
    port
        Where it listens; a free port when left out.
    device
        Where models run: cpu, cuda, cuda:1, mps. The CPU when left out.
    browser
        Open the browser.
    """
    from seewhy.studio import show

    folders = [*(root or ()), *(run or ())]
    specs = model or [DEFAULT_MODEL]
    with show(images, specs, roots=folders, port=port, device=device, browser=False, wait=False) as running:
        from seewhy.studio.lifecycle import tunnel

        print(running.url, flush=True)
        if not running.session.sources.entries():
            note("no demo photos are installed; drop your own on the page")
        if through := tunnel(running.port):
            note(f"to see it on your own machine, run there: {through}")
        note("Ctrl-C ends it")
        if browser and not through:
            running.open()
        with contextlib.suppress(KeyboardInterrupt):
            running.wait()
