"""The application: routes, refusals, the page and its assets, behind the guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.types import ASGIApp

from seewhy.bundle import BUNDLE
from seewhy.studio import (
    concept_routes,
    image_routes,
    map_routes,
    measure_routes,
    model_routes,
    runs_routes,
    schema,
)
from seewhy.studio.refusals import Missing, speak
from seewhy.studio.security import Guard
from seewhy.studio.session import Session

ROUTERS = (
    model_routes.router,
    image_routes.router,
    map_routes.router,
    measure_routes.router,
    runs_routes.router,
    concept_routes.router,
)
"""Their modules import torch only when they are asked, so that the first page does not wait for it."""
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SeeWhy studio</title>
<h1>The studio's page has not been built</h1>
<p>This SeeWhy was installed from its sources without the front end. Build it, then load this page again:</p>
<pre>make web</pre>
<p>Wheels of SeeWhy hold it ready-made. The server itself runs.</p></html>"""
_WRONG_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SeeWhy studio</title>
<h1>This address has no valid token</h1>
<p>Open the whole address that <code>seewhy studio</code> printed, with everything behind the question mark.
It is good for as long as that studio runs.</p></html>"""


def application(session: Session, token: str, page: Path | None = None) -> ASGIApp:
    """Return the studio of a session.

    Parameters
    ----------
    session
        What it shows.
    token
        Without which nothing is answered.
    page
        Folder of the built page; by default the one in the package.
    """
    app = described()
    app.state.session = session
    folder = page or BUNDLE / "studio"

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        if not guard.opens(request.scope):
            return HTMLResponse(_WRONG_TOKEN, 403)
        if not (folder / "index.html").is_file():
            return HTMLResponse(_NOT_BUILT)
        return FileResponse(folder / "index.html", headers={"cache-control": "no-store"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204)  # the page brings its own

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        file = folder / "assets" / name
        if file.name != name or not file.is_file():
            raise Missing("file", name)
        return FileResponse(file, headers={"cache-control": "public, max-age=31536000, immutable"})

    guard = Guard(app, token)
    return guard


def described() -> FastAPI:
    """Return the application without a session: what the OpenAPI description is made from."""
    app = FastAPI(title="SeeWhy", version="0", openapi_url=None, docs_url=None, redirect_slashes=False)
    speak(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def openapi() -> dict[str, Any]:
    """Return the description of the routes and of all bodies and events."""
    from pydantic.json_schema import models_json_schema

    description = described().openapi()
    events: list[Any] = [(event, "serialization") for event in schema.described().values()]
    _, definitions = models_json_schema(
        events,
        ref_template="#/components/schemas/{model}",
    )
    schemas = description["components"]["schemas"]
    for name, body in definitions["$defs"].items():
        schemas.setdefault(name, body)
    return description


if __name__ == "__main__":  # python -m seewhy.studio.app > web/openapi.json
    import json

    print(json.dumps(openapi(), indent=1))
