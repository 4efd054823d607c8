"""Networks: the models of a studio, each with its worker; loaded while the page opens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from seewhy.errors import BadInput, SeeWhyError
from seewhy.studio.refusals import Missing, said
from seewhy.studio.schema import ModelState
from seewhy.studio.worker import Worker

if TYPE_CHECKING:
    from seewhy.models.model import Model

T = TypeVar("T")

_TIMED, _TIMING = 4, 0.12
"""Inputs of the pass that is timed, and seconds after which no other one is."""
SETTLED = 1.0
"""Seconds after loading in which what a page asks for first goes before timing."""
LEARNT = 32
"""Passes from which a run says how fast the machine is."""
TWIN_SEED = 0
"""Of the order in which the weights of the sanity twin change places."""


class Network:
    """One model: its state, its worker, and its twin with randomised weights.

    Parameters
    ----------
    name
        Its place in the list: "0", "1" ...
    source
        The spec that the user wrote, or a model that is at hand.
    device
        Where it runs; None: where it is, the CPU for specs.
    """

    def __init__(self, name: str, source: str | Model, device: str | None = None) -> None:
        self.name, self.device = name, device
        self.spec = source if isinstance(source, str) else ""
        self._source = source
        self.worker = Worker(f"model-{name}")
        self.rate: float | None = None
        """Forward passes a second."""
        self.weights = ""
        """Hash of the model's weights."""
        self.error: SeeWhyError | None = None
        self._model: Model | None = None
        self._twin: Model | None = None
        self._loading: Future[None] = self.worker.call(self._load)

    def state(self) -> ModelState:
        """Return what the page says of it."""
        facts: dict[str, Any] = {}
        if self._model is not None:
            size = self._model.input_size()
            labels = self._model.labels
            facts = {
                "classes": len(labels) if labels is not None else None,
                "input_size": list(size) if size is not None else None,
                "differentiable": self._model.differentiable,
            }
        return ModelState(
            id=self.name,
            spec=self.spec,
            name=self._model.name if self._model is not None else self.spec,
            state="failed" if self.error else "loading" if self._model is None else "ready",
            error=str(self.error or ""),
            passes_per_second=self.rate,
            **facts,
        )

    @property
    def model(self) -> Model:
        """The model; only where it is ready."""
        assert self._model is not None
        return self._model

    async def ready(self) -> Model:
        """Return the model once it is loaded.

        Raises
        ------
        SeeWhyError
            Why it could not be loaded.
        """
        await asyncio.shield(asyncio.wrap_future(self._loading))
        if self.error is not None:
            raise self.error
        return self.model

    def timed(self) -> None:
        """Measure the rate, unless a run has told it. On the worker's thread only."""
        if self.rate is None:
            with contextlib.suppress(Exception):  # prices are a service; what is wrong will be said on asking
                self.rate = passes_per_second(self.model)

    def learn(self, passes: float, seconds: float) -> None:
        """Let the rate follow what a run of many passes took."""
        if passes >= LEARNT and seconds > 0:
            found = passes / seconds
            self.rate = found if self.rate is None else (self.rate + found) / 2

    async def current(self) -> None:
        """Wait until the model is loaded, and look again at weights that are in the user's own hands."""
        model = await self.ready()
        if not self.spec:
            self.weights = await self.call(lambda _: model.weights_hash)

    async def call(self, function: Callable[[Model], T], priority: int = 0) -> T:
        """Return what a function makes of the model, called on its thread before everything that may wait."""
        model = await self.ready()
        return await asyncio.wrap_future(self.worker.call(lambda: function(model), priority))

    def twin(self) -> Model:
        """Return the copy whose weights have all changed places; made once. On the worker's thread only."""
        if self._twin is None:
            from seewhy.metrics.sanity.shuffling import Shuffled

            shuffled = Shuffled.of(self.model, probe(self.model), TWIN_SEED)
            shuffled.shuffle(range(len(shuffled.layers)))
            self._twin = shuffled.model
        return self._twin

    def _load(self) -> None:
        """Load the model. On the worker's thread; torch is first imported here."""
        try:
            from seewhy.models.loading import load
            from seewhy.models.model import Model

            threading.Thread(target=_read_methods, name="seewhy-methods", daemon=True).start()
            if isinstance(self._source, Model):
                model = self._source
            else:
                with contextlib.redirect_stdout(sys.stderr):  # what a model's own code prints is no result
                    model = load(self._source, allow_code=True, device=self.device)
            if (model.input_size() or (0, 0))[2:]:
                raise BadInput(
                    f"Asked to show {model.name} in the studio",
                    "It takes clips",
                    "Use `seewhy watch` for videos",
                )
            self.weights = model.weights_hash
            self._model = model
            self.worker.call(partial(_find_default, model))  # the first map needs it
            later = threading.Timer(SETTLED, self.worker.call, (self.timed, 9))  # when there is time
            later.daemon = True
            later.start()
        except Exception as error:
            if isinstance(error, SeeWhyError):
                self.error = error
            else:
                self.error = SeeWhyError(said(error).found)
        except BaseException as error:  # sys.exit in a model's file must not end the worker
            self.error = SeeWhyError(f"Loading it raised {type(error).__name__}")


class Networks:
    """The models of a session, by name."""

    def __init__(self, sources: list[str | Model], device: str | None = None) -> None:
        self._all = {str(i): Network(str(i), source, device) for i, source in enumerate(sources)}

    def __getitem__(self, name: str) -> Network:
        if name not in self._all:
            raise Missing("model", name, f"Known: {', '.join(self._all)}")
        return self._all[name]

    def states(self) -> list[ModelState]:
        """Return the states of all."""
        return [n.state() for n in self._all.values()]

    def close(self) -> None:
        """End all workers."""
        for network in self._all.values():
            network.worker.close()


def _read_methods() -> None:
    """Import the methods beside what a worker does: the page asks for their list, and then for a map."""
    with contextlib.suppress(Exception):  # who asks for them will be told
        import_module("seewhy.methods")
        import_module("seewhy.studio.describe")


def _find_default(model: Model) -> None:
    """Find the layer that is looked at when none is named, which is kept with the model."""
    from seewhy.models.layers import default_layer

    with contextlib.suppress(SeeWhyError):  # who asks for a map will be told
        default_layer(model, tuple(probe(model).shape[1:]))


def probe(model: Model) -> Any:
    """Return one grey input of the size that the model takes (224 x 224 where it takes any)."""
    from PIL import Image

    height, width = (model.input_size() or (224, 224))[-2:]
    return model.prepare([Image.new("RGB", (width, height), "grey")]).tensor


def passes_per_second(model: Model) -> float:
    """Return how many inputs go forward in a second: the best of at most three times within `_TIMING`."""
    import torch

    x = probe(model)
    with model.untouched(), torch.inference_mode():
        model.answer(x)  # the first one takes longer
        batch = x.expand(_TIMED, *x.shape[1:]).contiguous()
        seconds: list[float] = []
        while not seconds or (len(seconds) < 3 and sum(seconds) < _TIMING):
            started = time.perf_counter()
            model.answer(batch).output.cpu()
            seconds.append(time.perf_counter() - started)
    return _TIMED / min(seconds)
