"""Reading photos: every usual format becomes the right 8-bit pixels; everything else one plain message."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.errors import UnreadableInput
from seewhy.inputs import images
from seewhy.inputs.images import as_photo, read_image


@pytest.fixture
def colours() -> np.ndarray:
    """A picture without symmetry: 6 rows, 4 columns."""
    return np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# What each EXIF orientation asks of the stored pixels, written with numpy: 1 is upright, 6 is "turn
# clockwise" ...
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, -1)[:, ::-1],
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path: Path, colours: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "turned.png", exif=exif)
    expected = UPRIGHT[orientation](colours)
    if orientation == 7:  # transverse: mirrored along the other diagonal
        expected = colours[::-1, ::-1].transpose(1, 0, 2)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "turned.png")), expected)


def test_orientation_is_applied_once(colours: np.ndarray) -> None:
    image = Image.fromarray(colours)
    image.getexif()[0x0112] = 6
    once = as_photo(image)
    assert once.size == (6, 4)
    assert as_photo(once).size == (6, 4)


def test_transparency_is_composited_on_white(tmp_path: Path, colours: np.ndarray) -> None:
    alpha = np.arange(24, dtype=np.uint8).reshape(6, 4, 1) * 11
    Image.fromarray(np.concatenate([colours, alpha], 2)).save(tmp_path / "a.png")
    a = alpha / 255
    read = read_image(tmp_path / "a.png")
    assert read.mode == "RGB"
    np.testing.assert_allclose(np.asarray(read), colours * a + 255 * (1 - a), atol=1)


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[0, 255], [0, 0]]], dtype=np.uint8)).save(tmp_path / "la.png")
    read = read_image(tmp_path / "la.png")
    assert read.mode == "L"
    assert list(read.get_flattened_data() if hasattr(read, "get_flattened_data") else read.getdata()) == [
        0,
        255,
    ]


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=1)
    assert np.asarray(read_image(tmp_path / "p.png")).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_rgb_with_a_transparent_colour(tmp_path: Path) -> None:
    rows = b"\0" + bytes([1, 2, 3, 9, 9, 9])
    extra = chunk(b"tRNS", struct.pack(">HHH", 9, 9, 9))
    (tmp_path / "t.png").write_bytes(png(2, 1, 8, 2, rows, extra))
    assert np.asarray(read_image(tmp_path / "t.png")).tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    read = read_image(tmp_path / "c.jpg")
    assert read.mode == "RGB"
    np.testing.assert_allclose(np.asarray(read)[8, 8], [255, 0, 0], atol=3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 257, 128 * 257, 40000, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / f"deep.{suffix}")
    read = read_image(tmp_path / f"deep.{suffix}")
    assert read.mode == "L"
    np.testing.assert_array_equal(np.asarray(read), np.rint(levels / 257))


def test_big_endian_16_bit() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 65535, 257))
    assert np.asarray(as_photo(image)).tolist() == [[255, 1]]


def test_16_bit_colour_png(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 65535, 0, 32896, 257, 514, 771)
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, rows))
    assert np.asarray(read_image(tmp_path / "deep.png")).tolist() == [[[255, 0, 128], [1, 2, 3]]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([0, 50_000, 100_000], [0, 128, 255]),
        ([-100, 0, 100], [0, 128, 255]),
    ],
)
def test_32_bit_integers(values: list[int], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.int32))
    assert image.mode == "I"
    assert np.asarray(as_photo(image)).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 64.0, 200.0], [0, 64, 200]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_floats(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "f.tif")
    assert np.asarray(read_image(tmp_path / "f.tif")).tolist() == [expected]


def test_floats_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(UnreadableInput, match="NaN or infinity"):
        read_image(tmp_path / "nan.tif")


def test_bilevel(tmp_path: Path) -> None:
    Image.new("1", (2, 2), 1).save(tmp_path / "one.png")
    assert np.asarray(read_image(tmp_path / "one.png")).tolist() == [[255, 255], [255, 255]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_animations_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    lossless = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=[second], **lossless)
    assert np.asarray(read_image(tmp_path / f"moving.{suffix}"))[4, 4].tolist() == [200, 0, 0]


def test_greyscale_stays_grey(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 7).save(tmp_path / "grey.jpg")
    assert read_image(tmp_path / "grey.jpg").mode == "L"


# -- refusals --------------------------------------------------------------------------------------


def refused(path: Path, match: str) -> None:
    with pytest.raises(UnreadableInput, match=match) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"x")
    refused(tmp_path / "cta.png", r"no such file\. Did you mean 'cat.png'\?")
    refused(tmp_path / "nowhere" / "cta.png", "no such file. Check the path")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "It is a folder")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "The file is empty")


@pytest.mark.parametrize(
    ("suffix", "keep"), [("jpg", 0.6), ("png", 0.6), ("webp", 0.6), ("gif", 0.6), ("tif", 0.6)]
)
def test_truncated_file(tmp_path: Path, suffix: str, keep: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(path, "damaged|no photo")


def test_text_under_a_photos_name(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("not a photo")
    refused(tmp_path / "photo.png", "no photo that can be read. Give one of JPEG")


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "page.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    refused(tmp_path / "page.eps", "no photo that can be read")


@pytest.mark.parametrize("edge", [60_000, 11_000])
def test_pixel_bombs_are_refused_before_decoding(
    tmp_path: Path, edge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 60,000: Pillow's own limit stops it. 11,000: below that limit, above ours. Neither holds a single valid
    # row.
    (tmp_path / "bomb.png").write_bytes(png(edge, edge, 8, 2, b"\0" * 1000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    refused(tmp_path / "bomb.png", "the limit is 100,000,000 pixels. Make it smaller")


def test_the_limit_itself_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "ten.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert read_image(tmp_path / "ten.png").size == (10, 10)
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    refused(tmp_path / "ten.png", "It measures 10 x 10 pixels")


def test_forbidden_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, whom no permission stops.
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")

    def forbid(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)
    refused(tmp_path / "secret.png", "Permission to read it is missing")


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert read_image(tmp_path / "x.jpg").size == (8, 8)
