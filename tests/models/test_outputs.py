"""Outputs: the answer is found in whatever a network returns, and replaced without touching the rest."""

from __future__ import annotations

import types
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.models.outputs import pick, swap

ANSWER, OTHER, NEW = torch.ones(2, 3), torch.zeros(2, 5), torch.full((2, 3), 7.0)


@dataclass
class Result:
    name: str
    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class FrozenResult:
    features: Tensor
    logits: Tensor


@dataclass(slots=True)
class SlottedResult:
    logits: Tensor
    features: Tensor


class Plain:
    def __init__(self) -> None:
        self.out, self.more = ANSWER, OTHER


Named = namedtuple("Named", ["features", "logits"])


def model_output() -> Any:
    from transformers.modeling_outputs import ImageClassifierOutput

    return ImageClassifierOutput(loss=None, logits=ANSWER, hidden_states=(OTHER, OTHER))


def encoder_output() -> Any:
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    return BaseModelOutputWithPooling(last_hidden_state=OTHER, pooler_output=ANSWER)


RAW = {
    "tensor": lambda: ANSWER,
    "tuple": lambda: (ANSWER, OTHER),
    "tuple behind none": lambda: (None, ANSWER),
    "list": lambda: [ANSWER, OTHER],
    "dict": lambda: {"features": OTHER, "logits": ANSWER},
    "ordered dict": lambda: OrderedDict(aux=OTHER, out=ANSWER),
    "dict without a usual key": lambda: {"foo": ANSWER, "bar": OTHER},
    "read-only mapping": lambda: types.MappingProxyType({"aux": OTHER, "logits": ANSWER}),
    "named tuple": lambda: Named(OTHER, ANSWER),
    "dataclass": lambda: Result("x", ANSWER, OTHER),
    "frozen dataclass": lambda: FrozenResult(OTHER, ANSWER),
    "dataclass with slots": lambda: SlottedResult(ANSWER, OTHER),
    "object": Plain,
    "torch's own named tuple": lambda: torch.return_types.max((ANSWER, OTHER)),
    "transformers' classifier": model_output,
    "transformers' encoder": encoder_output,
}


@pytest.mark.parametrize("name", RAW)
def test_the_answer_is_found(name: str) -> None:
    assert pick(RAW[name]()) is ANSWER


@pytest.mark.parametrize("name", RAW)
def test_the_answer_is_replaced_in_a_copy(name: str) -> None:
    raw = RAW[name]()
    fresh = swap(raw, NEW)
    assert pick(fresh) is NEW
    assert pick(raw) is ANSWER
    if name not in ("tensor", "read-only mapping"):
        assert type(fresh) is type(raw)
    rest = [v for v in _values(fresh) if v is OTHER]
    assert len(rest) == len([v for v in _values(raw) if v is OTHER])


def test_transformers_outputs_stay_consistent_by_key_and_by_attribute() -> None:
    fresh = swap(model_output(), NEW)
    assert fresh.logits is NEW
    assert fresh["logits"] is NEW
    assert fresh[0] is NEW
    assert fresh.hidden_states == (OTHER, OTHER)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"a": OTHER, "b": ANSWER}, "b"),
        ((OTHER, ANSWER), 1),
        ((OTHER, ANSWER), -1),
        (Named(ANSWER, OTHER), "features"),
        (Named(ANSWER, OTHER), 0),
        (Result("x", OTHER, ANSWER), "features"),
        ({"a": {"b": ANSWER}}, lambda raw: raw["a"]["b"]),
    ],
)
def test_a_key_chooses(raw: Any, key: Any) -> None:
    assert pick(raw, key) is ANSWER


@pytest.mark.parametrize(
    ("raw", "key", "match"),
    [
        (None, None, "NoneType"),
        ({}, None, "dict without it"),
        ({"a": OTHER, "b": 3}, "c", "under 'c'. The model returned dict without it. Known: a"),
        ((ANSWER,), 4, "under 4"),
        ((ANSWER,), -2, "under -2"),
        ({"boxes": [1, 2]}, "boxes", "under 'boxes'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(raw: Any, key: Any, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        pick(raw, key)


def _values(raw: Any) -> list[Any]:
    if isinstance(raw, Tensor):
        return []
    if isinstance(raw, Mapping):
        return list(raw.values())
    if isinstance(raw, tuple | list):
        return list(raw)
    return [getattr(raw, n) for n in ("name", "logits", "features", "out", "more") if hasattr(raw, n)]
