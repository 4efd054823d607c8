"""A studio on a small network and a folder of photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio_client import MODEL, Client

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from seewhy.studio.lifecycle import Running
from seewhy.studio.session import Session


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos`, a file `model.py`, and `outside` with what nobody may read."""
    place = tmp_path_factory.mktemp("studio")
    (place / "model.py").write_text(MODEL)
    for folder in ("photos", "photos/more", "outside"):
        (place / folder).mkdir()
    generator = np.random.default_rng(5)
    for name in ("photos/a.png", "photos/b.png", "photos/more/c.jpg", "outside/secret.png"):
        pixels = generator.integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(place / name)
    (place / "outside" / "secret.txt").write_text("TOP-SECRET")
    (place / "photos" / "link.png").symlink_to(place / "outside" / "secret.png")
    (place / "photos" / "way-out").symlink_to(place / "outside")
    return place


@pytest.fixture(scope="session")
def running(place: Path) -> Iterator[Running]:
    """A studio on it."""
    spec = f"{place / 'model.py'}:make"
    session = Session.open([spec], [place / "photos"], [place / "photos"])
    with Running(session) as running:
        yield running


@pytest.fixture(scope="session")
def client(running: Running) -> Client:
    """Its client, with the model loaded."""
    client = Client(running.url)
    client.get("/api/models/0/labels")
    return client


@pytest.fixture(scope="session")
def photo(client: Client) -> str:
    """The identifier of the first photo."""
    return str(client.get("/api/images")[0]["id"])
