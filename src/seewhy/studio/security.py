"""Who may ask, and how much: before a request comes to a route.

The studio listens on the loopback address alone, where every page in the user's browser and every user of the
machine can reach it. So each request must name this machine as its host (against names that are rebound to
127.0.0.1), come from the studio's own page or from no page at all, carry the token of the session, and be of
a bounded size, which is told before it is read.
"""

from __future__ import annotations

import hmac
import time
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seewhy.studio.refusals import refusal
from seewhy.studio.schema import ErrorEvent
from seewhy.studio.sources import MAX_UPLOAD

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY = 1_000_000
"""Bytes of a body that is no photo."""
UPLOADS = frozenset({"/api/images"})
_DRAINED = 3.0
"""Seconds for which the rest of a refused body is thrown away, so that the sender hears the refusal."""
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Refuses what must not reach the application; adds headers to everything that leaves it.

    Parameters
    ----------
    app
        What is guarded.
    token
        Of the session.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return
        send = _with_headers(send)
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if (refused := self.refused(scope, headers)) is not None:
            status, found, do = refused
            await _refuse(scope, receive, send, status, found, do)
            return
        limit = MAX_UPLOAD if scope["path"] in UPLOADS and scope["method"] == "POST" else MAX_BODY
        await _bounded(self.app, scope, receive, send, headers, limit)

    def refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, str] | None:
        """Return the status, reason and advice of a refusal, or None for what may pass."""
        if not _is_here(headers.get("host", "")):
            return 403, "It was asked under another name than this machine's", "Open the address it printed"
        path, method = scope["path"], scope["method"]
        page = not path.startswith("/api/")
        if page and method not in ("GET", "HEAD"):
            return 405, "Pages are only read", ""
        if not page:
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "Another site's page asked", ""
            if (origin := headers.get("origin")) is not None and not _same(origin, headers["host"]):
                return 403, "Another site's page asked", ""
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.casefold() != "bearer" or not self._is_token(given.strip()):
                return 401, "The token is missing or wrong", "Open the address that `seewhy studio` printed"
        return None

    def opens(self, scope: Scope) -> bool:
        """Whether the address of a page carries the token."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return self._is_token(given[0])

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine; the port may be that of a tunnel."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.casefold() in HOSTS


def _same(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.netloc.casefold() == host.casefold()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {k.lower() for k, _ in message.get("headers", [])}
            added = {**HEADERS, "cache-control": "no-store"}
            message["headers"] = [
                *message.get("headers", []),
                *((k.encode(), v.encode()) for k, v in added.items() if k.encode() not in own),
            ]
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, found: str, do: str = "") -> None:
    event = ErrorEvent(kind="Refused", asked=f"Asked for {scope['path']}"[:300], found=found, do=do)
    response = refusal(status, event)
    response.headers["connection"] = "close"
    await send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    until = time.monotonic() + _DRAINED
    while time.monotonic() < until:  # a sender that meets a closed door never reads what is written on it
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    await send({"type": "http.response.body", "body": b""})


async def _bounded(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, headers: dict[str, str], limit: int
) -> None:
    """Run the application on at most `limit` bytes; a longer one is refused, unread where it says so."""
    found = f"It is larger than {limit / 1e6:.0f} MB"
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > limit:
        await _refuse(scope, receive, send, 413, found, "Make it smaller first")
        return
    read, over, begun = 0, False, False

    async def receiving() -> Message:
        nonlocal read, over
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            over = True
            return {"type": "http.disconnect"}
        return message

    async def sending(message: Message) -> None:
        nonlocal begun
        begun = begun or not over
        if not over or begun:
            await send(message)

    try:
        await app(scope, receiving, sending)
    except Exception:
        if not over:
            raise
    if over and not begun:
        await _refuse(scope, receive, send, 413, found, "Make it smaller first")
