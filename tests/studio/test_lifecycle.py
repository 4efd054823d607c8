"""Starting and ending a studio, from the command line and from Python."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import seewhy.studio
from seewhy.__main__ import main
from seewhy.errors import BadInput, MissingExtra
from seewhy.studio.lifecycle import tunnel
from studio_client import Client


def test_the_command_prints_its_address_first_and_ends_when_asked(place: Path) -> None:
    words = ["studio", str(place / "photos"), "--model", f"{place / 'model.py'}:make", "--no-browser"]
    command = [sys.executable, "-m", "seewhy", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who was started in the background ignores it, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        client = Client(address)
        assert [p["name"] for p in client.get("/api/images")] == ["a.png", "b.png"]
        assert client.get("/api/about")["roots"] == [str(place / "photos")]
        assert client.get("/api/models/0/labels")[0] == "ant"
        folder = Path(client.get("/api/images")[0]["path"]).parent
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stdout.read() == ""
        assert "Traceback" not in process.stderr.read()
    assert folder.exists(), "the user's own photos stay"


def test_from_python(place: Path) -> None:
    model = seewhy.load(f"{place / 'model.py'}:make", allow_code=True)
    with seewhy.studio.show(place / "photos" / "a.png", model, browser=False, wait=False) as running:
        client = Client(running.url)
        (photo,) = client.get("/api/images")
        assert client.get("/api/about")["roots"] == []
        first = client.explain(photo["id"], "gradient")
        assert first[-1]["event"] == "done"
        with model.untouched():
            for p in model.module.parameters():
                p.data.mul_(0.5)
        again = client.explain(photo["id"], "gradient")
        assert again[-1]["map"] != first[-1]["map"], "weights in the user's own hands are looked at again"
        assert not again[0]["cached"]


def test_several_models(place: Path) -> None:
    spec = f"{place / 'model.py'}:make"
    with seewhy.studio.show(
        [place / "photos" / "a.png"], [spec, "no-such-model"], browser=False, wait=False
    ) as running:
        client = Client(running.url)
        photo = client.get("/api/images")[0]["id"]
        assert client.get("/api/models/0/labels")
        status, content, _ = client.ask("GET", "/api/models/1/labels")
        assert status == 404
        assert b"no-such-model" in content
        assert client.get("/api/models/1")["state"] == "failed"
        assert client.explain(photo, "gradient")[-1]["event"] == "done"


@pytest.mark.parametrize(
    "words", [["no-such.png"], ["--root", "no-such"], ["--run", "no-such"], ["--port", "70000"]]
)
def test_what_cannot_be_opened_is_said(
    words: list[str], place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    model = ["--model", f"{place / 'model.py'}:make"]
    assert main(["studio", "--no-browser", *model, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1


def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seewhy.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"seewhy\[studio\]"):
        seewhy.studio.show(browser=False, wait=False)
    assert main(["studio"]) == 2
    assert "seewhy[studio]" in capsys.readouterr().err


def test_over_ssh_it_says_how_to_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert tunnel(4000) == ""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.2 51000 10.0.0.9 2222")
    monkeypatch.setenv("USER", "ada")
    assert tunnel(4000) == "ssh -N -L 4000:127.0.0.1:4000 -p 2222 ada@10.0.0.9"


def test_a_model_of_clips_is_sent_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "clips.py"
    file.write_text(
        "from torch import nn\nfrom seewhy import Model\n"
        "from seewhy.models.preprocessing import Preprocessing\n"
        "def make():\n    return Model(nn.Identity(), preprocess=Preprocessing(size=(8, 8), frames=4))\n"
    )
    with seewhy.studio.show(model=f"{file}:make", browser=False, wait=False) as running:
        status, content, _ = Client(running.url).ask("GET", "/api/models/0/labels")
    assert status == 400
    assert b"seewhy watch" in content


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        seewhy.studio.show(roots=[tmp_path / "none"], browser=False, wait=False)
