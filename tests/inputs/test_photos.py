"""The demo photos are found without importing their package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seewhy.errors import MissingExtra
from seewhy.inputs import demo_photos, photos, read_image


@pytest.mark.real
def test_photos_are_there_and_readable() -> None:
    found = demo_photos()
    assert {"cat", "coffee", "astronaut", "rocket"} <= set(found)
    assert all(min(read_image(p).size) >= 300 for p in found.values())


@pytest.mark.real
def test_their_package_is_not_imported() -> None:
    code = "import sys, seewhy.inputs as i; i.demo_photos(); print('skimage' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_without_the_package_its_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'seewhy\[demo\]'"):
        demo_photos()
