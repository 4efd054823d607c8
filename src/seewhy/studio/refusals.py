"""Errors as answers: what was asked, what was found, what to do; as a body or a stream's last event."""

from __future__ import annotations

import sys
import traceback

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from seewhy.errors import BadInput, Cancelled, SeeWhyError, UnknownName
from seewhy.studio.schema import ErrorEvent


class Refused(Exception):
    """A request that is refused with a status of its own."""

    def __init__(
        self,
        status: int,
        asked: str = "",
        found: str = "",
        do: str = "",
        *,
        kind: str = "Refused",
        event: ErrorEvent | None = None,
    ) -> None:
        super().__init__(f"{asked}. {found}. {do}")
        self.status = status
        self.event = event or ErrorEvent(kind=kind, asked=asked, found=found, do=do)


class Missing(Refused):
    """Something that was named and is not there."""

    def __init__(self, what: str, name: str, do: str = "") -> None:
        super().__init__(
            404, f"Asked for the {what} {name!r}"[:300], f"There is no such {what}", do, kind="Missing"
        )


def said(error: BaseException, job: str = "", *, superseded: bool = False) -> ErrorEvent:
    """Return an exception as an event; what nobody foresaw is printed on the terminal, too."""
    kind = type(error).__name__
    if isinstance(error, Refused):
        return error.event.model_copy(update={"job": job})
    if isinstance(error, BadInput):
        return ErrorEvent(job=job, kind=kind, asked=error.asked, found=error.found, do=error.do)
    if isinstance(error, Cancelled):
        found = "It was stopped before there was anything to show"
        return ErrorEvent(job=job, kind=kind, asked="", found=found, do="", superseded=superseded)
    if isinstance(error, SeeWhyError):
        return ErrorEvent(job=job, kind=kind, asked="", found=str(error), do="")
    traceback.print_exception(error, file=sys.stderr)
    found = f"{kind}: {error}"[:500]
    do = "This is a fault of the studio; the terminal that runs it shows where"
    return ErrorEvent(job=job, kind=kind, asked="", found=found, do=do)


def refusal(status: int, event: ErrorEvent) -> JSONResponse:
    """Return the body of a refused request."""
    return JSONResponse({"error": event.model_dump(mode="json")}, status)


def speak(app: FastAPI) -> None:
    """Let every refusal of an application have the same form."""

    @app.exception_handler(Refused)
    async def _refused(_request: Request, error: Refused) -> JSONResponse:
        return refusal(error.status, error.event)

    @app.exception_handler(SeeWhyError)
    async def _seewhy(_request: Request, error: SeeWhyError) -> JSONResponse:
        status = 404 if isinstance(error, UnknownName) else 400 if isinstance(error, BadInput) else 500
        return refusal(status, said(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        found = f"{where}: {first['msg']}"[:500] if where else str(first["msg"])[:500]
        event = ErrorEvent(
            kind="BadRequest", asked=f"Asked for {request.url.path}"[:300], found=found, do="Correct it"
        )
        return refusal(422, event)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        asked = f"Asked for {request.url.path}"[:300]
        return refusal(
            error.status_code, ErrorEvent(kind="Failed", asked=asked, found=str(error.detail), do="")
        )

    @app.exception_handler(Exception)
    async def _fault(_request: Request, error: Exception) -> JSONResponse:
        return refusal(500, said(error))
