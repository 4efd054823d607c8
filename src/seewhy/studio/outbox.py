"""From a worker's thread to one reader in the event loop: of frames that wait only the newest is kept."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from fastapi.concurrency import run_in_threadpool

from seewhy.studio.schema import Message

Made: TypeAlias = Callable[[], Message]


class Outbox:
    """A queue of events, each made when it is read; make it in the event loop of the reader."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Made, bool]] = deque()
        self._closed = False

    def put(self, make: Made, *, replaceable: bool = False) -> None:
        """Add an event, from any thread; a replaceable one takes the place of one before it."""
        with self._lock:
            if self._closed:
                return
            if replaceable and self._waiting and self._waiting[-1][1]:
                self._waiting.pop()
            self._waiting.append((make, replaceable))
        self._wake()

    def close(self) -> None:
        """Say that nothing more will come, from any thread."""
        with self._lock:
            self._closed = True
        self._wake()

    def leave(self) -> None:
        """Say that nobody reads any more: what waits is dropped."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    async def events(self) -> AsyncIterator[Message]:
        """Yield the events until `close`."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while (make := self._next()) is not None:
                yield await run_in_threadpool(make)
            if self._closed and not self._waiting:
                return

    def _next(self) -> Made | None:
        with self._lock:
            return self._waiting.popleft()[0] if self._waiting else None

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its readers with it
            self._loop.call_soon_threadsafe(self._filled.set)


def block(event: Message) -> str:
    """Return an event as a block of a stream of server-sent events."""
    name = getattr(event, "event", "message")
    return f"event: {name}\ndata: {event.model_dump_json()}\n\n"
