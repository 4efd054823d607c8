"""Data sets: specs, and a folder of photos."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.inputs.datasets import open_dataset
from seewhy.inputs.datasets.base import Dataset, fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "b").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("b/2.png", "a.JPG", "c.png", ".hidden/3.png", ".4.png"):
        Image.new("RGB", (4, 3), "red").save(root / name)
    (root / "notes.txt").write_text("no photo")
    (root / "broken.png").write_bytes(b"no photo either")
    return root


def test_a_folder_lists_its_photos_in_order(folder: Path) -> None:
    data = open_dataset(str(folder))
    assert isinstance(data, Dataset)
    assert [data.name(i) for i in range(len(data))] == ["a.JPG", "b/2.png", "broken.png", "c.png"]
    sample = data.load(1)
    assert (sample.image.size, sample.target, sample.truth, data.offers) == ((4, 3), None, None, frozenset())
    with pytest.raises(UnreadableInput, match="no photo that can be read"):
        data.load(2)
    assert fingerprint(open_dataset(f"folder:{folder}")) == fingerprint(data)


def test_the_fingerprint_follows_the_names(folder: Path) -> None:
    data = open_dataset(str(folder))
    shutil.copy(folder / "c.png", folder / "d.png")
    more = open_dataset(str(folder))
    assert fingerprint(more) != fingerprint(data)
    assert fingerprint(more, len(data)) == fingerprint(data)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("{}/nowhere", BadInput, "no such folder"),
        ("{}/b/2.png", BadInput, "no such folder"),
        ("{}/empty", BadInput, "no sample"),
        ("foldr:{}", UnknownName, "Did you mean 'folder'"),
        ("{}?maks=x", UnknownName, "option of folder"),
        ("{}?masks", BadInput, "has no value"),
    ],
)
def test_refuses(folder: Path, spec: str, error: type[Exception], words: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(error, match=words):
        open_dataset(spec.format(folder))
