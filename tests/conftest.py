"""Settings of the whole suite."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import settings

settings.register_profile("seewhy", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("seewhy")


@pytest.fixture(autouse=True, scope="session")
def _one_thread_each() -> None:
    """pytest-xdist already uses the cores; torch's own threads would only fight over them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Automatic precision stays single: tests compare digits, on processors with bf16 units and without."""
    monkeypatch.setattr("seewhy.perturb.calibration._halves", lambda _: ())
