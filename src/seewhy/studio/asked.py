"""What was asked for: one method on one photo by one model, and how to ask for it elsewhere."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.studio.networks import TWIN_SEED, Network
from seewhy.studio.schema import ExplainRequest

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.methods.base import Method
    from seewhy.models.model import Model


@dataclass(frozen=True)
class Asked:
    """A request with its names resolved."""

    network: Network
    method: Method
    path: Path
    image: str
    target: str | None
    seed: int
    randomised: bool

    def facts(self) -> dict[str, Any]:
        """Return everything that the map's bits follow from."""
        return {
            **model_facts(self.network),
            "image": self.image,
            "method": self.method.name,
            "parameters": self.method.parameters(),
            "target": self.target,
            "seed": self.seed,
            "randomised": self.randomised,
        }

    def after(self, done: int) -> Asked | None:
        """Return what asks for the map after so many steps; None where a method cannot be asked for that."""
        steps = getattr(self.method, "steps_parameter", "")
        return replace(self, method=replace(self.method, **{steps: done})) if steps else None

    def settled(self) -> Asked:
        """Return the same with a class named: the twin is asked about the trained network's answer."""
        if not self.randomised or self.target is not None:
            return self
        found = self.network.model.predict([self.path], 1)[0]
        # A label that is a number would be taken for an index, and the other way round.
        text = [p.label if p.label.strip().lstrip("-").isdigit() else str(p.index) for p in found]
        return replace(self, target=text[0] if text else None)

    def model(self) -> Model:
        """Return the network that is asked: on the worker's thread only."""
        return self.network.twin() if self.randomised else self.network.model


def model_facts(network: Network) -> dict[str, Any]:
    """Return everything about a model that bits follow from."""
    model = network.model
    return {
        "model": model.name,
        "weights": network.weights,
        "preprocess": model.preprocess.to_json() if model.preprocess is not None else None,
    }


def resolved(request: ExplainRequest, network: Network, path: Path, explainer: str | None) -> Asked:
    """Return a request with its method made.

    Raises
    ------
    BadInput
        For unknown methods and parameters, and values out of range.
    """
    from seewhy.methods import METHODS
    from seewhy.studio.describe import values

    cls = METHODS[request.method]
    given = dict(request.parameters)
    if request.layer is not None:
        given["layer"] = request.layer
    if explainer is not None:
        given["explainer"] = explainer
    method = cls.make(**values(cls, given, cls.name))
    target = (request.target or "").strip() or None
    return Asked(network, method, path, request.image, target, request.seed, request.randomised)


# -- elsewhere -------------------------------------------------------------------------------------------


def changed(method: Method) -> dict[str, Any]:
    """Return the parameters that are not the defaults."""
    usual, own = type(method)().parameters(), method.parameters()
    return {key: value for key, value in own.items() if value != usual[key]}


def shell(asked: Asked, attribution: Attribution) -> str:
    """Return the command that makes the map, bit for bit, and writes it to files."""
    if asked.randomised or not asked.network.spec:
        return f"python - <<'END'\n{python(asked, attribution)}END"
    words = ["seewhy", "explain", str(asked.path), "--model", asked.network.spec]
    words += ["--method", asked.method.name]
    for key, value in changed(asked.method).items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [f"--{flag}", str(item)]
    if asked.target is not None:
        words += ["--target", asked.target]
    words += ["--precision", "fp32"]
    if (halved := attribution.provenance.get("batch_halved_to")) is not None:
        words += ["--batch-size", str(halved)]
    words += ["--seed", str(asked.seed)]
    if asked.network.device is not None:
        words += ["--device", asked.network.device]
    return shlex.join(words)


def python(asked: Asked, attribution: Attribution) -> str:
    """Return Python that makes the map, bit for bit."""
    spec, code = asked.network.spec, ".py:" in asked.network.spec
    options: dict[str, Any] = {"target": asked.target} if asked.target is not None else {}
    options |= {"seed": asked.seed, "precision": "fp32"}
    if (halved := attribution.provenance.get("batch_halved_to")) is not None:
        options["batch_size"] = halved
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in changed(asked.method).items()}
    said = "".join(f", {key}={value!r}" for key, value in {**options, **own}.items())
    if not spec:
        load = ["model = ...  # the model that was given to seewhy.studio.show"]
    else:
        where = f", device={asked.network.device!r}" if asked.network.device else ""
        load = [f"model = seewhy.load({spec!r}{', allow_code=True' if code else ''}{where})"]
    lines = ["import seewhy", *load]
    if asked.randomised:
        lines += [
            "from PIL import Image",
            "from seewhy.metrics.sanity.shuffling import Shuffled",
            "height, width = model.input_size() or (224, 224)",
            'grey = model.prepare([Image.new("RGB", (width, height), "grey")]).tensor',
            f"twin = Shuffled.of(model, grey, {TWIN_SEED})",
            "twin.shuffle(range(len(twin.layers)))  # every layer's weights change places",
            "model = twin.model",
        ]
    call = f"seewhy.explain(model, [{str(asked.path)!r}], {asked.method.name!r}{said})"
    return "\n".join([*lines, f"attribution = {call}", 'attribution.save("map")']) + "\n"
