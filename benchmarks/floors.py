"""Floors: the bare passes that a task needs, in the best batch, and nothing else."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contest import best_batch

SIZES = {"cpu": (2, 4, 8, 16, 32), "cuda": (256, 512, 1024)}


class Floor:
    """Bare forward passes of a network in one precision.

    Parameters
    ----------
    net
        The network, on its device.
    x
        `(1, c, h, w)`.
    precision
        "fp32" leaves the network as it is; "fp16" and "bf16" copy it to half precision, channels last.
    compiled
        Through `torch.compile`.
    sizes
        Batch sizes to choose the fastest from.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        precision: str = "fp32",
        *,
        compiled: bool = False,
        sizes: tuple[int, ...] | None = None,
    ) -> None:
        self.net: Any = net
        self.x, self.precision = x, precision
        if precision != "fp32":
            dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
            self.net = copy.deepcopy(net).to(dtype).to(memory_format=torch.channels_last)
            self.x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        if compiled:
            self.net = torch.compile(self.net, dynamic=False)
        self.batch = best_batch(self._speed, sizes or SIZES[x.device.type])
        self.name = f"floor: bare forward, {precision}{', compiled' if compiled else ''}, batch {self.batch}"

    def _speed(self, batch: int) -> float:
        passes = max(batch, 32 if self.x.device.type == "cpu" else 2048)
        self.work(batch, batch)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            self.work(passes, batch)
            seconds.append(time.perf_counter() - start)
        return passes / min(seconds)

    def work(self, passes: int, batch: int | None = None) -> None:
        """Make so many passes."""
        batch = batch or self.batch
        copies = self.x.expand(batch, -1, -1, -1)
        copies = copies.contiguous(
            memory_format=torch.contiguous_format if self.precision == "fp32" else torch.channels_last
        )
        with torch.inference_mode():
            for start in range(0, passes, batch):
                self.net(copies[: min(batch, passes - start)])
        if self.x.is_cuda:
            torch.cuda.synchronize()
