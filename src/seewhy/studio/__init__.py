"""The studio: a local page where a person sees, probes, compares and doubts an explanation.

Here is its server; `web/` at the root of the repository holds its front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seewhy.models.model import Model
    from seewhy.studio.lifecycle import Running

__all__ = ["show"]


def show(
    images: str | Path | Sequence[str | Path] = (),
    model: str | Model | Sequence[str | Model] = "efficientnet-lite0",
    *,
    roots: Sequence[str | Path] = (),
    port: int = 0,
    device: str | None = None,
    browser: bool = True,
    wait: bool = True,
) -> Running:
    """Open the studio from Python.

    Parameters
    ----------
    images
        Photos, and folders of photos, to begin with; without any, those of the demo where they are installed.
    model
        A spec, a `Model`, or several of them.
    roots
        Folders that may be read from the page, besides those among the images: photos, runs, concepts.
    port
        Where it listens, on this machine alone; 0 takes a free port.
    device
        Where specs are loaded; the CPU by default.
    browser
        Whether to open the browser.
    wait
        Whether to return only when it has been closed, or interrupted.

    Returns
    -------
    Running
        With `url` and `close()`; also a context manager.

    Raises
    ------
    MissingExtra
        Where the extra "studio" is not installed.
    BadInput
        For photos, folders or ports that cannot be used.

    Examples
    --------
    >>> import seewhy.studio
    >>> s = seewhy.studio.show("cat.png", wait=False)  # doctest: +SKIP
    >>> s.url  # doctest: +SKIP
    'http://127.0.0.1:40231/?token=...'
    >>> s.close()  # doctest: +SKIP
    """
    import contextlib
    from importlib.util import find_spec
    from threading import Thread

    from seewhy.errors import BadInput, MissingExtra
    from seewhy.extras import optional

    heavy = Thread(target=_import_torch, name="seewhy-torch", daemon=True)
    if all(map(find_spec, ("fastapi", "uvicorn"))):
        heavy.start()
    for package in ("fastapi", "uvicorn"):
        optional(package, package, "Asked for the studio", "pip install 'seewhy[studio]'")
    from seewhy.inputs.photos import demo_photos
    from seewhy.studio.lifecycle import Running
    from seewhy.studio.session import Session

    photos = [Path(p) for p in ([images] if isinstance(images, str | Path) else images)]
    folders = [Path(r) for r in roots]
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"Asked for the folder {folder}", "There is no such folder", "Check the path")
    folders += [p for p in photos if p.is_dir() and p not in folders]
    models: list[Any] = list(model) if isinstance(model, list | tuple) else [model]
    demo: list[tuple[str, Path]] = []
    if not photos:
        with contextlib.suppress(MissingExtra):
            demo = list(demo_photos().items())
    session = Session.open(models, photos, folders, demo=demo, device=device)
    try:
        running = Running(session, port)
        heavy.join()  # a browser would only slow it down
    except BaseException:
        session.close()
        raise
    if browser:
        running.open()
    if wait:
        with running, contextlib.suppress(KeyboardInterrupt):
            running.wait()
    return running


def _import_torch() -> None:
    """Begin with what takes longest, beside the server's own start."""
    import contextlib
    from importlib import import_module

    with contextlib.suppress(Exception):  # loading a model will say what is wrong
        import_module("torch")
