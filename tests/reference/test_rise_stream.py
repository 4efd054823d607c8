"""RISE watched as it refines: looking changes no bit, and a run that is stopped is a run of fewer masks."""

from __future__ import annotations

import pytest
import torch

import networks
from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.masking.mask_sums import Sums
from seewhy.methods.masking.rise import RISE
from seewhy.models.model import Model

ALWAYS = Execution(batch_size=8, precision="fp32", refresh=1e-9)


def streamed(samples: int, method: RISE, execution: Execution = ALWAYS) -> list[Attribution]:
    x = networks.batch((3, 16, 16), n=samples)
    return list(method.stream(Model(networks.cnn().eval()), x, 1, execution))


def called(samples: int, method: RISE, batch_size: int = 8) -> Attribution:
    x = networks.batch((3, 16, 16), n=samples)
    return method(Model(networks.cnn().eval()), x, 1, Execution(batch_size=batch_size, precision="fp32"))


def done(frame: Attribution) -> int:
    steps: dict[str, int] = frame.provenance["steps"]
    return steps["done"]


@pytest.mark.parametrize("samples", [1, 3])
def test_looking_changes_no_bit_of_the_end(samples: int) -> None:
    frames = streamed(samples, RISE(masks=600))
    assert len(frames) > 20
    assert torch.equal(frames[-1].values, called(samples, RISE(masks=600)).values)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_stopped_run_is_a_run_of_as_many_masks(samples: int) -> None:
    """Below the first look, between two looks, and behind the sums' first settling."""
    frames = streamed(samples, RISE(masks=600))
    assert all(done(f) * samples % 8 == 0 for f in frames), "frames come at the ends of batches"
    for frame in (frames[0], frames[len(frames) // 3], frames[-2]):
        alone = called(samples, RISE(masks=done(frame)))
        assert torch.equal(frame.values, alone.values), done(frame)
        assert [i["reliability"] for i in frame.provenance["inputs"]] == [
            i["reliability"] for i in alone.provenance["inputs"]
        ]


def test_looks_that_settled_the_sums_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def settling(self: Sums) -> Sums:
        self.settle()
        return self

    monkeypatch.setattr(Sums, "snapshot", settling)
    frames = streamed(3, RISE(masks=600))
    assert not torch.equal(frames[-1].values, called(3, RISE(masks=600)).values)


def test_frames_between_looks_settle_nothing() -> None:
    """When a run stops depends on its fixed looks, not on how often somebody watched."""
    method = RISE(masks=2000, stop_at=0.98)
    watched, alone = streamed(2, method)[-1], called(2, method)
    assert torch.equal(watched.values, alone.values)
    assert watched.provenance["inputs"] == alone.provenance["inputs"]
    assert 125 < done(alone) < 2000


def test_without_a_refresh_frames_come_at_fixed_numbers() -> None:
    assert [done(f) for f in streamed(1, RISE(masks=500), Execution(batch_size=8))] == [125, 250, 500]


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_a_refresh_takes_time(seconds: float) -> None:
    with pytest.raises(BadInput, match="Give seconds above 0"):
        Execution(refresh=seconds)
