"""Starting and ending a studio: its port, its one-time address, its thread."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
import webbrowser
from types import TracebackType

import uvicorn

from seewhy.errors import BadInput, SeeWhyError
from seewhy.studio.app import application
from seewhy.studio.session import Session

HOST = "127.0.0.1"


class Running:
    """A studio that answers at `url` until `close`.

    Parameters
    ----------
    session
        What it shows; ended with it.
    port
        Where to listen; 0 takes a free one.
    """

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self._token = secrets.token_urlsafe(24)
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application(session, self._token),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="seewhy-studio", daemon=True)
        self._failed: BaseException | None = None
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise SeeWhyError(f"The studio's server could not start: {self._failed}")
            time.sleep(0.005)

    @property
    def url(self) -> str:
        """The address, with the token without which nothing is answered."""
        return f"http://{HOST}:{self.port}/?token={self._token}"

    def open(self) -> None:
        """Show it in the user's browser, where there is one."""
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(self.url)

    def wait(self) -> None:
        """Return when it has been closed."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End it: jobs within a batch, then the server; the session's folder is removed."""
        self._server.should_exit = True
        self.session.close()
        self._thread.join(10)
        self._socket.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Running({self.url!r})"

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:
            self._failed = error


def tunnel(port: int) -> str:
    """Return the command that brings the studio to the user's own machine, or "" where this is that one."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return ""
    user = os.environ.get("USER", "USER")
    return f"ssh -N -L {port}:{HOST}:{port} -p {connection[3]} {user}@{connection[2]}"


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise BadInput(
            f"Asked for the port {port}",
            f"It cannot be used: {error}",
            "Leave --port out: a free one is taken",
        ) from error
    listening.listen(128)
    return listening
