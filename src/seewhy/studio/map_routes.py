"""Routes about maps: making them, stopping, and files of those that were made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from seewhy.inputs.images import read_image
from seewhy.studio import schema
from seewhy.studio.asked import resolved
from seewhy.studio.jobs import Job
from seewhy.studio.maps import content
from seewhy.studio.outbox import Outbox, block
from seewhy.studio.packing import webp
from seewhy.studio.refusals import Missing
from seewhy.studio.session import Studio
from seewhy.studio.sources import SIDE
from seewhy.studio.worker import STREAMED

router = APIRouter(prefix="/api")
SINGLE = 1
"""Priority of what is made at once; it goes before what refines."""
Ending = Literal["safetensors", "json", "png", "npy"]


@router.post("/explain", response_class=StreamingResponse)
async def explain(studio: Studio, request: schema.ExplainRequest) -> StreamingResponse:
    """Make a map. A stream of `price`, `map` ..., and `done` or `error`."""
    network, path = studio.networks[request.model], studio.sources.path(request.image)
    await network.current()
    explainer = request.parameters.get("explainer")
    file = str(studio.sources.inside(str(explainer))) if explainer else None
    asked = await run_in_threadpool(resolved, request, network, path, file)  # the first time it imports much
    what, priority = f"{asked.method.title} of {path.name}", STREAMED if asked.method.streams else SINGLE
    job = Job(request.panel, what, priority, Outbox())
    job.does(partial(studio.explaining.begin, asked, request.resume))
    studio.jobs.add(job)
    if studio.explaining.cached(asked) is not None:
        await run_in_threadpool(job.step)  # needs no network
    else:
        network.worker.submit(job)
    return stream(job)


@router.get("/jobs")
def jobs(studio: Studio) -> list[schema.Job]:
    """What is waiting, running or kept."""
    return studio.jobs.entries()


@router.post("/jobs/{job}/stop", status_code=204)
def stop(studio: Studio, job: str) -> None:
    """End a job soon and keep what there is."""
    _job(studio, job).stop()


@router.delete("/jobs/{job}", status_code=204)
def cancel(studio: Studio, job: str) -> None:
    """End a job within a batch; nothing is kept."""
    _job(studio, job).cancel()


@router.get("/maps/{name}.{ending}", response_class=Response)
def map_file(studio: Studio, name: str, ending: Ending) -> Response:
    """A map as a file."""
    data, kind = content(studio.maps[name], ending)
    headers = {"content-disposition": f'attachment; filename="{name}.{ending}"'}
    return Response(data, media_type=kind, headers=headers)


@router.get("/maps/{name}/photo", response_class=Response)
def map_photo(studio: Studio, name: str) -> Response:
    """The part of the photo that a map is about: a whole multiple of its size, in all detail there is."""
    asked = studio.maps[name].asked
    preprocess = asked.network.model.preprocess
    assert preprocess is not None  # it has read the photo
    picture = preprocess.finely(read_image(asked.path), SIDE).convert("RGB")
    return Response(webp(picture), media_type="image/webp", headers={"cache-control": "no-store"})


def _job(studio: Studio, name: str) -> Job:
    job = studio.jobs.get(name)
    if job is None:
        raise Missing("job", name)
    return job


def stream(job: Job) -> StreamingResponse:
    """Return the events of a job as they come; a client that leaves cancels it."""

    async def blocks() -> AsyncIterator[str]:
        assert job.outbox is not None
        try:
            async for event in job.outbox.events():
                yield block(event)
        finally:
            if not job.ended.done():
                job.cancel()
            job.outbox.leave()

    return StreamingResponse(blocks(), media_type="text/event-stream", headers={"cache-control": "no-store"})
