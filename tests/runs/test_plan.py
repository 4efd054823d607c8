"""Plans: from flags, keywords and TOML, and back, with one hash."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.methods import METHODS
from seewhy.runs import Choice, Plan

USUAL: dict[str, Any] = {
    "model": "efficientnet-lite0",
    "data": "photos",
    "methods": "rise",
    "metrics": "road",
}

values = st.one_of(
    st.integers(-5, 5),
    st.floats(0.001, 10),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
)
choices = st.builds(
    lambda name, parameters: {"name": name, **parameters},
    st.sampled_from(["rise", "grad_cam", "occlusion"]),
    st.dictionaries(st.sampled_from(["masks", "p", "window"]), values, max_size=3),
)


@given(
    methods=st.lists(choices, min_size=1, max_size=4),
    target=st.text(max_size=8),
    samples=st.one_of(st.none(), st.integers(1, 99)),
    data=st.text("ab é/\\\"'.#€", min_size=1, max_size=9),
)
def test_toml_gives_the_plan_back(methods: Any, target: str, samples: int | None, data: str) -> None:
    plan = Plan.make(**{**USUAL, "methods": methods, "target": target, "samples": samples, "data": data})
    again = Plan.make(**tomllib.loads(plan.to_toml()))
    assert again == plan
    assert again.sha256 == plan.sha256


def test_the_hash_follows_every_key() -> None:
    plan = Plan.make(**USUAL)
    others = [
        {"model": "mobilenet-v2"}, {"data": "others"}, {"methods": "rise?masks=9"},
        {"metrics": "road?steps=3"},
        {"target": "tabby"}, {"seed": 1}, {"precision": "bf16"}, {"device": "cuda"}, {"samples": 3},
        {"chunk": 4}, {"batch_size": 2}, {"threads": 2}, {"keep_maps": "all"},
    ]  # fmt: skip
    hashes = {Plan.make(**{**USUAL, **other}).sha256 for other in others} | {plan.sha256}
    assert len(hashes) == len(others) + 1
    assert Plan.make(**dict(reversed(USUAL.items()))).sha256 == plan.sha256


def test_parameters_in_a_name() -> None:
    plan = Plan.make(**{**USUAL, "methods": "rise?masks=50&keep=0.25,grad_cam?relu=false"})
    assert plan.methods[0].method() == METHODS["rise"].make(masks=50, keep=0.25)
    assert plan.methods[1].method() == METHODS["grad_cam"].make(relu=False)


def test_instances_are_taken() -> None:
    method = METHODS["occlusion"].make(window=4, stride=2)
    assert Plan.make(**{**USUAL, "methods": [method]}).methods[0].method() == method


def test_labels_are_unique_and_no_baseline() -> None:
    plan = Plan.make(**{**USUAL, "methods": ["rise", "rise?masks=9", {"name": "rise", "label": "random"}]})
    assert [c.label for c in plan.methods] == ["rise", "rise (2)", "random (2)"]


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"metric": "road"}, UnknownName, "Did you mean 'metrics'"),
        ({"methods": ""}, BadInput, "no methods"),
        ({"precision": "auto"}, BadInput, "Workers must not choose"),
        ({"keep_maps": "worse"}, UnknownName, "'worst'"),
        ({"chunk": 0}, BadInput, "at least 1"),
        ({"seed": "one"}, BadInput, "whole number of at least 0"),
        ({"methods": [3]}, BadInput, "Found 3"),
    ],
)
def test_refuses(keys: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Plan.make(**{**USUAL, **keys})


@pytest.mark.parametrize(
    ("choice", "words"),
    [("rice", "Did you mean 'rise'"), ("rise?mask=3", "Did you mean 'masks'"), ("rise?masks=-3", "masks")],
)
def test_a_choice_that_does_not_exist(choice: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Choice.of(choice, "method").method()


def test_a_plan_that_is_no_file_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no such file"):
        Plan.read(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_text("model = ")
    with pytest.raises(UnreadableInput, match="no TOML"):
        Plan.read(tmp_path / "plan.toml")


def test_the_difference_in_words() -> None:
    other = Plan.make(**{**USUAL, "seed": 7, "samples": 3})
    words = Plan.make(**USUAL).difference(other)
    assert words == 'seed was 0 and is 7; samples was "not given" and is 3'
    assert other.difference(other) == ""
