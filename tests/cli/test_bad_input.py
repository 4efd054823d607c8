"""Bad input: exit code 2, one plain message on stderr, nothing on stdout, nothing written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def refused(said: Any, *parts: str, code: int = 2) -> None:
    assert said.code == code, said.err
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("seewhy: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, f"{part!r} is not in {said.err!r}"


@pytest.fixture
def explain(run: Callable[..., Any], models: Path, tmp_path: Path) -> Callable[..., Any]:
    """Explain with the tiny model, then see that nothing was written."""
    out = tmp_path / "out"

    def call(*argv: object, model: str = "tiny", to: Path = out) -> Any:
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".pyc"}
        said = run("explain", *argv, "--model", f"{models}:{model}", "--out", to)
        after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".pyc"}
        assert before == after
        assert not out.exists()
        return said

    return call


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1024)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_missing_file(explain: Callable[..., Any], tmp_path: Path) -> None:
    refused(explain(tmp_path / "nowhere.png"), "nowhere.png")


def test_directory(explain: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    refused(explain(folder), "photos")


def test_empty_file(explain: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    refused(explain(tmp_path / "empty.png"), "empty.png")


def test_truncated_jpeg(explain: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    Image.open(photo).resize((200, 200)).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    refused(explain(cut), "cut.jpg")


def test_text_named_png(explain: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("Dear Sir or Madam,")
    refused(explain(tmp_path / "letter.png"), "letter.png")


def test_pixel_bomb(explain: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    refused(explain(tmp_path / "bomb.png"), "bomb.png")


def test_one_damaged_photo_stops_all_before_the_work(
    explain: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    refused(explain(photo, tmp_path / "empty.png"), "empty.png")


def test_no_photo(explain: Callable[..., Any]) -> None:
    refused(explain(), "No file was given")


def test_nan_weights_are_named(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, model="broken"), "2.weight", "NaN")


def test_unknown_model(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    said = run("explain", photo, "--model", "eficientnet-lite0", "--out", tmp_path / "out")
    refused(said, "eficientnet-lite0", "Did you mean 'efficientnet-lite0'")
    assert not (tmp_path / "out").exists()


def test_unknown_function_of_a_file(
    run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    refused(run("explain", photo, "--model", f"{models}:tinny", "--out", tmp_path / "out"), "tinny")
    assert not (tmp_path / "out").exists()


def test_unknown_method(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--method", "grad_kam"), "grad_kam", "Did you mean 'grad_cam'")


def test_unknown_label(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--target", "tabbi", "--method", "gradient"), "tabbi", "'tabby'")


def test_class_out_of_range(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--target", "5", "--method", "gradient"), "classes 0 to 4")


def test_unknown_layer(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--layer", "33"), "'33'", "3")


def test_layer_without_a_grid_lists_those_that_fit(explain: Callable[..., Any], photo: Path) -> None:
    said = explain(photo, "--layer", "6")
    refused(said, "'6'")
    assert "0" in said.err.partition("'6'")[2]
    assert "3" in said.err.partition("'6'")[2]


def test_method_that_does_not_fit_says_why(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--method", "grad_cam", model="blind"), "gradient", "only runs forward")


def test_gradients_of_an_onnx_file(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        make.make_node("Flatten", ["pooled"], ["y"]),
    ]
    graph = make.make_graph(
        nodes,
        "mean",
        [make.make_tensor_value_info("x", kind, ["n", 3, 16, 16])],
        [make.make_tensor_value_info("y", kind, ["n", 3])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "net.onnx"))
    out, spec = tmp_path / "out", f"onnx:{tmp_path / 'net.onnx'}"
    refused(run("explain", photo, "--model", spec, "--out", out), "gradient", "only runs forward")
    assert not out.exists()
    said = run("explain", photo, "--model", spec, "--method", "occlusion", "--out", out)
    assert said.code == 0, said.err


def test_output_that_is_a_file(explain: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    refused(explain(photo, to=tmp_path / "taken"), "taken", "not a folder")
    refused(explain(photo, to=tmp_path / "taken" / "below"), "taken", "not a folder")


def test_batch_size_zero(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--batch-size", "0"), "batch size", "0")


def test_unknown_device(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--device", "gpu7"), "gpu7")


@pytest.mark.parametrize("parameter", [("--samples", "-1"), ("--channels", "loudest"), ("--samples", "many")])
def test_parameter_out_of_range(explain: Callable[..., Any], photo: Path, parameter: tuple[str, str]) -> None:
    refused(explain(photo, "--method", "smooth_grad", *parameter), parameter[1])


def test_unknown_flag_is_refused_with_the_nearest(explain: Callable[..., Any], photo: Path) -> None:
    refused(
        explain(photo, "--method", "smooth_grad", "--sampels", "3"), "--sampels", "Did you mean --samples?"
    )


def test_flag_of_another_method_says_whose_it_is(explain: Callable[..., Any], photo: Path) -> None:
    refused(explain(photo, "--method", "gradient", "--layer", "3"), "--layer", "grad_cam, not of gradient")


@pytest.mark.parametrize("argv", [("explian",), ("--nonsense",), ("methods", "--modle", "x")])
def test_bad_command_line(run: Callable[..., Any], argv: tuple[str, ...]) -> None:
    refused(run(*argv), argv[-2] if len(argv) > 1 else argv[0])


@pytest.mark.parametrize("size", ["12", "0x4", "axb", "1x2x3x4"])
def test_size_that_is_none(run: Callable[..., Any], models: Path, size: str) -> None:
    refused(run("layers", "--model", f"{models}:tiny", "--size", size), size)


def test_crash_of_the_model_is_a_failure_not_bad_input(
    run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    said = run(
        "explain", photo, "--model", f"{models}:explodes", "--method", "gradient", "--out", tmp_path / "out"
    )
    refused(said, "ZeroDivisionError", "SEEWHY_TRACEBACK=1", code=1)
    assert not (tmp_path / "out").exists()


def test_traceback_on_request(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEEWHY_TRACEBACK", "1")
    said = run("explain", tmp_path / "nowhere.png")
    assert said.code == 2
    assert "Traceback" in said.err
