"""`load`: from a spec string to a `Model`.

A spec is a packaged model (`efficientnet-lite0`), `family:NAME` (`timm:resnet18`, `torchvision:r3d_18`,
`hf:ORG/NAME`, `onnx:FILE`) or `FILE.py:FUNCTION`, each with options: `timm:resnet18?pretrained=false&seed=1`.
These options work everywhere; every source may have its own besides:

- `size=192x320` (or `size=256`), `mean=0.5,0.5,0.5`, `std=...`, `resize=256`, `fit=crop|squash|pad|none`,
  `interpolation=bicubic`: change the preprocessing;
- `output=KEY`, `activation=softmax|sigmoid|none`: how the answer is read;
- `probe=FILE.safetensors`: a linear probe on top, see `seewhy.models.probe`;
- `seed=0`: of untrained weights. The global random state is not moved.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args

import torch
from torch import nn

from seewhy.errors import BadInput, SeeWhyError, UnknownName, UnreadableInput, nearest
from seewhy.models.model import Activation, Model
from seewhy.models.preprocessing import Fit, Interpolation, Preprocessing
from seewhy.models.sources.base import FAMILIES, PACKAGED, pair
from seewhy.specs import Options, parse

CODE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")


def load(spec: str, *, allow_code: bool = False, device: torch.device | str | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    spec
        `NAME`, `family:NAME` or `FILE.py:FUNCTION`, with `?key=value&key=value` options; see the module's
        head.
    allow_code
        Let `FILE.py:FUNCTION` execute the file. The command line sets it; anything that takes specs from
        elsewhere (a studio, a plan file) must not.
    device
        Where the weights go; the CPU by default.

    Returns
    -------
    Model
        In evaluation mode.

    Raises
    ------
    UnknownName
        For a model, family or option that does not exist, with suggestions.
    MissingExtra
        When a package is not installed, with the command that installs it.
    BadInput
        For anything else that does not work out: no network, no such file, a bad option.

    Examples
    --------
    >>> import seewhy
    >>> seewhy.load("torchvision:resnet18?pretrained=false").input_size()
    (224, 224)
    """
    head, values = parse(spec)
    options = Options(spec, values)
    with _own_randomness(options.take("seed", 0)):
        model = _build(head, options, allow_code=allow_code)
    _configure(model, options)
    model = _probed(model, options)
    options.done()
    model.name = spec
    model.module.eval()
    if device is not None:
        try:
            model.module.to(device)
        except (RuntimeError, AssertionError) as error:
            raise BadInput(
                f"Asked for {spec} on {device}",
                f"That device cannot be used: {error}",
                "Choose another, such as cpu",
            ) from error
    return model


def as_model(model: Model | nn.Module | str) -> Model:
    """Return the `Model` that a spec string, network or model means."""
    if isinstance(model, Model):
        return model
    return load(model) if isinstance(model, str) else Model(model)


def _build(head: str, options: Options, *, allow_code: bool) -> Model:
    if code := CODE.fullmatch(head):
        return _from_code(Path(code["file"]), code["function"], options, allow_code=allow_code)
    if head in PACKAGED:
        return PACKAGED[head]().load(options)
    family, colon, which = head.partition(":")
    if colon and family in FAMILIES and which:
        return FAMILIES[family]().load(which, options)
    if colon and family not in FAMILIES and len(family) > 1:
        raise UnknownName("model family", family, FAMILIES.names())
    raise _unknown(head)


def _unknown(head: str) -> UnknownName:
    """Say what was probably meant; the families' long lists are fetched only where the short one fails."""
    examples = [FAMILIES[f].example for f in FAMILIES.names()]
    for guess, meant in (
        (head.endswith(".onnx"), f"onnx:{head}"),
        (head.endswith(".py"), f"{head}:FUNCTION"),
        (Path(head).is_dir(), f"hf:{head}"),
    ):
        if guess and head:
            return UnknownName("model", head, [], do=f"Did you mean {meant!r}?")
    if nearest(head, PACKAGED.names()):
        return UnknownName("model", head, PACKAGED.names())
    known = [f"{f}:{name}" for f in FAMILIES.names() for name in FAMILIES[f]().names()]
    close = [k for k in known if head and k.partition(":")[2].casefold() == head.casefold()] or nearest(
        head, known
    )
    if close:
        return UnknownName("model", head, close)
    return UnknownName(
        "model", head, [], do=f"Try {', '.join(PACKAGED.names())}, {', '.join(examples)} or FILE.py:FUNCTION"
    )


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _from_code(file: Path, function: str, options: Options, *, allow_code: bool) -> Model:
    asked = f"Asked for the model that {function} in {file} returns"
    made = made_by_code(file, function, options, asked, allow_code=allow_code)
    if isinstance(made, Model):
        return made
    if not isinstance(made, nn.Module):
        raise BadInput(
            asked, f"It returned {type(made).__name__}", "Return a torch.nn.Module or a seewhy.Model"
        )
    return Model(made)


def made_by_code(file: Path, function: str, options: Options, asked: str, *, allow_code: bool) -> Any:
    """Run a file and return what a function in it returns; options that are not everyone's are its keywords.

    Raises
    ------
    BadInput
        Where code may not be run, or raises.
    UnreadableInput, UnknownName
        For a file or function that is not there.
    """
    if not allow_code:
        raise BadInput(
            asked,
            "Code is executed only on the command line's request",
            "Use `seewhy --model FILE.py:FUNCTION`, or load(spec, allow_code=True) for a file that you trust",
        )
    if not file.is_file():
        raise UnreadableInput(asked, "There is no such file", "Check the path")
    keywords = {k: options.values.pop(k) for k in list(options.values) if k not in _EVERYWHERE}
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)  # as `python FILE.py` does, so that the file can import its neighbours
    try:
        return _run(file, function, keywords, asked)
    finally:
        sys.path.remove(folder)


def _run(file: Path, function: str, keywords: dict[str, Any], asked: str) -> Any:
    # Not by an import: that would leave a cache beside the user's file, and take an old one for a file that
    # was changed within the second.
    code = ModuleType(f"seewhy_model_{file.stem}")
    code.__file__ = str(file)
    sys.modules[code.__name__] = code  # dataclasses look their module up
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), vars(code))
        if not callable(getattr(code, function, None)):
            raise UnknownName(
                "function", function, [k for k, v in vars(code).items() if callable(v) and k[0] != "_"]
            )
        return getattr(code, function)(**keywords)
    except SeeWhyError:
        raise
    except Exception as error:
        raise BadInput(asked, f"It raised {type(error).__name__}: {error}", "Correct the file") from error


_EVERYWHERE = ("size", "mean", "std", "resize", "fit", "interpolation", "output", "activation", "probe")


def _configure(model: Model, options: Options) -> None:
    """Apply the options that work everywhere."""
    changes: dict[str, Any] = {}
    for key in ("mean", "std"):
        if text := options.take(key, ""):
            changes[key] = _numbers(text, options.spec, key)
    for key, allowed in (("fit", get_args(Fit)), ("interpolation", get_args(Interpolation))):
        if text := options.take(key, ""):
            changes[key] = _one_of(key, text, allowed)
    size, resize = options.take("size", ""), options.take("resize", "")
    if size or resize or changes:
        preprocess = model.preprocess or Preprocessing()
        for key in {"mean", "std"} & set(changes):
            if len(changes[key]) == 1:
                changes[key] *= len(preprocess.mean)
        preprocess = preprocess.at(pair(size, options.spec)) if size else preprocess
        if resize:
            wanted = pair(resize, options.spec)
            changes["resize"] = (
                wanted if "x" in resize or changes.get("fit", preprocess.fit) != "crop" else wanted[0]
            )
        model.preprocess = replace(preprocess, **changes)
    if key := options.take("output", ""):
        model.output = int(key) if re.fullmatch(r"-?\d+", key) else key
    if text := options.take("activation", ""):
        model.activation = cast(Activation, _one_of("activation", text, get_args(Activation)))


def _numbers(text: str, spec: str, key: str) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in text.split(","))
    except ValueError as error:
        raise BadInput(
            f"Asked for {spec}", f"The option {key!r} is {text!r}", "Write numbers, such as 0.5,0.5,0.5"
        ) from error


def _one_of(key: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise UnknownName(key, text, allowed)
    return text


def _probed(model: Model, options: Options) -> Model:
    file = options.take("probe", "")
    if not file:
        return model
    from seewhy.models.probe import open_probe

    return open_probe(file, model)
