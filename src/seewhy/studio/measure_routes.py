"""Routes about how far maps can be believed: curves of one map, comparisons of methods."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from seewhy.studio import schema
from seewhy.studio.comparing import Comparison
from seewhy.studio.comparisons import missing
from seewhy.studio.jobs import Job
from seewhy.studio.map_routes import stream
from seewhy.studio.outbox import Outbox
from seewhy.studio.refusals import Refused
from seewhy.studio.session import Studio

router = APIRouter(prefix="/api")
_LOOKS = 0.1
"""Seconds between two looks whether the client has left."""


@router.post("/curve")
async def curve(studio: Studio, asked: schema.CurveRequest, request: Request) -> schema.Curve:
    """The curve of deletion or insertion along a map, and its baselines."""
    kept = studio.maps[asked.map]
    job = Job(asked.panel, f"{asked.metric.capitalize()} of {kept.asked.method.title}")
    studio.jobs.add(job.does(partial(studio.curves.begin, kept, asked)))
    if studio.curves.cached(kept, asked) is not None:
        await run_in_threadpool(job.step)
    else:
        kept.asked.network.worker.submit(job)
    ended = asyncio.wrap_future(job.ended)
    try:
        while not (await asyncio.wait({ended}, timeout=_LOOKS))[0]:
            if await request.is_disconnected():
                job.cancel()
    except asyncio.CancelledError:
        job.cancel()
        raise
    if job.error is not None:
        raise Refused(409 if job.superseded else 400, event=job.error)
    assert isinstance(job.result, schema.Curve)
    return job.result


@router.post("/compare", response_class=StreamingResponse)
async def compare(studio: Studio, request: schema.CompareRequest) -> StreamingResponse:
    """Methods by metrics over some photos. A stream of `cells` ..., `agreement`, and `done` or `error`."""
    network = studio.networks[request.model]
    photos = [(name, studio.sources.path(name)) for name in dict.fromkeys(request.images)]
    await network.current()
    comparison = await run_in_threadpool(Comparison, request, network, photos)
    what = f"{len(comparison.methods)} methods on {len(photos)} photos"
    job = Job(request.panel, what, priority=3, outbox=Outbox())
    told = studio.comparisons.told(comparison.key, job)
    if told is not None:
        job.does(lambda _: told)
    elif request.kept:
        job.does(missing)
    else:
        job.does(partial(comparison.begin, studio.explaining, studio.comparisons))
    studio.jobs.add(job)
    if told is not None or request.kept:
        await run_in_threadpool(job.step)  # needs no network
    else:
        network.worker.submit(job)
    return stream(job)
