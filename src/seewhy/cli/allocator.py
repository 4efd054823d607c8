"""Let the C library keep the memory of one batch for the next.

By default glibc hands blocks of more than 32 MB back to the system at once, so that every forward pass asks
for its activations anew and the kernel fills them with zeros, page by page; on two cores that can take longer
than the arithmetic (run `seewhy explain` with MALLOC_TRIM_THRESHOLD_=131072 set to see the difference). It is
a setting of the whole process, so the command line makes it and the library does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of glibc's malloc.h."""


def keep_memory() -> None:
    """Make the setting where the C library is glibc and the user has not made one."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - other C libraries may give these numbers another meaning
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
