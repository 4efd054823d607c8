"""Data sets from small trees as their publishers lay them out; what is wrong with one is said in one line."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from seewhy.errors import BadInput, MissingExtra, UnknownName, UnreadableInput
from seewhy.inputs.datasets import Category, Dataset, fingerprint, for_model, open_dataset
from seewhy.models.labels import Labels
from seewhy.models.preprocessing import Preprocessing
from seewhy.specs import Options

H, W = 12, 16


def paint(path: Path, seed: int = 0, size: tuple[int, int] = (H, W)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def place(top: int, bottom: int, left: int, right: int) -> Any:
    mask = np.zeros((H, W), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def truth(dataset: Dataset, i: int) -> Any:
    found = dataset.load(i).truth
    assert found is not None
    assert set(np.unique(found)) <= {0, 255}
    return (np.asarray(found) > 0).astype(np.uint8)


def names(dataset: Dataset) -> list[str]:
    return [dataset.name(i) for i in range(len(dataset))]


# --- folders ---------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for seed, name in enumerate(("dog/b.jpg", "cat/a.png", "cat/c.JPEG")):
        paint(root / name, seed)
    (root / "cat" / "notes.txt").write_text("no photo")
    (root / ".hidden").mkdir()
    paint(root / ".hidden" / "d.png")
    return root


def test_a_folder_of_photos(photos: Path) -> None:
    dataset = open_dataset(str(photos))
    assert names(dataset) == ["cat/a.png", "cat/c.JPEG", "dog/b.jpg"]
    assert dataset.offers == frozenset()
    sample = dataset.load(0)
    assert (sample.image.size, sample.target, sample.truth) == ((W, H), None, None)
    assert isinstance(dataset, Dataset)
    assert fingerprint(dataset) == fingerprint(open_dataset(f"folder:{photos}"))
    assert fingerprint(dataset, 2) != fingerprint(dataset)


def test_folders_can_name_the_category(photos: Path) -> None:
    dataset = open_dataset(f"{photos}?labels=folders")
    assert [dataset.load(i).target for i in range(3)] == ["cat", "cat", "dog"]
    assert dataset.offers == {"target"}


def test_masks_lie_beside_the_photos(photos: Path, tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/a.png", "cat/c.png"):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(place(2, 5, 3, len(name)) * 7).save(tmp_path / "masks" / name)
    dataset = open_dataset(f"{photos}?masks={tmp_path / 'masks'}")
    assert dataset.offers == {"truth"}
    assert (truth(dataset, 2) == place(2, 5, 3, 9)).all()
    wide = open_dataset(f"{photos}?masks={tmp_path / 'masks'}&margin=2")
    expected = place(1, 6, 2, 10)
    expected[[1, 1, 5, 5], [2, 9, 2, 9]] = 1  # a diagonal step is shorter than 2
    assert (truth(wide, 2) == expected).all()


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_published_pointing_game_counts_pixels_of_the_photo(
    tmp_path: Path, fit: Literal["squash", "crop"]
) -> None:
    """A maximum of the map hits where its place in the photo is nearer than 15 pixels to the object."""
    paint(tmp_path / "photos" / "a.png", size=(90, 120))
    region = np.zeros((90, 120), dtype=np.uint8)
    region[30:41, 60:62] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(region).save(tmp_path / "masks" / "a.png")
    dataset = open_dataset(f"{tmp_path / 'photos'}?masks={tmp_path / 'masks'}&margin=15")
    mask = dataset.load(0).truth
    assert mask is not None
    hits = Preprocessing(size=(16, 16), fit=fit, interpolation="bicubic").mask(mask)
    left, width = (0, 16) if fit == "squash" else (2, 21)  # "crop" makes it 16 x 21, and takes the middle
    on = np.argwhere(region)
    for y, x in np.ndindex(16, 16):
        place = np.array([int((y + 0.5) * 90 / 16), int((left + x + 0.5) * 120 / width)])
        assert bool(hits[y, x]) == bool((((on - place) ** 2).sum(1) < 225).any())
    assert 0 < hits.sum() < 256


def test_a_mask_of_another_size_costs_its_sample_alone(photos: Path, tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/a.png", "cat/c.png"):
        paint(tmp_path / "masks" / name, size=(H, W + (name == "cat/a.png")))
    dataset = open_dataset(f"{photos}?masks={tmp_path / 'masks'}")
    with pytest.raises(BadInput, match=r"The mask measures 17 x 12 pixels, the photo 16 x 12"):
        dataset.load(0)
    assert dataset.load(1).truth is not None


def test_a_damaged_photo_costs_itself_alone(photos: Path) -> None:
    (photos / "cat" / "a.png").write_bytes(b"")
    dataset = open_dataset(str(photos))
    with pytest.raises(UnreadableInput, match="The file is empty"):
        dataset.load(0)
    assert dataset.load(1).image.size == (W, H)


# --- COCO ------------------------------------------------------------------------------------------------


def coco(tmp_path: Path, **changes: Any) -> Path:
    """Two photos; cats as polygons, a dog as run lengths of both kinds, a crowd, a lamp with a box alone."""
    for seed, name in enumerate(("two.png", "sub/one.png")):
        paint(tmp_path / "photos" / name, seed)
    down = [H * 3 + 2, 4, H - 4, 4, H * W - (H * 4 + 2 + 4)]  # rows 2 to 5 of columns 3 and 4
    content = {
        "images": [
            {"id": 9, "file_name": "two.png", "height": H, "width": W},
            {"id": 4, "file_name": "sub/one.png", "height": H, "width": W},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 3, "name": "lamp"}],
        "annotations": [
            annotation(9, 1, [[3, 2, 7, 2, 7, 6, 3, 6]], [3, 2, 4, 4]),
            annotation(9, 1, [[10, 1, 12, 1, 12, 3, 10, 3], [10, 8, 12, 8, 12, 9, 10, 9]], [10, 1, 2, 8]),
            annotation(9, 7, {"size": [H, W], "counts": down}, [3, 2, 2, 4]),
            annotation(4, 3, [], [0.5, 1.5, 3, 2]),
            {**annotation(4, 1, {"size": [H, W], "counts": [0, H * W]}, [0, 0, W, H]), "iscrowd": 1},
        ],
        **changes,
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path / "instances.json"


def annotation(image: int, category: int, outline: Any, box: list[float]) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": outline,
        "bbox": box,
        "iscrowd": 0,
    }


def test_coco_is_one_sample_a_category_and_photo(tmp_path: Path) -> None:
    dataset = open_dataset(f"coco:{coco(tmp_path)}?images={tmp_path / 'photos'}")
    assert names(dataset) == ["sub/one.png (lamp)", "two.png (cat)", "two.png (dog)"]
    assert [dataset.load(i).target for i in range(3)] == ["lamp", "cat", "dog"]
    assert dataset.offers == {"target", "truth"}
    cats = place(2, 6, 3, 7) | place(1, 3, 10, 12) | place(8, 9, 10, 12)
    lamp, dog = place(1, 4, 0, 4), place(2, 6, 3, 5)
    assert [(truth(dataset, i) == t).all() for i, t in enumerate((lamp, cats, dog))] == [True] * 3
    pixels = np.asarray(Image.open(tmp_path / "photos" / "two.png"))
    assert (np.asarray(dataset.load(1).image) == pixels).all()


def test_coco_options(tmp_path: Path) -> None:
    spec = f"coco:{coco(tmp_path)}?images={tmp_path / 'photos'}"
    boxes = open_dataset(f"{spec}&outlines=false")
    assert (truth(boxes, 1) == place(2, 6, 3, 7) | place(1, 9, 10, 12)).all()
    crowd = open_dataset(f"{spec}&crowd=true")
    assert names(crowd)[0] == "sub/one.png (cat)"
    assert truth(crowd, 0).all()
    assert names(open_dataset(f"{spec}&categories=dog,lamp")) == ["sub/one.png (lamp)", "two.png (dog)"]
    (tmp_path / "photos" / "two.png").unlink()
    assert names(open_dataset(f"{spec}&missing=skip")) == ["sub/one.png (lamp)"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", r"The folder of the photos is not named\. As in coco:"),
        ("images=photo", r"There is no such folder of photos: .*photo\. Did you mean 'photos'\?"),
        ("images=photos&categories=cat,dgo", r"no such category\. Did you mean 'dog'\?"),
        ("images=photos&missing=ignore", r"Known: refuse, skip"),
        ("images=photos&image=photos", r"no such data option\. Did you mean 'images'\?"),
        ("images=instances.json", r"is a file\. Give a folder for the folder of photos"),
        ("images=photos&crowd=1", r"The option 'crowd' is 1\. Give true or false"),
    ],
)
def test_wrong_coco_options_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, words: str
) -> None:
    coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=words):
        open_dataset(f"coco:instances.json?{options}")


def test_samples_of_one_name_are_told(tmp_path: Path) -> None:
    twice = [{"id": k, "file_name": "two.png", "height": H, "width": W} for k in (4, 9)]
    entries = [annotation(k, 1, [], [0, 0, 1, 1]) for k in (4, 9)]
    file = coco(tmp_path, images=twice, annotations=entries)
    with pytest.raises(BadInput, match=r"Two samples are called 'two\.png \(cat\)'"):
        open_dataset(f"coco:{file}?images={tmp_path / 'photos'}")


def test_photos_that_are_missing_are_counted(tmp_path: Path) -> None:
    file = coco(tmp_path)
    (tmp_path / "photos" / "two.png").unlink()
    with pytest.raises(UnreadableInput, match=r"1 of 2 photos are missing, the first of them .*two\.png"):
        open_dataset(f"coco:{file}?images={tmp_path / 'photos'}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [{"image_id": 9}]}, "An entry is not as COCO writes it: KeyError: 'category_id'"),
        ({"annotations": [annotation(5, 1, [], [0, 0, 1, 1])]}, "not as COCO writes it: KeyError: 5"),
        ({"categories": None}, "not as COCO writes it: TypeError"),
        ({"images": [{"id": 9, "file_name": "../two.png"}]}, "leads out of"),
        ({"images": [{"id": 9, "file_name": "/etc/two.png"}]}, "leads out of"),
        ({"annotations": []}, "There is no sample"),
    ],
)
def test_damaged_coco_listings_are_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    if "images" in changes:
        changes = {**changes, "annotations": [annotation(9, 1, [], [0, 0, 1, 1])]}
    with pytest.raises(BadInput, match=words):
        open_dataset(f"coco:{coco(tmp_path, **changes)}?images={tmp_path / 'photos'}")


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}', "{"])
def test_files_that_are_no_coco_are_told(tmp_path: Path, text: str) -> None:
    coco(tmp_path).write_text(text)
    with pytest.raises(UnreadableInput, match="Give an instances file of COCO"):
        open_dataset(f"coco:{tmp_path / 'instances.json'}?images={tmp_path / 'photos'}")


@pytest.mark.parametrize(
    ("outline", "box", "words"),
    [
        ({"size": [W, H], "counts": "0"}, [], "They are of a photo of 12 x 16 pixels; this one has 16 x 12"),
        ({"size": [H, W], "counts": [5]}, [], "do not add up to 12 x 16"),
        ([[1, 2, 3]], [], "neither outline nor box: ValueError"),
        ([], [1, 2, 3], "neither outline nor box: ValueError"),
        ([], ["a", 1, 1, 1], "neither outline nor box: ValueError"),
        ([], [float("inf")] * 4, "neither outline nor box: "),
    ],
)
def test_a_damaged_annotation_costs_its_sample_alone(
    tmp_path: Path, outline: Any, box: Any, words: str
) -> None:
    entries = [annotation(9, 1, outline, box), annotation(9, 7, [], [0, 0, 2, 2])]
    dataset = open_dataset(f"coco:{coco(tmp_path, annotations=entries)}?images={tmp_path / 'photos'}")
    with pytest.raises(UnreadableInput, match=words):
        dataset.load(0)
    assert (truth(dataset, 1) == place(0, 2, 0, 2)).all()


# --- Pascal VOC ------------------------------------------------------------------------------------------

Thing = tuple[str, tuple[float, float, float, float], int]


def boxes_xml(path: Path, *things: Thing) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{name}</name><difficult>{hard}</difficult><part><name>head</name></part><bndbox>"
        f"<ymax>{box[3]}</ymax><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax></bndbox></object>"
        for name, box, hard in things
    )
    path.write_text(f"<annotation><filename>x</filename>{objects}</annotation>")
    return path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2007"
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation").mkdir()
    for seed, photo in enumerate(("000003", "000001")):
        paint(root / "JPEGImages" / f"{photo}.jpg", seed)
    boxes_xml(
        root / "Annotations" / "000003.xml",
        ("dog", (1, 1, 3, 2), 0),
        ("cat", (5, 6, 9, 8), 1),
        ("dog", (12, 10, 16, 12), 1),
    )
    boxes_xml(root / "Annotations" / "000001.xml", ("cat", (2.4, 3, 4, 5), 0))
    (root / "ImageSets" / "Main" / "test.txt").write_text("000003\n000001\n\n")
    (root / "ImageSets" / "Main" / "cat_test.txt").write_text("000003  1\n000001 -1\n")
    (root / "ImageSets" / "Segmentation" / "test.txt").write_text("000003\n")
    objects, classes = place(0, 2, 0, 3), place(0, 2, 0, 3) * 12
    objects[5:8, 4:9], classes[5:8, 4:9] = 2, 8
    objects[9:, 11:], classes[9:, 11:] = 3, 12
    for kind, values in (("Object", objects), ("Class", classes)):
        values[3, :] = 255  # the void border
        image = Image.fromarray(values).convert("P")
        image.putdata(values.ravel().tolist())
        (root / f"Segmentation{kind}").mkdir()
        image.save(root / f"Segmentation{kind}" / "000003.png")
    return root


def test_voc_is_one_sample_a_category_and_photo(voc: Path) -> None:
    dataset = open_dataset(f"voc:{voc}?split=test")
    assert names(dataset) == ["000003 (dog)", "000001 (cat)"]  # the difficult cat of 3 is left out
    # Both dogs are evidence, the difficult one too: who points at it has not missed.
    assert (truth(dataset, 0) == place(0, 2, 0, 3) | place(9, 12, 11, 16)).all()
    assert (truth(dataset, 1) == place(2, 5, 1, 4)).all()
    assert dataset.load(0).target == "dog"
    hard = open_dataset(f"voc:{voc}?split=test&difficult=true")
    assert names(hard) == ["000003 (dog)", "000003 (cat)", "000001 (cat)"]
    assert names(open_dataset(f"voc:{voc}?split=cat_test")) == names(dataset)


@pytest.mark.parametrize("kind", ["object", "class"])
def test_voc_outlines(voc: Path, kind: str) -> None:
    dataset = open_dataset(f"voc:{voc}?split=test&outlines={kind}&difficult=true")
    assert names(dataset) == ["000003 (dog)", "000003 (cat)"]
    dogs = place(0, 2, 0, 3) | place(9, 12, 11, 16)
    assert (truth(dataset, 0) == dogs).all()
    assert (truth(dataset, 1) == place(5, 8, 4, 9)).all()


def test_what_is_wrong_with_voc_is_told(voc: Path) -> None:
    with pytest.raises(UnknownName, match=r"no such split\. Did you mean 'test'\?"):
        open_dataset(f"voc:{voc}?split=tset")
    with pytest.raises(UnknownName, match="Known: object, class"):
        open_dataset(f"voc:{voc}?split=test&outlines=mask")
    with pytest.raises(
        UnreadableInput, match=r"There is no such folder: .*VOC2008\. Did you mean 'VOC2007'\?"
    ):
        open_dataset(f"voc:{voc.with_name('VOC2008')}")
    (voc / "SegmentationObject" / "000003.png").write_bytes(b"")
    with pytest.raises(UnreadableInput, match="The file is empty"):
        open_dataset(f"voc:{voc}?split=test&outlines=object").load(0)
    (voc / "Annotations" / "000001.xml").write_text("<annotation><object>")
    with pytest.raises(UnreadableInput, match=r"000001\.xml cannot be read"):
        open_dataset(f"voc:{voc}?split=test")
    (voc / "Annotations" / "000001.xml").write_text(
        "<annotation><object><name>a</name></object></annotation>"
    )
    with pytest.raises(UnreadableInput, match="an object has no name or no box"):
        open_dataset(f"voc:{voc}?split=test")
    (voc / "Annotations" / "000001.xml").unlink()
    with pytest.raises(UnreadableInput, match=r"There is no .*000001\.xml"):
        open_dataset(f"voc:{voc}?split=test")
    (voc / "JPEGImages" / "000001.jpg").unlink()
    with pytest.raises(UnreadableInput, match="1 of 2 photos are missing"):
        open_dataset(f"voc:{voc}?split=test")


# --- ImageNet --------------------------------------------------------------------------------------------

SYNSETS = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n"


@pytest.fixture
def imagenet(tmp_path: Path) -> str:
    for seed, name in enumerate(("n01440764/val_1.JPEG", "val_2.JPEG", "val_3.JPEG")):
        paint(tmp_path / "val" / name, seed)
    boxes_xml(
        tmp_path / "bbox" / "val_1.xml", ("n01440764", (2, 3, 6, 8), 0), ("n01440764", (9, 0, 16, 2), 0)
    )
    boxes_xml(tmp_path / "bbox" / "deep" / "val_2.xml", ("n03126707", (0, 0, 4, 4), 0))
    (tmp_path / "synsets.txt").write_text(SYNSETS)
    return f"imagenet:{tmp_path / 'val'}?boxes={tmp_path / 'bbox'}&synsets={tmp_path / 'synsets.txt'}"


def test_imagenet_localisation(imagenet: str) -> None:
    dataset = open_dataset(imagenet)
    assert names(dataset) == ["n01440764/val_1.JPEG", "val_2.JPEG"]  # the third has no boxes
    assert [dataset.category(i) for i in range(2)] == [Category("tench", 0, 3), Category("crane", 2, 3)]
    assert (truth(dataset, 0) == place(3, 8, 2, 6) | place(0, 2, 9, 16)).all()
    assert dataset.load(1).target == "crane"


def test_what_is_wrong_with_imagenet_is_told(imagenet: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"The boxes and synsets are not named"):
        open_dataset(f"imagenet:{tmp_path / 'val'}")
    (tmp_path / "synsets.txt").write_text("n01440764 tench\nn1\n")
    with pytest.raises(UnreadableInput, match=r"Line 2 of .* is 'n1'"):
        open_dataset(imagenet)
    (tmp_path / "synsets.txt").write_text("n01440764 tench\n")
    with pytest.raises(UnreadableInput, match=r"val_2\.JPEG are of the class 'n03126707'"):
        open_dataset(imagenet)
    (tmp_path / "bbox" / "val_1.xml").rename(tmp_path / "bbox" / "val_9.xml")
    (tmp_path / "bbox" / "deep" / "val_2.xml").unlink()
    with pytest.raises(UnreadableInput, match="None of the photos has boxes"):
        open_dataset(imagenet)


# --- idx -------------------------------------------------------------------------------------------------


def idx(path: Path, values: Any, packed: bool = False) -> Path:
    content = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files(tmp_path: Path, packed: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 5, 4), dtype=np.uint8)
    digits = np.arange(11, dtype=np.uint8) % 3
    file, labels = idx(tmp_path / "images", pixels, packed), idx(tmp_path / "labels", digits, packed)
    dataset = open_dataset(f"idx:{file}?labels={labels}")
    assert names(dataset)[:2] == ["00", "01"]
    assert (np.asarray(dataset.load(10).image) == pixels[10]).all()
    assert [dataset.load(i).target for i in range(4)] == [0, 1, 2, 0]
    assert open_dataset(f"idx:{file}").offers == frozenset()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UnreadableInput, match=r"It is damaged|does not hold the 220 bytes"):
        open_dataset(f"idx:{file}?labels={labels}").load(0)
    with pytest.raises(UnreadableInput, match="There are 11 photos and 4 labels"):
        open_dataset(f"idx:{idx(file, pixels)}?labels={idx(labels, digits[:4])}")
    with pytest.raises(UnreadableInput, match="no idx file of bytes with 3 axes"):
        open_dataset(f"idx:{idx(file, digits)}")
    file.write_bytes(b"\0")
    with pytest.raises(UnreadableInput, match="It is no idx file"):
        open_dataset(f"idx:{file}")


# --- torchvision and Hugging Face -------------------------------------------------------------------------


def test_torchvision_classes_by_name(tmp_path: Path, photos: Path) -> None:
    (photos / ".hidden" / "d.png").unlink()
    (photos / ".hidden").rmdir()
    dataset = open_dataset(f"torchvision:ImageFolder?root={photos}")
    assert names(dataset) == ["0", "1", "2"]
    assert [dataset.load(i).target for i in range(3)] == ["cat", "cat", "dog"]
    assert dataset.category(2) == Category("dog", 1, 2)
    assert (
        np.asarray(dataset.load(0).image) == np.asarray(Image.open(photos / "cat" / "a.png").convert("RGB"))
    ).all()
    made = open_dataset("torchvision:FakeData?size=3&num_classes=4")
    assert (len(made), made.offers) == (3, frozenset())


def test_what_is_wrong_with_a_torchvision_set_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownName, match=r"no such data set of torchvision\. Did you mean 'CIFAR10'"):
        open_dataset("torchvision:cifar-10")
    with pytest.raises(UnknownName, match=r"no such option of CIFAR10\. Did you mean 'root'"):
        open_dataset("torchvision:CIFAR10?rot=x")
    with pytest.raises(UnknownName, match="download"):
        open_dataset(f"torchvision:CIFAR10?root={tmp_path}&download=true")
    with pytest.raises(BadInput, match="Nothing is downloaded: name the folder"):
        open_dataset(f"torchvision:CIFAR10?root={tmp_path}")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("seewhy.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'seewhy\[models\]'"):
        open_dataset("torchvision:CIFAR10")
    with pytest.raises(MissingExtra, match=r"pip install 'seewhy\[data\]'"):
        open_dataset(f"hf:{tmp_path}")


@pytest.fixture
def saved(tmp_path: Path, photos: Path) -> Path:
    import datasets as home

    home.disable_progress_bars()
    mask = tmp_path / "mask.png"
    Image.fromarray(place(2, 5, 3, 9)).save(mask)
    cells = {
        "note": ["x", "y", "z"],
        "photo": [str(photos / "cat" / "a.png"), str(photos / "dog" / "b.jpg"), None],
        "kind": [1, 0, 0],
        "place": [str(mask)] * 3,
    }
    kinds = home.Features(
        {
            "note": home.Value("string"),
            "photo": home.Image(),
            "kind": home.ClassLabel(names=["dog", "tabby"]),
            "place": home.Image(),
        }
    )
    rows = home.Dataset.from_dict(cells, features=kinds)
    home.DatasetDict({"train": rows.select([0]), "test": rows}).save_to_disk(str(tmp_path / "saved"))
    rows.save_to_disk(str(tmp_path / "plain"))
    return tmp_path / "saved"


def test_saved_hugging_face_sets(saved: Path, photos: Path) -> None:
    dataset = open_dataset(f"hf:{saved}?split=test&mask=place")
    assert names(dataset) == ["0", "1", "2"]
    assert dataset.offers == {"target", "truth"}
    assert [dataset.category(i) for i in range(2)] == [Category("tabby", 1, 2), Category("dog", 0, 2)]
    pixels = np.asarray(Image.open(photos / "cat" / "a.png").convert("RGB"))
    assert (np.asarray(dataset.load(0).image) == pixels).all()
    assert (truth(dataset, 1) == place(2, 5, 3, 9)).all()
    with pytest.raises(UnreadableInput, match="It has no photo or mask"):
        dataset.load(2)
    assert open_dataset(f"hf:{saved.with_name('plain')}").offers == {"target"}


def test_what_is_wrong_with_a_saved_set_is_told(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no such split\. Did you mean 'test'"):
        open_dataset(f"hf:{saved}?split=tets")
    with pytest.raises(UnknownName, match=r"no such split\. Known: train, test"):
        open_dataset(f"hf:{saved}")
    with pytest.raises(UnknownName, match=r"no such column\. Known: photo, place"):
        open_dataset(f"hf:{saved}?split=test&image=note")
    with pytest.raises(BadInput, match="It has no splits"):
        open_dataset(f"hf:{saved.with_name('plain')}?split=test")
    with pytest.raises(UnreadableInput, match="It cannot be opened"):
        open_dataset(f"hf:{tmp_path / 'photos'}")


# --- specs, and classes of the model ---------------------------------------------------------------------


def test_what_is_wrong_with_a_spec_is_told(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UnknownName, match=r"no such kind of data set\. Did you mean 'coco'"):
        open_dataset("cocoa:x.json")
    with pytest.raises(UnreadableInput, match=r"There is no such folder: .*photo\. Did you mean 'photos'\?"):
        open_dataset(str(tmp_path / "photo"))
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="There is no sample"):
        open_dataset(str(tmp_path / "none"))
    with pytest.raises(UnknownName, match="Known: skip, top, refuse"):
        open_dataset(f"{photos}?unknown=leave")
    with pytest.raises(BadInput, match=r"The margin is -1\.0"):
        open_dataset(f"{photos}?margin=-1")
    with pytest.raises(UnknownName, match="Known: folders"):
        open_dataset(f"{photos}?labels=names.txt")
    with pytest.raises(UnreadableInput, match=r"2 of 3 masks are missing"):
        open_dataset(f"{photos}?masks={photos}")


LABELS = Labels(["tabby, tabby cat", "lamp", "crane", "crane", "dog"])


@pytest.fixture
def pets(tmp_path: Path) -> Callable[[str], Dataset]:
    file = coco(tmp_path)
    return lambda more: open_dataset(f"coco:{file}?images={tmp_path / 'photos'}{more}")


def asked(dataset: Dataset, labels: Labels | None = LABELS) -> list[tuple[str, int | str | None]]:
    fitted = for_model(dataset, labels)
    return [(fitted.name(i), fitted.load(i).target) for i in range(len(fitted))]


def test_categories_that_are_no_class_are_left_out_unless_asked(pets: Callable[[str], Dataset]) -> None:
    assert asked(pets("")) == [("sub/one.png (lamp)", 1), ("two.png (dog)", 4)]
    everything = [("sub/one.png (lamp)", 1), ("two.png (cat)", None), ("two.png (dog)", 4)]
    assert asked(pets("&unknown=top")) == everything
    with pytest.raises(
        BadInput, match=r"1 of them are no class of the model: cat\. Did you mean 'tabby, tabby cat'"
    ):
        asked(pets("&unknown=refuse"))
    with pytest.raises(
        BadInput, match=r"3 of them are no class of the model: cat, dog, lamp\. Say which are"
    ):
        asked(pets(""), Labels(["one", "two"]))
    with pytest.raises(BadInput, match="3 of them"):
        asked(pets(""), None)


@pytest.mark.parametrize("suffix", [".json", ".tsv"])
def test_a_file_says_which_class_a_category_is(
    pets: Callable[[str], Dataset], tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"classes{suffix}"
    told = {"cat": "tabby cat", "lamp": None, "dog": 2}
    lines = "".join(f"{k}\t{'' if v is None else v}\n" for k, v in told.items())
    file.write_text(json.dumps(told) if suffix == ".json" else lines)
    first = pets(f"&classes={file}")
    assert asked(first) == [("two.png (cat)", 0), ("two.png (dog)", 2)]
    other = Labels(["lamp", "tabby, tabby cat", "crane", "crane", "dog"])
    # The same samples with another class are other data.
    assert fingerprint(for_model(first, LABELS)) != fingerprint(for_model(first, other))
    file.write_text(json.dumps({"cat": "tabbi"}) if suffix == ".json" else "cat\ttabbi\n")
    with pytest.raises(UnknownName, match=r"Did you mean 'tabby"):
        asked(pets(f"&classes={file}"))
    with pytest.raises(BadInput, match="This model has no labels"):
        asked(pets(f"&classes={file}"), None)
    file.write_text("[]")
    with pytest.raises(UnreadableInput, match="Write"):
        pets(f"&classes={file}")
    with pytest.raises(UnreadableInput, match=r"Did you mean 'classes"):
        pets(f"&classes={file}x")


def test_numbers_of_classes_count_where_names_do_not_tell(imagenet: str) -> None:
    dataset = open_dataset(imagenet)
    assert [c for _, c in asked(dataset, None)] == [0, 2]
    assert [c for _, c in asked(dataset, Labels(["tench", "crane", "crane"]))] == [0, 2]  # two are named so
    assert [c for _, c in asked(dataset, Labels(["goldfish", "tench", "crane"]))] == [1, 2]  # names go first
    assert [c for _, c in asked(dataset, Labels(["tench", "a", "b", "c"]))] == [0]  # four classes are others


def test_photos_without_category_ask_for_the_models_own_answer(photos: Path) -> None:
    assert [c for _, c in asked(open_dataset(str(photos)))] == [None] * 3


def test_options_are_typed() -> None:
    options = Options("x?a=1&b=0.5", {"a": 1, "b": 0.5}, "data")
    assert (options.take("b", 0.0), options.rest()) == (0.5, {"a": 1})
