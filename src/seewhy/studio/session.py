"""Session: everything that one studio holds while it runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from seewhy.studio.comparisons import Comparisons
from seewhy.studio.curves import Curves
from seewhy.studio.explaining import Explaining
from seewhy.studio.jobs import Jobs
from seewhy.studio.maps import MapCache
from seewhy.studio.networks import Networks
from seewhy.studio.sources import Sources

if TYPE_CHECKING:
    from seewhy.models.model import Model


@dataclass
class Session:
    """Models, photos, jobs and maps of one studio.

    Parameters
    ----------
    folder
        The session's own, readable by the user alone; removed at the end.
    """

    folder: Path
    networks: Networks
    sources: Sources
    jobs: Jobs
    maps: MapCache
    explaining: Explaining
    curves: Curves
    comparisons: Comparisons
    device: str | None = None

    @classmethod
    def open(
        cls,
        models: Sequence[str | Model],
        images: Sequence[Path] = (),
        roots: Sequence[Path] = (),
        *,
        demo: Sequence[tuple[str, Path]] = (),
        device: str | None = None,
    ) -> Session:
        """Begin a session: models begin to load, photos are entered.

        Parameters
        ----------
        models
            Specs or models, at least one.
        images
            Photos and folders of photos to begin with.
        roots
            Folders that may be read.
        demo
            Names and paths of photos for demonstration.
        device
            Where specs are loaded.

        Raises
        ------
        UnreadableInput
            For an image that is no photo.
        """
        folder = Path(tempfile.mkdtemp(prefix="seewhy-studio-"))  # mode 0700
        try:
            maps = MapCache()
            sources = Sources(roots, folder)
            for name, path in demo:
                sources.declare(path, "demo", name)
            for path in images:
                if path.is_dir():
                    sources.open(str(path.resolve()))
                else:
                    sources.declare(path, "folder")
            networks = Networks(list(models), device)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(
            folder, networks, sources, Jobs(), maps, Explaining(maps), Curves(), Comparisons(maps), device
        )

    def close(self) -> None:
        """End the workers and remove the session's folder."""
        self.networks.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _session(request: Request) -> Session:
    return cast(Session, request.app.state.session)


Studio = Annotated[Session, Depends(_session)]
"""The session, as an argument of a route."""
