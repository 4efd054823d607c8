"""A worker process of the engine `local`: tasks come on stdin, records go to stdout."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import IO

from seewhy.errors import BadInput, SeeWhyError
from seewhy.runs.frames import read_frame, write_frame
from seewhy.runs.units import Task


def main() -> None:
    """Serve until stdin closes, then end at once: nobody is left to answer to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    inbox, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:  # what others read and print is no task, no record
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    plan, device, allow_code = read_frame(inbox)
    threading.Thread(target=_receive, args=(inbox, tasks), daemon=True).start()
    from seewhy.runs.worker import Worker

    try:
        worker = Worker(plan, allow_code=allow_code, device=device)
    except SeeWhyError as error:
        parts = [error.asked, error.found, error.do] if isinstance(error, BadInput) else str(error)
        write_frame(out, ("refused", parts))
        sys.exit(error.exit_code)
    write_frame(out, "ready")
    while True:
        for record in worker.work(tasks.get()):
            write_frame(out, record)
        write_frame(out, "done")


def _receive(pipe: IO[bytes], tasks: queue.SimpleQueue[Task]) -> None:
    try:
        while True:
            tasks.put(read_frame(pipe))
    except EOFError:
        os._exit(1)


if __name__ == "__main__":
    main()
