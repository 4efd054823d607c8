"""Routes about photos: what is in the session, uploads, folders below the roots, pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from seewhy.studio import schema
from seewhy.studio.refusals import Refused
from seewhy.studio.session import Studio
from seewhy.studio.sources import SIDE

router = APIRouter(prefix="/api")
PathText = Annotated[str, Query(max_length=4096)]


@router.get("/images")
def images(studio: Studio) -> list[schema.ImageEntry]:
    """The photos of the session."""
    return studio.sources.entries()


@router.post("/images")
async def upload(
    studio: Studio, request: Request, name: Annotated[str, Query(max_length=256)] = "photo"
) -> schema.ImageEntry:
    """Add a photo: the body is the content of its file."""
    with tempfile.NamedTemporaryFile(dir=studio.folder, prefix="upload-", delete=False) as file:
        place = Path(file.name)
        try:
            async for chunk in request.stream():
                file.write(chunk)
        except BaseException as error:
            place.unlink(missing_ok=True)
            if isinstance(error, ClientDisconnect):
                raise Refused(400, "Asked to upload a photo", "It was broken off") from error
            raise
    return await run_in_threadpool(studio.sources.keep, place, name)


@router.post("/images/open")
def open_images(studio: Studio, asked: schema.OpenRequest) -> list[schema.ImageEntry]:
    """Add a photo, or the photos of a folder, below the roots."""
    return studio.sources.open(asked.path)


@router.get("/folders")
def folder(studio: Studio, path: PathText = "") -> schema.Folder:
    """What lies in a folder below the roots."""
    return studio.sources.folder(path)


@router.get("/images/{image}/thumbnail", response_class=Response)
def thumbnail(studio: Studio, image: str) -> Response:
    """A small picture."""
    return Response(studio.sources.thumbnail(image), media_type="image/webp", headers=_KEPT)


@router.get("/images/{image}/full", response_class=Response)
def full(studio: Studio, image: str) -> Response:
    """The whole photo, upright, 2048 pixels wide or high at most."""
    return Response(studio.sources.picture(image, SIDE), media_type="image/webp", headers=_KEPT)


_KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""An image's identifier is the hash of its content."""
